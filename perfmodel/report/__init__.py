"""Estimate -> text, tables, JSON, HTML and an explanation of every number."""

from perfmodel.report.explain import Entry, cited, entries, explain
from perfmodel.report.tables import (
    RESOURCES,
    TERMS,
    describe,
    headline,
    to_dict,
    to_frame,
    to_html,
    to_text,
)
from perfmodel.report.trace import slices, trace_events

__all__ = [
    "RESOURCES",
    "TERMS",
    "Entry",
    "cited",
    "describe",
    "entries",
    "explain",
    "headline",
    "slices",
    "to_dict",
    "to_frame",
    "to_html",
    "to_text",
    "trace_events",
]  # fmt: skip
