"""Estimate -> text, tables, JSON, HTML and an explanation of every number."""

from perfmodel.report.explanation import Entry, cited, entries
from perfmodel.report.fitting import FittingChange, fitting_changes
from perfmodel.report.tables import RESOURCES, TERMS
from perfmodel.report.trace import slices, trace_events

__all__ = [
    "RESOURCES", "TERMS", "Entry", "FittingChange", "cited", "entries", "fitting_changes", "slices", "trace_events",
]  # fmt: skip
