"""A flame chart: the tree of an estimate in time, parts below what they are parts of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfmodel.errors import InputError
from perfmodel.estimation import Answer
from perfmodel.plot.canvas import OTHER, TERM_COLOURS, readable_on, some_axes
from perfmodel.plot.columns import Columns
from perfmodel.report import TERMS
from perfmodel.report.trace import Slice, slices
from perfmodel.units import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["flame", "flame_columns"]

AROUND = "#EEEEEE"
"""Colour of what has parts."""
LETTER = 0.011
"""Room that a letter needs, of the width of the axes [-]."""


def flame_columns(est: Answer, *, least: float = 0.001) -> Columns:
    """What a flame chart shows: nodes of the tree in time, without those that only hold one other.

    Parameters
    ----------
    est : an estimate of one configuration
    least : share of the whole that a node needs to be shown [-]

    Returns
    -------
    columns name, kind (of leaves), row (downward from 0; messages beside compute below all others), start [s],
    seconds [s], share [-], hidden

    Raises
    ------
    InputError
        the estimate holds arrays or symbols

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
    >>> flame_columns(est)["name"][:2]
    ['training step', 'slowest stage']
    """
    if not 0 <= least < 1:
        raise InputError(f"least = {least} is a share of the whole: from 0 to below 1, such as 0.001")
    found, whole = slices(est), float(est.tree.seconds)
    kept = [one for one, below in zip(found, [*found[1:], None], strict=True) if not _only_holds(one, below)]
    shown = [one for one in kept if one.seconds >= least * whole]
    rows = _rows(shown)
    last = max((row for row, one in zip(rows, shown, strict=True) if not one.hidden), default=0)
    return {
        "name": [one.name for one in shown],
        "kind": [one.kind for one in shown],
        "row": [row + (last + 2) * one.hidden for row, one in zip(rows, shown, strict=True)],
        "start": [one.start for one in shown],
        "seconds": [one.seconds for one in shown],
        "share": [one.seconds / whole for one in shown],
        "hidden": [one.hidden for one in shown],
    }


def _only_holds(one: Slice, below: Slice | None) -> bool:
    """It has one part alone, which is as long."""
    return below is not None and below.depth == one.depth + 1 and below.seconds >= (1 - 1e-9) * one.seconds


def _rows(shown: list[Slice]) -> list[int]:
    """How many of those shown each lies in."""
    rows, around = [], list[Slice]()
    for one in shown:
        while around and not (around[-1].depth < one.depth and around[-1].hidden == one.hidden):
            around.pop()
        rows.append(len(around))
        around.append(one)
    return rows


def flame(est: Answer, *, least: float = 0.001, ax: Axes | None = None) -> Axes:
    """The tree in time: what repeats as wide as all its repetitions, leaves in the colours of their kind of work.

    Parameters
    ----------
    est : an estimate of one configuration
    least : share of the whole that a node needs to be shown [-]
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: time across, parts below what they are parts of, messages beside compute at the bottom

    Raises
    ------
    InputError
        the estimate holds arrays or symbols
    MissingExtraError
        matplotlib is not installed
    """
    columns = flame_columns(est, least=least)
    ax = some_axes(ax, height=1.5 + 0.3 * (max(columns["row"]) + 1))
    whole = float(est.tree.seconds)
    named = set[str]()
    for name, kind, row, start, seconds in zip(
        *(columns[key] for key in ("name", "kind", "row", "start", "seconds")), strict=True
    ):
        colour = TERM_COLOURS.get(kind, OTHER) if kind else AROUND
        label = TERMS.get(kind, kind).removesuffix(", exposed") if kind and kind not in named else "_"
        named.add(kind)
        ax.barh(row, seconds / whole, left=start / whole, height=0.95, color=colour, edgecolor="white", linewidth=0.4,
                label=label)  # fmt: skip
        letters = int(seconds / whole / LETTER)
        if letters > 3:
            text = name if len(name) <= letters else name[: letters - 1] + "…"
            ax.text((start + seconds / 2) / whole, row, text, ha="center", va="center", fontsize="x-small",
                    color=readable_on(colour), clip_on=True)  # fmt: skip
    beside = [row for row, hidden in zip(columns["row"], columns["hidden"], strict=True) if hidden]
    if beside:
        ax.text(0.005, min(beside), "beside compute", va="center", fontsize="small")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2, fontsize="small", frameon=False)
    ax.set(xlim=(0, 1), yticks=[], xlabel=f"share of {show(whole, 's')} [-]")
    ax.set_ylim(max(columns["row"]) + 0.5, -0.5)
    return ax
