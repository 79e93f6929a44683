"""Stacked bars: where the time of a step goes, and where the memory goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from perfmodel.plot.canvas import KIND_COLOURS, OTHER, TERM_COLOURS, readable_on, some_axes
from perfmodel.plot.columns import Columns, Estimates, breakdown_columns, memory_columns, parts_of
from perfmodel.report import TERMS
from perfmodel.units import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["breakdown", "memory"]

INCHES_A_BAR, INCHES_AROUND = 0.5, 1.9


def breakdown(
    estimates: Estimates, *, per: Literal["step", "token"] = "step", ax: Axes | None = None
) -> Axes:
    """Step time by term as stacked bars, with the MFU at the end of each bar; of messages, the exposed part.

    Parameters
    ----------
    estimates : one, or several by name, as `pm.compare` takes them
    per : "step": time of one step; "token": what one token takes of one device's time
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: time [s, ms or µs] across, one bar an estimate

    Raises
    ------
    MissingExtraError
        matplotlib is not installed
    """
    columns = breakdown_columns(estimates, per=per)
    unit, scale = _time_unit(max(columns["total"]))
    texts = []
    for total, mfu, fits in zip(columns["total"], columns["mfu"], columns["fits"], strict=True):
        texts.append(f"{show(total, 's', 3)}, MFU {mfu:.1%}" + ("" if fits else ": does NOT fit"))
    bars = _bars(columns, TERMS, scale, [total / scale for total in columns["total"]], texts)
    ax = some_axes(ax, height=INCHES_AROUND + INCHES_A_BAR * len(texts))
    ax.set_xlabel(f"{'step time' if per == 'step' else 'device time per token'} [{unit}]")
    bars.draw(ax, TERM_COLOURS, "{share:.0%}")
    return ax


def memory(estimates: Estimates, *, ax: Axes | None = None) -> Axes:
    """Memory of one device on the fullest pipeline stage as stacked bars, against the device's capacity.

    What does not fit is hatched and said in words.

    Parameters
    ----------
    estimates : one, or several by name, as `pm.compare` takes them
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: memory [GiB] across, one bar an estimate

    Raises
    ------
    MissingExtraError
        matplotlib is not installed
    """
    columns, scale = memory_columns(estimates), 2.0**30
    totals, capacities = ([size / scale for size in columns[name]] for name in ("total", "capacity"))
    texts = []
    for total, capacity, fits in zip(totals, capacities, columns["fits"], strict=True):
        verdict = "fits" if fits else f"does NOT fit, {total - capacity:.1f} GiB over"
        texts.append(f"{total:.1f} of {capacity:.1f} GiB: {verdict}")
    bars = _bars(
        columns, {}, scale, [max(total, of) for total, of in zip(totals, capacities, strict=True)], texts
    )
    ax = some_axes(ax, height=INCHES_AROUND + INCHES_A_BAR * len(texts))
    ax.set_xlabel("memory of one device, fullest stage [GiB]")
    for row, (total, capacity) in enumerate(zip(totals, capacities, strict=True)):
        ax.barh(row, max(total - capacity, 0), left=capacity, height=0.7, facecolor="none", edgecolor="black",
                hatch="////", linewidth=0, zorder=2)  # fmt: skip
        ax.plot([capacity, capacity], [row - 0.5, row + 0.5], color="black", linewidth=2,
                label="_" if row else "capacity of the device")  # fmt: skip
    bars.draw(ax, KIND_COLOURS, "{size:.0f}")
    return ax


def _bars(
    columns: Columns, labels: Mapping[str, str], scale: float, ends: list[float], texts: list[str]
) -> _Bars:
    parts = {
        key: (labels.get(key, key), [size / scale for size in sizes])
        for key, sizes in parts_of(columns).items()
    }
    return _Bars(columns["name"], parts, ends, texts, columns["fits"])


class _Bars(NamedTuple):
    """Stacked bars: a row an estimate, a part a term or kind, in the unit of the axis."""

    names: list[str]
    parts: dict[str, tuple[str, list[float]]]
    ends: list[float]
    texts: list[str]
    fits: list[bool]

    def draw(self, ax: Axes, colours: Mapping[str, str], written: str) -> None:
        """The bars with a legend; then, as the room is known, a text after each and a number in the wider parts."""
        left = np.zeros(len(self.names))
        for key, (label, widths) in self.parts.items():
            colour = colours.get(key, OTHER)
            ax.barh(range(len(left)), widths, left=left, height=0.7, color=colour, edgecolor="white", linewidth=0.5,
                    label=label)  # fmt: skip
            left = left + widths
        ax.set_yticks(range(len(left)), self.names)
        ax.set_ylim(len(left) - 0.5, -0.5)
        _legend_below(ax)
        self._write_ends(ax)
        for row in range(len(left)):
            self._write_parts(ax, row, colours, written)

    def _write_ends(self, ax: Axes) -> None:
        figure: Any = ax.figure
        figure.figure.draw_without_rendering()  # a layout engine settles how wide the axes are
        width, needed = ax.get_window_extent().width, max(self.ends)
        for row, (end, text, fine) in enumerate(zip(self.ends, self.texts, self.fits, strict=True)):
            drawn = ax.annotate(text, (end, row), xytext=(6, 0), textcoords="offset points", va="center",
                                fontsize="small", fontweight="normal" if fine else "bold")  # fmt: skip
            drawn.set_in_layout(False)
            taken = (drawn.get_window_extent().width + 20) / width
            needed = max(needed, end / (1 - min(taken, 0.8)))
        ax.set_xlim(0, needed)

    def _write_parts(self, ax: Axes, row: int, colours: Mapping[str, str], written: str) -> None:
        room = 0.05 * ax.get_xlim()[1]
        left, whole = 0.0, sum(widths[row] for _, widths in self.parts.values())
        for key, (_, widths) in self.parts.items():
            width, colour = widths[row], colours.get(key, OTHER)
            if width > room:
                ax.text(left + width / 2, row, written.format(size=width, share=width / whole), ha="center",
                        va="center", fontsize="small", color=readable_on(colour),
                        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1})  # fmt: skip
            left += width


def _legend_below(ax: Axes) -> None:
    from matplotlib.transforms import ScaledTranslation

    below = ScaledTranslation(0, -40 / 72, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=ax.transAxes + below, ncols=2, fontsize="small",
              frameon=False, borderaxespad=0)  # fmt: skip


def _time_unit(seconds: float) -> tuple[str, float]:
    return next(
        ((unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e-3)) if seconds >= scale), ("µs", 1e-6)
    )
