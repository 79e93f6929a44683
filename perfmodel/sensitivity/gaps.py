"""A step by kind of work, as predicted and as measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from perfmodel.errors import unknown
from perfmodel.estimation.timed import leaf_times
from perfmodel.report import TERMS
from perfmodel.sensitivity.profiles import IDLE
from perfmodel.units import parse
from perfmodel.work import Collective

__all__ = ["Gap", "gaps_of", "measured_parts", "predicted_parts"]

WAITING = ("host", "bubble", "stragglers", "input")
"""Terms in which nothing runs on the device."""
WORDS = {
    IDLE: "nothing runs: host, bubble, waiting", "all_reduce": "all-reduces, exposed",
    "all_gather": "all-gathers, exposed", "reduce_scatter": "reduce-scatters, exposed",
    "all_to_all": "exchanges among experts, exposed", "send": "sends between stages, exposed",
}  # fmt: skip
"""Kinds that a trace tells apart, beside the terms."""


class Gap(NamedTuple):
    """One kind of work, predicted and measured.

    Parameters
    ----------
    kind : which
    predicted, measured : of a step; without a measurement by kind, None [s]
    share : of the whole gap; 0 where it is not known [-]
    inside : the error band of the whole, taken of this part, holds the measurement; None where it is not known
    """

    kind: str
    predicted: float
    measured: float | None
    share: float
    inside: bool | None

    @property
    def words(self) -> str:
        """Its name, as printed."""
        return WORDS.get(self.kind, TERMS.get(self.kind, self.kind))

    @property
    def delta(self) -> float | None:
        """Measured less predicted; None where it was not measured [s]."""
        return None if self.measured is None else self.measured - self.predicted


def gaps_of(
    est: Any, parts: Mapping[str, float], total: float, band: tuple[float, float] | None
) -> Iterator[Gap]:
    """Every kind, the largest difference first; without measured parts, the largest prediction.

    Parameters
    ----------
    est : the prediction
    parts : measured seconds by kind, as far as they were [s]
    total : the whole as measured [s]
    band : where the whole of comparable runs lies [s]

    Yields
    ------
    one row a kind
    """
    by_collective, terms = predicted_parts(est), {name: float(value) for name, value in est.terms.items()}
    predicted = terms if not parts or not parts.keys() - terms.keys() else by_collective
    whole = total - float(est.tree.seconds)
    low, high = (bound / float(est.tree.seconds) for bound in band) if band else (1.0, 1.0)
    rows = []
    for kind in dict.fromkeys((*parts, *predicted)):
        own = predicted.get(kind, terms.get(kind, 0.0))
        if kind in parts:
            inside = low * own <= parts[kind] <= high * own if band else None
            rows.append(Gap(kind, own, parts[kind], (parts[kind] - own) / whole if whole else 0.0, inside))
        elif own > 0:
            rows.append(Gap(kind, own, None, 0.0, None))
    yield from sorted(rows, key=lambda row: (row.delta is None, -abs(row.delta or 0.0), -row.predicted))


def measured_parts(given: Mapping[str, float | str] | None, est: Any) -> dict[str, float]:
    """Measured seconds by kind, whose names the estimate must know.

    Parameters
    ----------
    given : seconds, or text with a unit, by kind; None is none
    est : the prediction

    Returns
    -------
    seconds by kind [s]

    Raises
    ------
    UnknownNameError
        no such kind of work
    """
    valid = {**predicted_parts(est), **est.terms}
    for kind in given or {}:
        if kind not in valid and kind not in WORDS:
            raise unknown("kind of work", kind, {*valid, *WORDS})
    return {kind: parse(value, "s", name=kind) for kind, value in (given or {}).items()}


def predicted_parts(est: Any) -> dict[str, float]:
    """Seconds by the kinds that a trace tells apart: messages by collective, waiting together.

    Parameters
    ----------
    est : the prediction

    Returns
    -------
    seconds by kind; they add up to the whole [s]
    """
    found: dict[str, float] = {}
    for times, leaf in leaf_times(est.tree):
        kind = leaf.kind
        if isinstance(leaf.work, Collective):
            kind = {"dispatch": "all_to_all"}.get(leaf.work.kind, leaf.work.kind)
        elif kind in WAITING:
            kind = IDLE
        elif kind == "contention":  # a trace sees it in the kernels that messages slow down
            kind = "matmul"
        found[kind] = found.get(kind, 0.0) + float(times * leaf.seconds)
    return found
