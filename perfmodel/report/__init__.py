"""Estimate -> text, tables, JSON, HTML and an explanation of every number."""

from perfmodel.report.explanation import Entry, cited, entries
from perfmodel.report.remedies import Remedy, remedies
from perfmodel.report.tables import RESOURCES, TERMS
from perfmodel.report.trace import slices, trace_events

__all__ = ["RESOURCES", "TERMS", "Entry", "Remedy", "cited", "entries", "remedies", "slices", "trace_events"]
