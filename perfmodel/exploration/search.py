"""Every valid layout for some devices, ranked: which is best, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError, unknown
from perfmodel.exploration.axes import varies
from perfmodel.exploration.enumeration import DEGREES, Space
from perfmodel.exploration.keepers import Leaders
from perfmodel.exploration.machines import Machines, machines
from perfmodel.exploration.metrics import Terms, default_objective, metric, metrics_of
from perfmodel.exploration.running import Executor, Progress
from perfmodel.exploration.scoring import Job, Limit
from perfmodel.exploration.search_result import Search, Way, gone_through
from perfmodel.hardware import Cluster
from perfmodel.hardware.prices import price_of
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.units import parse, show
from perfmodel.workload import Training

__all__ = ["search"]

TRAINING: Mapping[str, tuple[Any, ...]] = {
    "schedule": (
        "1f1b", "interleaved-1f1b", "gpipe", "looped-bfs", "zbv", "dualpipev", "interleaved-zero-bubble",
    ),
    "sharding": ("zero1", "none", "zero2", "zero3"),
    "recompute": ("none", "selective", "full"),
    "sequence_parallel": (True, False),
}  # fmt: skip
"""What a search of training goes through beside the degrees, where nothing says otherwise. Schedules with a closed form
come first: they set the bar for those that are timed event by event."""
SERVING: Mapping[str, tuple[int, ...]] = {"cp": (1,), "vpp": (1,), "micro_batch": (1,)}
"""Degrees that do not vary where a model is served."""
LIMITS: Mapping[str, tuple[str, str]] = {
    "memory": ("memory.total", "memory exceeds"),
    "step_time": ("step_time", "a step takes more than"),
    "deadline": ("time_to_train", "training takes more than"),
    "budget": ("cost", "it costs more than"),
    "ttft": ("ttft", "the first token takes more than"),
    "tpot": ("tpot", "a token takes more than"),
    "latency": ("latency", "an answer takes more than"),
}
"""Results that a search can be limited in."""


def search(
    model: Model,
    work: Any,
    cluster: Cluster,
    layout: Parallel | None = None,
    *,
    devices: int | Sequence[int] | None = None,
    objective: str | None = None,
    top: int = 10,
    memory: float | str | None = None,
    step_time: float | str | None = None,
    deadline: float | str | None = None,
    budget: float | None = None,
    ttft: float | str | None = None,
    tpot: float | str | None = None,
    latency: float | str | None = None,
    max_devices: int | None = None,
    tokens: float | None = None,
    price: float | None = None,
    power: float | None = None,
    software: str | None = None,
    efficiency: Efficiency | Software | None = None,
    executor: Executor | None = None,
    retries: int = 2,
    progress: Progress = None,
    cancel: Callable[[], bool] | None = None,
    **fields: Any,
) -> Search:
    """Find the best of all valid layouts for a number of devices, or for several.

    Degrees take every value that multiplies to the devices; a training also goes through all schedules, kinds of
    sharding and of recomputation, with and without sequence parallelism. What `work` and `layout` state is kept, and so
    is what `fields` say. Layouts are columns of one pass; memory is bounded, as only the best are kept.

    Parameters
    ----------
    model, work, cluster : as in `estimate`
    layout : fields that are set hold for all layouts
    devices : a number of them, or several; None is as many as the cluster has
    objective : what is best: step_time, tokens_per_second_per_device, cost, energy, time_to_train, mfu, memory.total, …
        for training; output_tokens_per_second_per_device, ttft, tpot, latency, cost, energy, … where a model is served.
        None is step_time, or output for each device
    top : rows that are kept [-]
    memory : most of it on a device, such as "70 GiB" [B]; what does not fit is left out in any case
    step_time, deadline : longest step, longest time to train; "30 d" is understood [s]
    budget : largest cost [USD]
    ttft, tpot, latency : longest time to the first token, for each further one, of a whole answer [s]
    max_devices : of the numbers of devices, those up to it [-]
    tokens : of the whole training, for time_to_train, cost and energy; None is one step. Samples, where a model has no
        tokens [-]
    price : of an hour of one device; None is the cheapest listed offer [USD/h]
    power : of one device; None is its thermal design power, which makes an energy an upper bound [W]
    software, efficiency : as in `estimate`
    executor : who answers, structure by structure: any `concurrent.futures`-style executor; None is this process
    retries : how often a part that failed elsewhere is tried again [-]
    progress : as in `sweep`; a function is told candidates seen and all
    cancel : asked now and then, and true ends the search: what is found stays
    fields : of workload or layout: one value (tp=8) is fixed, a list (tp=[2, 4, 8]) is gone through

    Returns
    -------
    the best layouts, and what became of the others

    Raises
    ------
    UnknownNameError
        nothing is called like a field or the objective; near names are suggested
    InputError
        no combination of the values is valid, or such a workload has no such limit

    Examples
    --------
    >>> import perfmodel as pm
    >>> found = search(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                pm.Cluster.load("dgx-h100", devices=16), cp=1, recompute="none")
    >>> best = found.best
    >>> best["tp"], best["pp"], best["dp"], best["sharding"]
    (1, 1, 16, 'zero2')
    >>> best.estimate().step_time == best["step_time"]
    True
    """
    kind = type(work)
    limits = {
        "memory": memory, "step_time": step_time, "deadline": deadline, "budget": budget, "ttft": ttft, "tpot": tpot,
        "latency": latency,
    }  # fmt: skip
    aim = metric(objective or default_objective(kind), kind)
    base = Parallel() if layout is None else layout
    counts = _counts(cluster, devices, max_devices)
    space = _space(model, work, base, counts, fields)
    terms = Terms(
        _price(cluster) if price is None else price, cluster.device.tdp if power is None else power, tokens
    )
    bounds = [_limit(name, most, kind) for name, most in limits.items() if most is not None]
    for one in (aim, *(bound.metric for bound in bounds)):
        one.known(terms)
    job = Job(
        space=space,
        cluster=cluster,
        fleet=tuple(_fleet(cluster, counts, work)),
        software=software,
        efficiency=efficiency,
        terms=terms,
        limits=tuple(bounds),
    )
    way = Way(executor, retries, progress, cancel)
    scores, partial = gone_through(job, Leaders(aim, top), way)
    return Search(job, aim, scores, way=way, partial=partial)


def _price(cluster: Cluster) -> float | None:
    """The cheapest listed offer on demand of an hour of the device, where there is one [USD/h]."""
    offer = price_of(cluster.device.id)
    return None if offer is None else offer.on_demand


def _counts(cluster: Cluster, devices: int | Sequence[int] | None, most: int | None) -> tuple[int, ...]:
    """Numbers of devices, growing."""
    given: list[int] = [cluster.devices]
    if devices is not None:
        given = [devices] if isinstance(devices, int) else list(devices)
    counts = sorted({int(one) for one in given if most is None or one <= most})
    if not counts:
        raise InputError(f"no number of devices is left: {given[:5]} and max_devices = {most}")
    if counts[0] < 1:
        raise InputError(f"devices = {counts[0]}: a machine has at least 1")
    return tuple(counts)


def _fleet(cluster: Cluster, counts: Sequence[int], work: Any) -> Any:
    if counts == (cluster.devices,):
        return [Machines(True, cluster)]
    return machines(cluster, {"devices": np.array(counts, dtype=np.float64)}, str(work.formats.dtype))


def _space(
    model: Model, work: Any, layout: Parallel, devices: tuple[int, ...], fields: Mapping[str, Any]
) -> Space:
    """What is gone through: fields of a kind that are given, then what is stated, then all there is."""
    known = {*Parallel.model_fields, *type(work).model_fields}
    for name in fields:
        if name not in known:
            raise unknown("field", name, known)
    stated = {name: getattr(layout, name) for name in DEGREES[1:] if name in layout.model_fields_set}
    numbers: dict[str, Any] = {name: [value] for name, value in stated.items() if value is not None}
    structure: dict[str, Any] = {}
    if isinstance(work, Training):
        set_already = layout.model_fields_set | work.model_fields_set
        structure = {name: list(values) for name, values in TRAINING.items() if name not in set_already}
    else:
        numbers = {**{name: list(values) for name, values in SERVING.items()}, **numbers}
    for name, value in fields.items():
        values = _once(list(value) if varies(value) else [value])
        if not values:
            raise InputError(f"{name} is an empty list: there is nothing to search")
        (numbers if name in DEGREES else structure)[name] = values
    space = Space(model, work, layout, devices, {n: v for n, v in numbers.items() if v != [None]}, structure)
    _valid(space)
    return space


def _once(values: list[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _valid(space: Space) -> None:
    """Some combination of structure is valid, and every degree is a whole number."""
    for name, values in space.numbers.items():
        for value in values:
            Parallel(**{name: int(value) if float(value).is_integer() else value})
    wrong: InputError | None = None
    for structure in space.structures():
        try:
            space.specs(structure)
        except InputError as error:
            wrong = wrong or error
        else:
            return
    if wrong is not None:
        raise wrong


def _limit(name: str, most: float | str, kind: type) -> Limit:
    of, words = LIMITS[name]
    if of not in metrics_of(kind):
        raise InputError(f"{name} = {most} limits {of}, which {kind.__name__} has not")
    found = metrics_of(kind)[of]
    if found.unit == "USD":
        return Limit(found, float(most), f"{words} {float(most):,.0f} USD")
    value = parse(most, found.unit, name=name)
    return Limit(found, value, f"{words} {show(value, found.unit)}")
