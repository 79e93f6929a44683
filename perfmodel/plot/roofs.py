"""The roofline: what a device could do, what software achieves, and where the operators of a step lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perfmodel.efficiency import Efficiency
from perfmodel.estimation import TrainingEstimate
from perfmodel.formulas.roofline import arithmetic_intensity, operator_time, roofline_time
from perfmodel.hardware import Device
from perfmodel.plot.canvas import TERM_COLOURS, some_axes
from perfmodel.plot.columns import Columns, roofline_points, single
from perfmodel.report import TERMS
from perfmodel.units import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["roofline"]

MARKERS = {"matmul": "o", "attention": "D"}
LABELLED = 7
"""Operators that a roofline names [-]."""


def roofline(
    est_or_device: TrainingEstimate | Device | str, *, dtype: str | None = None, ax: Axes | None = None
) -> Axes:
    """Roofline of a device and, of an estimate, its operators under it.

    The solid roof is the datasheet's, the dashed one what matrix products achieve by the efficiency set in force. A
    point's area is its share of the step; the largest are named.

    Parameters
    ----------
    est_or_device : an estimate, a device, or a device's name
    dtype : number format of the roof; by default that of the estimate's products, bf16 for a device
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: arithmetic intensity [FLOP/B] across, rate of one device [TFLOP/s] upward, both logarithmic

    Raises
    ------
    MissingExtraError
        matplotlib is not installed

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> roofline("h100", ax=Figure().subplots()).get_xscale()
    'log'
    """
    if isinstance(est_or_device, Device | str):
        device = Device.load(est_or_device) if isinstance(est_or_device, str) else est_or_device
        roof = _Roof(device, Efficiency.of(device.architecture, device=device.id), dtype or "bf16")
        points: Columns = {"name": [], "intensity": [], "flops_per_second": []}
        title = f"{device.name}, {roof.dtype}"
    else:
        est = single(est_or_device)
        roof = _Roof(est.cluster.device, est.efficiency, dtype or est.costs.dtype)
        points = roofline_points(est)
        title = f"{est.model.name} on {est.cluster.devices} x {roof.device.name}, {roof.dtype}"
    ax = some_axes(ax, height=5.0)
    _draw_roofs(ax, roof, points["intensity"], points["flops_per_second"])
    if points["name"]:
        _draw_points(ax, points)
    ax.set(title=title, xlabel="arithmetic intensity [FLOP/B]", ylabel="rate of one device [TFLOP/s]")
    ax.legend(loc="upper left", fontsize="small")
    return ax


class _Roof(NamedTuple):
    """Rates under which operators lie, of a device and a number format."""

    device: Device
    efficiency: Efficiency
    dtype: str

    @property
    def peak(self) -> float:
        return self.device.peak_for(self.dtype)

    @property
    def ridge(self) -> float:
        return arithmetic_intensity(flops=self.peak, memory_bytes=self.device.memory_bandwidth)  # type: ignore[no-any-return]

    def datasheet(self, intensity: Any) -> Any:
        """Least time turned round: the rate of perfect software [FLOP/s]."""
        bandwidth = self.device.memory_bandwidth
        return 1 / roofline_time(flops=1.0, memory_bytes=1 / intensity, peak=self.peak, bandwidth=bandwidth)

    def achieved(self, intensity: Any) -> Any:
        """The rate of long matrix products by the fit [FLOP/s]."""
        fit = self.efficiency.matmul_for(self.dtype)
        return 1 / operator_time(
            flops=1.0, memory_bytes=1 / intensity, peak=self.peak, bandwidth=self.device.memory_bandwidth,
            compute_efficiency=fit.compute * fit.sustained, memory_efficiency=fit.memory, latency=0.0,
            exponent=fit.exponent,
        )  # fmt: skip


def _draw_roofs(ax: Axes, roof: _Roof, intensities: list[float], rates: list[float]) -> None:
    low = min(*intensities, roof.ridge) / 30 if intensities else roof.ridge / 100
    high = max([*intensities, roof.ridge]) * 30
    across = np.geomspace(low, high, 400)
    ax.loglog(across, roof.datasheet(across) / 1e12, color="black", label=f"datasheet: {show(roof.peak, 'FLOP/s')}, "
              f"{show(roof.device.memory_bandwidth, 'B/s')}")  # fmt: skip
    ax.loglog(across, roof.achieved(across) / 1e12, color="black", linestyle="--",
              label=f"achieved by matrix products ({roof.efficiency.id})")  # fmt: skip
    ax.axvline(
        roof.ridge, color="#777777", linestyle=":", linewidth=1, label=f"ridge: {roof.ridge:.0f} FLOP/B"
    )
    floor = min([*rates, roof.peak / 30]) / 3
    ax.set(xlim=(low, high), ylim=(floor / 1e12, roof.peak * 8 / 1e12))


def _draw_points(ax: Axes, points: Columns) -> None:
    rates = [rate / 1e12 for rate in points["flops_per_second"]]
    for kind, marker in MARKERS.items():
        chosen = [place for place, one in enumerate(points["kind"]) if one == kind]
        share = sum(points["share"][place] for place in chosen)
        ax.scatter(
            [points["intensity"][place] for place in chosen], [rates[place] for place in chosen],
            s=[20 + 2000 * points["share"][place] for place in chosen], marker=marker, color=TERM_COLOURS[kind],
            alpha=0.7, edgecolor="black", linewidth=0.5, zorder=3, label=f"{TERMS[kind]}: {share:.0%} of the step",
        )  # fmt: skip
    _name_spots(ax, _largest_spots(points, rates))


def _largest_spots(points: Columns, rates: list[float]) -> dict[tuple[float, float], str]:
    """The spots that take most of the step, with the names of all operators that lie there."""
    names: dict[tuple[float, float], list[str]] = {}
    shares: dict[tuple[float, float], float] = {}
    for name, intensity, rate, share in zip(
        points["name"], points["intensity"], rates, points["share"], strict=True
    ):
        names.setdefault((intensity, rate), []).append(name)
        shares[intensity, rate] = shares.get((intensity, rate), 0.0) + share
    largest = sorted(shares, key=lambda spot: -shares[spot])[:LABELLED]
    return {spot: f"{_joined(names[spot])}, {shares[spot]:.0%}" for spot in largest}


def _joined(names: list[str]) -> str:
    """Names in one, what they share said once: mlp up + dgrad."""
    first, *others = names
    return " + ".join([first, *(name.removeprefix(first).strip() for name in others)])


def _name_spots(ax: Axes, names: dict[tuple[float, float], str]) -> None:
    """Names in a column in the empty corner under the roof, each with a line to its point; no two lines cross."""
    for row, spot in enumerate(sorted(names, reverse=True)):
        ax.annotate(
            names[spot], xy=spot, xytext=(0.68, 0.52 - 0.07 * row), textcoords="axes fraction", va="center",
            fontsize="small", zorder=4,
            arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.7, "relpos": (0, 0.5)},
        )  # fmt: skip
