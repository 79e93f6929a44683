"""What the figures have in common: colours, and axes where none are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfmodel.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KIND_COLOURS", "OTHER", "TERM_COLOURS", "readable_on", "some_axes"]

TERM_COLOURS = {
    "matmul": "#332288", "attention": "#88CCEE", "memory-bound": "#44AA99", "contention": "#117733", "tp": "#CC6677",
    "cp": "#AA4499", "ep": "#882255", "pp": "#DDCC77", "dp": "#999933", "offload": "#661100",
    "bubble": "#DDDDDD", "host": "#777777",
    "stragglers": "#AAAAAA", "input": "#6699CC",
}  # fmt: skip
"""Colour of each term of the step, in the order in which they are stacked (Paul Tol's muted scheme, which the
colour-blind can tell apart)."""

KIND_COLOURS = {
    "weights": "#332288", "gradients": "#88CCEE", "optimizer": "#44AA99", "activations": "#CC6677",
    "buffers": "#DDCC77", "overhead": "#DDDDDD",
}  # fmt: skip
"""Colour of each kind of memory, in the order in which they are stacked."""

OTHER = "#BBBBBB"
"""Colour of anything else."""
WIDTH = 9.0
"""Of a figure made here [inch]."""


def some_axes(ax: Axes | None, *, height: float) -> Axes:
    """The axes given, or those of a new figure.

    Parameters
    ----------
    ax : given
    height : of the new figure [inch]

    Returns
    -------
    axes to draw on

    Raises
    ------
    MissingExtraError
        matplotlib is not installed
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    made: Axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")[1]
    return made


def readable_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour.

    Examples
    --------
    >>> readable_on("#332288"), readable_on("#DDDDDD")
    ('white', 'black')
    """
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 130 else "white"
