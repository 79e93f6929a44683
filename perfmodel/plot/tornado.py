"""A tornado: what a little less and a little more of each number of the machine do to a time, the largest on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfmodel.errors import InputError
from perfmodel.plot.canvas import some_axes
from perfmodel.plot.columns import Columns
from perfmodel.sensitivity import each_alone, elasticities
from perfmodel.units import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["tornado", "tornado_columns"]

LESS, MORE = "#CC6677", "#332288"
"""Colours of the number made smaller, and larger (Paul Tol's muted scheme)."""


def tornado_columns(est: Any, metric: str | None = None, *, change: float = 0.1, most: int = 12) -> Columns:
    """A time with each of the numbers that matter most made smaller and larger, all others as they are.

    Parameters
    ----------
    est : an estimate of one configuration
    metric : an attribute of the estimate; None is its main time
    change : share by which a number is changed, below 1 [-]
    most : numbers at most [-]

    Returns
    -------
    columns name, elasticity [-], less and more: the metric with 1 - change and with 1 + change times the number [s]

    Raises
    ------
    InputError
        the change is no share

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
    >>> tornado_columns(est, most=2)["name"]
    ['peak.bf16', 'matmul.default.compute']
    """
    if not 0 < change < 1:
        raise InputError(f"change = {change} must lie between 0 and 1, such as 0.1")
    found = elasticities(est, metric)
    largest = found.largest(most)
    times = each_alone(est, list(largest), [1 - change, 1 + change], found.metric)
    less, more = times.T.tolist()
    return {"name": list(largest), "elasticity": list(largest.values()), "less": less, "more": more}


def tornado(
    est: Any, metric: str | None = None, *, change: float = 0.1, most: int = 12, ax: Axes | None = None
) -> Axes:
    """Bars of what ten per cent less and ten per cent more of each number make of a time.

    Parameters
    ----------
    est : an estimate of one configuration
    metric : an attribute of the estimate; None is its main time
    change : share by which a number is changed [-]
    most : numbers at most [-]
    ax : where to draw; a new figure if None

    Returns
    -------
    the axes: change of the time [%] across, one bar a number

    Raises
    ------
    InputError
        the change is no share
    MissingExtraError
        matplotlib is not installed
    """
    columns = tornado_columns(est, metric, change=change, most=most)
    value = getattr(est, metric) if metric else elasticities(est, numbers=()).value
    ax = some_axes(ax, height=1.5 + 0.3 * len(columns["name"]))
    rows = range(len(columns["name"]))
    for key, colour, sign in (("less", LESS, "-"), ("more", MORE, "+")):
        widths = [100 * (time / value - 1) for time in columns[key]]
        ax.barh(rows, widths, height=0.7, color=colour, label=f"{sign}{change:.0%}")
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(rows, columns["name"])
    ax.invert_yaxis()
    ax.set_xlabel(f"change of {metric or 'the time'} of {show(value, 's')} [%]")
    ax.legend(title="the number", fontsize="small", frameon=False)
    return ax
