"""Each number of an estimate with its formula, what went in, and where that comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perfmodel.estimation import Answer
from perfmodel.report.explanation.entry import Entry, cited
from perfmodel.report.explanation.inference import inference_entries
from perfmodel.report.explanation.serving import serving_entries
from perfmodel.report.explanation.training import training_entries

__all__ = ["Entry", "cited", "entries"]

ENTRIES: dict[str, Callable[[Any], Iterator[Entry]]] = {
    "training": training_entries,
    "inference": inference_entries,
    "serving": serving_entries,
}
"""What there is to explain, by the kind of estimate."""


def entries(est: Answer) -> Iterator[Entry]:
    """Everything there is to explain, the answers first.

    Parameters
    ----------
    est : the estimate

    Yields
    ------
    one entry a number
    """
    yield from ENTRIES[est.kind](est)
