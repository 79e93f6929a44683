"""Predicted against measured: every run a point, the band that eight in ten lie in, one colour a family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.plot.canvas import OTHER, TERM_COLOURS, some_axes
from perfmodel.validation import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["errors"]

MOST_COLOURS = 9
BAND = 0.8
"""Share of the runs that lies between the dashed lines [-]."""


def errors(scores: Iterable[Score], *, by: str = "software", ax: Axes | None = None) -> Axes:
    """Error of every run over its measured step time.

    Parameters
    ----------
    scores : of one metric, such as `report.of("step_time")`
    by : grouping that gives the colours: software, hardware, family, source, scale or task
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: measured [s] across, predicted over measured, less one [%], up; dashed lines hold eight in ten runs

    Raises
    ------
    MissingExtraError
        matplotlib is not installed
    """
    points = list(scores)
    ax = some_axes(ax, height=4.2)
    measured = np.array([one.measured for one in points])
    off = 100 * np.array([one.error for one in points])
    groups = np.array([one.groups.get(by, "") for one in points])
    common = _commonest(groups)
    for name, colour in zip(common, TERM_COLOURS.values(), strict=False):
        inside = groups == name
        ax.scatter(
            measured[inside], off[inside], s=12, color=colour, alpha=0.7, label=f"{name} ({inside.sum()})"
        )
    rest = ~np.isin(groups, common)
    if rest.any():
        ax.scatter(measured[rest], off[rest], s=12, color=OTHER, alpha=0.7, label=f"others ({rest.sum()})")
    low, high = np.percentile(off, [50 * (1 - BAND), 50 * (1 + BAND)])
    ax.axhline(0, color="black", linewidth=0.8)
    for level in (low, high):
        ax.axhline(level, color="black", linewidth=0.8, linestyle="--")
    _labelled(ax, off)
    return ax


def _commonest(groups: Any) -> list[str]:
    names, counts = np.unique(groups, return_counts=True)
    return [str(names[place]) for place in np.argsort(-counts)[:MOST_COLOURS]]


def _labelled(ax: Axes, off: Any) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("measured step time [s]")
    ax.set_ylabel("predicted over measured, less one [%]")
    most = float(np.percentile(np.abs(off), 98))
    ax.set_ylim(-1.2 * most, 1.2 * most)
    ax.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
