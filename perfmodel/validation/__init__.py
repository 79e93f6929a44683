"""Predictions against measured runs, scored in public."""

from perfmodel.validation.inference_rows import InferenceJob, inference_job
from perfmodel.validation.rows import Job, training_job
from perfmodel.validation.scores import Report, Score, Skipped, validate, validate_rows

__all__ = [
    "InferenceJob", "Job", "Report", "Score", "Skipped", "inference_job", "training_job", "validate", "validate_rows",
]  # fmt: skip
