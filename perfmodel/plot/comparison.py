"""A comparison as bars: how much faster each estimate is than the first, and how much more it gives for a dollar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfmodel.plot.canvas import some_axes
from perfmodel.sensitivity import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["comparison"]

FASTER, DOLLAR = "#332288", "#44AA99"
"""Colours of speed, and of what a dollar buys (Paul Tol's muted scheme)."""
INCHES_A_BAR, INCHES_AROUND = 0.6, 1.2


def comparison(compared: Comparison, *, ax: Axes | None = None) -> Axes:
    """Speed over the first estimate's, and tokens or samples a dollar where prices are known.

    Parameters
    ----------
    compared : what `pm.compare` gives
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: times as much across, two bars an estimate

    Raises
    ------
    MissingExtraError
        matplotlib is not installed
    """
    names, first = list(compared), compared.first
    costs = [compared.usd_per_million(name) for name in names]
    base = compared.usd_per_million(first)
    value = [np.nan if base is None or cost is None else base / cost for cost in costs]
    ax = some_axes(ax, height=INCHES_AROUND + INCHES_A_BAR * len(names))
    places = np.arange(len(names))[::-1]
    for shift, column, colour, label in (
        (0.2, [compared.speedup(name) for name in names], FASTER, "faster"),
        (-0.2, value, DOLLAR, "more for a dollar"),
    ):
        bars = ax.barh(places + shift, column, height=0.36, color=colour, label=label)
        ax.bar_label(bars, ["" if np.isnan(each) else f"{each:.2f}x" for each in column], padding=3)
    ax.set_yticks(places, names)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xlabel(f"times as much as {first}")
    ax.margins(x=0.12)
    ax.legend(loc="best")
    return ax
