"""Predictions against measured runs, scored in public."""

from perfmodel.validation.rows import Job, training_job
from perfmodel.validation.scores import Report, Score, Skipped, validate, validate_rows

__all__ = ["Job", "Report", "Score", "Skipped", "training_job", "validate", "validate_rows"]
