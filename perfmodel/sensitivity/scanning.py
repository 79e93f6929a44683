"""Where something changes as a number does: many points at a time, then again between the two where it changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["last_held", "nearest_change"]

POINTS, ROUNDS = 65, 6
"""Points that are tried at a time, and how often [-]."""


def last_held(holds: Callable[[Any], Any], start: float, end: float) -> float:
    """How far something holds on the way from one number to another.

    Parameters
    ----------
    holds : for an array of numbers, whether it does; true at the start
    start, end : above 0

    Returns
    -------
    the last number at which it holds, to a millionth of a millionth; the end where it never fails

    Examples
    --------
    >>> last_held(lambda x: x * x < 2, 1.0, 100.0)
    1.414213562
    """
    low, high = float(start), float(end)
    for number in range(ROUNDS):
        # first densest where one is, so that a condition that fails and holds again nearby is not stepped over
        shares = np.linspace(0.0, 1.0, POINTS) ** (3 if number == 0 else 1)
        points = low * (high / low) ** shares
        held = np.broadcast_to(holds(points), points.shape)
        if held.all():
            return float(end) if number == 0 else high
        place = max(int(np.argmin(held)), 1)
        low, high = points[place - 1], points[place]
    return float(low)


def nearest_change(difference: Callable[[Any], Any], start: float, low: float, high: float) -> float | None:
    """The number nearest to where one is at which a difference changes its sign; None where there is none.

    Parameters
    ----------
    difference : for an array of numbers
    start : where one is, above 0
    low, high : where to look

    Examples
    --------
    >>> nearest_change(lambda x: x - 3, 1.0, 0.01, 100.0)
    3.0
    """
    above = bool(np.asarray(difference(np.array([start])) > 0).all())

    def stays(points: Any) -> Any:
        return (difference(points) > 0) == above

    ends = [end for end in (low, high) if end != start]
    found = [at for end in ends if (at := last_held(stays, start, end)) != end]
    return min(found, key=lambda at: abs(np.log(at / start)), default=None)
