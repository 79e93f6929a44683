"""Where answers meet: two machines tie, a resource takes over, more ranks stop paying.

Each is found by predicting over and over, many points at a time, whatever regimes lie between.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from perfmodel.errors import InputError, unknown
from perfmodel.sensitivity.elasticity import elasticities, metric_of
from perfmodel.sensitivity.quantities import Quantity, numbers, with_values
from perfmodel.sensitivity.scanning import nearest_change

__all__ = ["balance", "crossover", "turning_point"]

REACH = 1e4
"""How far a number is thought to change, times itself or one over it [-]."""
DEGREES = ("tp", "pp", "cp")
"""Degrees that take devices from dp, down to one."""


def crossover(first: Any, second: Any, number: str, *, metric: str | None = None) -> float:
    """The value of a number at which an answer equals another one.

    Parameters
    ----------
    first : an estimate, whose number is changed
    second : what it is held against: an estimate, or a value of the metric. A number of the job (a batch, a length, a
        degree) is changed in both estimates, one of the machine in the first alone
    number : by its name, such as memory_bandwidth, batch or tp
    metric : an attribute of the estimates, such as step_time or memory.total; None is their main time

    Returns
    -------
    the value nearest to the present one [SI]

    Raises
    ------
    InputError
        they don't meet: a number of the machine is changed up to ten thousand times and down to one ten-thousandth, a
        count not below one, a degree as long as one replica is left
    UnknownNameError
        no such number or metric

    Examples
    --------
    With which memory bandwidth would an H100 decode as fast as a B200?

    >>> import perfmodel as pm
    >>> model, work = pm.Model.load("llama-3.1-8b"), pm.Inference(batch=8, input_length=1024, output_length=256)
    >>> old, new = (pm.estimate(model, work, pm.Parallel(), pm.Cluster.of(name, 1)) for name in ("h100", "b200"))
    >>> crossover(old, new, "memory_bandwidth", metric="decode_time") > old.cluster.device.memory_bandwidth
    True
    """
    name = metric_of(first, metric)
    both = number in numbers(second) and _of_job(first, number) if not _is_value(second) else False

    def difference(points: Any) -> Any:
        other = with_values(second, {number: points}) if both else second
        aim = other if _is_value(other) else attrgetter(name)(other)
        return attrgetter(name)(with_values(first, {number: points})) - aim

    return _found(first, number, difference, f"{name} does not meet the other one")


def balance(
    est: Any, number: str, *, between: tuple[str, str] = ("compute", "memory_bandwidth"), part: str = "tree"
) -> float:
    """The value of a number at which two resources take equally long, such as the batch at which decode turns.

    Parameters
    ----------
    est : an estimate
    number : by its name, such as batch
    between : two of the estimate's resources
    part : which part of the answer: tree (all of it), prefill or decode

    Returns
    -------
    the value nearest to the present one [SI]

    Raises
    ------
    InputError
        neither takes over within reach, as in `crossover`
    UnknownNameError
        no such number or resource

    Examples
    --------
    >>> import perfmodel as pm
    >>> run = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Inference(batch=8, input_length=128, output_length=32),
    ...                   pm.Parallel(), pm.Cluster.of("h100", 1))
    >>> 150 < balance(run, "batch", part="decode") < 1000
    True
    """
    for resource in between:
        if resource not in getattr(est, part).resources:
            raise unknown("resource", resource, getattr(est, part).resources)

    def difference(points: Any) -> Any:
        found = getattr(with_values(est, {number: points}), part).resources
        return found[between[0]] - found[between[1]]

    return _found(est, number, difference, f"{' and '.join(between)} do not change places")


def turning_point(est: Any, number: str, *, metric: str | None = None) -> float:
    """The value of a number beyond which more of it makes the answer worse instead of better, or the reverse.

    Parameters
    ----------
    est : an estimate
    number : by its name, such as tp
    metric : an attribute of the estimate; None is its main time

    Returns
    -------
    the value nearest to the present one; of a degree, it need not be whole [SI]

    Raises
    ------
    InputError
        the answer does not turn within reach, as in `crossover`

    Examples
    --------
    >>> import perfmodel as pm
    >>> run = pm.estimate(pm.Model.load("llama-3.2-1b"), pm.Inference(batch=8, input_length=1024, output_length=256),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100"))
    >>> 1 < turning_point(run, "tp") < 64
    True
    """

    def slope(points: Any) -> Any:
        return elasticities(with_values(est, {number: points}), metric, numbers=[number])[number]

    return _found(est, number, slope, f"{metric_of(est, metric)} does not turn")


def _found(est: Any, number: str, difference: Callable[[Any], Any], told: str) -> float:
    known = numbers(est)
    if number not in known:
        raise unknown("number", number, known)
    start = float(known[number].value)
    if start <= 0:
        raise InputError(f"{number} = {start:g} can't be scaled; start from an estimate where it is above 0")
    low, high = _reach(est, known[number], start)
    found = nearest_change(difference, start, low, high)
    if found is None:
        raise InputError(f"{told} for {number} between {low:.4g} and {high:.4g}")
    return found


def _reach(est: Any, number: Quantity, start: float) -> tuple[float, float]:
    """How far a number may go: what is counted not below one, degrees until no replica is left beside."""
    counted = isinstance(number.value, int)
    high = start * est.layout.dp if number.name in DEGREES else start * REACH
    return min(start, 1.0) if counted else start / REACH, high


def _is_value(other: Any) -> bool:
    return isinstance(other, int | float)


def _of_job(est: Any, number: str) -> bool:
    known = numbers(est)
    if number not in known:
        raise unknown("number", number, known)
    return known[number].origin == "given"
