"""The numbers of a machine, of its efficiency set and of a job by name, and an estimate with some of them changed.

Facts are listed here; those of the efficiency set and of the job are read from their fields, so that a further
constant is found by itself. A change replaces the number where it stands in a copy of what it belongs to, and predicts
again: whatever kind of number it is, it goes through the same formulas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.efficiency import Efficiency, EngineRecipe, Residuals
from perfmodel.errors import unknown
from perfmodel.estimation import InferenceEstimate, ServingEstimate, TrainingEstimate
from perfmodel.estimation.inference import estimate_inference
from perfmodel.estimation.serving import estimate_serving
from perfmodel.estimation.training import estimate_training
from perfmodel.hardware import Cluster
from perfmodel.specs import Spec
from perfmodel.specs.describing import field_docs, field_units

__all__ = [
    "Quantity",
    "Value",
    "each_alone",
    "job_numbers",
    "meaning",
    "numbers",
    "quantities",
    "with_values",
]

Path = tuple[str | int, ...]
"""Where a number stands: fields, keys and places from the estimate inward."""

KINDS = {"FLOP/s": "rate", "B/s": "rate", "s": "time", "B": "size", "-": "share"}
"""What a number is, by its unit: rates divide work, times add up, sizes are held, shares multiply rates or work."""

RESOURCES = {
    "matmul": "kernel_latency", "attention": "kernel_latency", "stream": "kernel_latency",
    "collective": "network_latency", "host": "host_launch", "offload": "host_memory",
}  # fmt: skip
"""Resource of the times and rates in each part of an efficiency set."""

COUNTS = frozenset({("attention", "tile")})
"""Whole numbers among the constants, to multiples of which work is rounded up: one per cent of them is nothing."""

INPUTS = ("work", "layout", "cluster", "efficiency")
"""What has numbers that may change."""

ESTIMATES: dict[type, Callable[..., Any]] = {
    TrainingEstimate: estimate_training, InferenceEstimate: estimate_inference, ServingEstimate: estimate_serving,
}  # fmt: skip
"""How each estimate is made, without the checks of `estimate`, which need plain numbers."""

Value = Any
"""A float, an array, or any kind of number that `perfmodel.ops` knows."""


@dataclass(frozen=True)
class Quantity:
    """One number that the seconds of an estimate depend on.

    Parameters
    ----------
    name : such as memory_bandwidth, fabric.bandwidth or matmul.default.compute
    value : in SI units
    unit : FLOP/s, B/s, s, B or -
    resource : which resource it is the speed of; empty for shares and sizes
    places : where it stands in the estimate's inputs; those that follow the first keep their ratio to it
    """

    name: str
    value: Value
    unit: str
    resource: str
    places: tuple[Path, ...]

    @property
    def kind(self) -> str:
        """Rate, time, size or share."""
        return KINDS[self.unit]

    @property
    def origin(self) -> str:
        """Where it comes from: a datasheet (fact), measurements (fit), or who asks (given)."""
        return {"cluster": "fact", "efficiency": "fit"}.get(str(self.places[0][0]), "given")


def quantities(est: Any) -> dict[str, Quantity]:
    """Every number of the machine and of the efficiency set in force, by name.

    Parameters
    ----------
    est : an estimate

    Returns
    -------
    facts first

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
    >>> known = quantities(est)
    >>> known["fabric.bandwidth"].value, known["fabric.bandwidth"].resource, known["host.launch"].kind
    (50000000000.0, 'fabric', 'time')
    """
    found = (*_facts(est.cluster), *_fits(est.efficiency))
    return {one.name: one for one in found}


def job_numbers(est: Any) -> dict[str, Quantity]:
    """Every number of the workload and of the layout, by name.

    Parameters
    ----------
    est : an estimate

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
    >>> [job_numbers(est)[name].value for name in ("global_batch", "tp", "dp")]
    [128, 2, 8]
    """
    found = {}
    for part in ("work", "layout"):
        for path, value, unit in _numbers(getattr(est, part), ()):
            name = ".".join(map(str, path))
            found[name] = Quantity(name, value, unit, "", ((part, *path),))
    return found


def numbers(est: Any) -> dict[str, Quantity]:
    """Those of the machine, of the efficiency set, and of the job.

    Parameters
    ----------
    est : an estimate
    """
    return job_numbers(est) | quantities(est)


def meaning(est: Any, number: Quantity) -> str:
    """What a number is, as the docstring of its field says.

    Parameters
    ----------
    est : the estimate it is of
    number : one of its numbers

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
    >>> meaning(est, numbers(est)["tp"])
    'tensor-parallel degree: ranks that share every matrix'
    """
    *way, field = number.places[0]
    holder = _at(est, tuple(way))
    if isinstance(holder, Mapping):  # a table of numbers: the key is told, and what the table holds
        *way, field = way
        holder = _at(est, tuple(way))
    kind: type = type(holder)
    text = field_docs(kind).get(str(field), number.name)
    words = re.sub(r"\s*\[\S+\]\.?$", "", " ".join(text.split())).rstrip(".")
    dense = "dense peak, " if number.name.startswith("peak.") else ""
    return dense + words[:1].lower() + words[1:]


def _facts(cluster: Cluster) -> Iterator[Quantity]:
    device = cluster.device
    for dtype, rate in device.peak.known().items():
        yield _fact(f"peak.{dtype}", rate, "FLOP/s", "compute", ("device", "peak", dtype))
    memory = ("device", "memory")
    yield _fact(
        "memory_bandwidth", device.memory.bandwidth, "B/s", "memory_bandwidth", (*memory, "bandwidth")
    )
    yield _fact("memory_capacity", device.memory.capacity, "B", "", (*memory, "capacity"))
    for place, tier in enumerate(cluster.tiers):
        fields = ("bandwidth", "per_link", "cross_rail")
        known = [("tiers", place, field) for field in fields if getattr(tier, field) is not None]
        yield _fact(f"{tier.name}.bandwidth", tier.bandwidth, "B/s", tier.name, *known)
    if device.host_link is not None:
        port = ("device", "host_link", "bandwidth")
        yield _fact("host_link.bandwidth", device.host_link.bandwidth, "B/s", "host_link", port)
    if cluster.storage is not None:
        yield _fact("storage.bandwidth", cluster.storage, "B/s", "storage", ("storage",))


def _fact(name: str, value: Any, unit: str, resource: str, *places: Path) -> Quantity:
    return Quantity(name, value, unit, resource, tuple(("cluster", *place) for place in places))


def _fits(efficiency: Efficiency) -> Iterator[Quantity]:
    for path, value, unit in _numbers(efficiency, ()):
        resource = RESOURCES[str(path[0])] if KINDS[unit] in ("rate", "time") else ""
        yield Quantity(".".join(map(str, path)), value, unit, resource, (("efficiency", *path),))


def _numbers(spec: Spec, path: Path) -> Iterator[tuple[Path, Any, str]]:
    """Every number of a spec with its unit, as the field's docstring has it."""
    units = field_units(type(spec))
    for name, value in spec:
        here, unit = (*path, name), units.get(name)
        for at, entry in _entries(here, value):
            if isinstance(entry, Spec) and not isinstance(entry, Residuals | EngineRecipe):
                yield from _numbers(entry, at)
            elif unit in KINDS and at not in COUNTS and _is_number(entry):
                yield at, entry, unit


def _entries(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        yield from (((*path, key), entry) for key, entry in value.items())
    else:
        yield path, value


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int | np.ndarray) and not isinstance(value, bool)


def with_values(est: Any, values: Mapping[str, Value]) -> Any:
    """The same job with other numbers; nothing is checked, so that any kind of number will do.

    Where tp, pp or cp change and dp is not given, dp follows from the devices.

    Parameters
    ----------
    est : an estimate
    values : new values by the names of `numbers` [SI]

    Returns
    -------
    the estimate anew

    Raises
    ------
    UnknownNameError
        no such number; near names are suggested

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
    >>> with_values(est, {"host.launch": 1e-3}).limiter.name
    'host_launch'
    """
    known = numbers(est)
    changes: dict[Path, Value] = {}
    for name, value in values.items():
        if name not in known:
            raise unknown("number", name, known)
        changes |= dict(_changes(est, known[name], value))
    inputs = {part: _changed(getattr(est, part), _below(changes, part)) for part in INPUTS}
    if "dp" not in values and any(degree in values for degree in ("tp", "pp", "cp")):
        layout = inputs["layout"]
        inputs["layout"] = layout.model_copy(update={"dp": est.cluster.devices / layout.replica})
    return ESTIMATES[type(est)](est.model, **inputs)


def each_alone(est: Any, names: Sequence[str], factors: Sequence[float], metric: str) -> Any:
    """A metric with each number changed and all others as they are, in one pass of arrays.

    Parameters
    ----------
    est : an estimate of one configuration
    names : of numbers
    factors : on each of them [-]
    metric : an attribute of the estimate

    Returns
    -------
    numbers × factors

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
    >>> found = each_alone(est, ["memory_bandwidth", "host.launch"], [1.0, 2.0], "step_time")
    >>> found.shape, bool(found[0, 1] < found[0, 0] == est.step_time)
    ((2, 2), True)
    """
    known, shape = numbers(est), (len(names), len(factors))
    changes = {}
    for row, name in enumerate(names):
        column = np.ones(shape)
        column[row] = factors
        changes[name] = known[name].value * column.ravel()
    found = getattr(with_values(est, changes), metric)
    return np.broadcast_to(found, shape[0] * shape[1]).reshape(shape)


def _changes(est: Any, one: Quantity, value: Value) -> Iterator[tuple[Path, Value]]:
    first, *others = one.places
    yield first, value
    for place in others:
        yield place, _at(est, place) / one.value * value


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = getattr(value, step) if isinstance(step, str) and hasattr(value, step) else value[step]
    return value


def _below(changes: Mapping[Path, Value], step: str | int) -> dict[Path, Value]:
    return {path[1:]: value for path, value in changes.items() if path[0] == step}


def _changed(old: Any, changes: Mapping[Path, Value]) -> Any:
    """A copy with some numbers replaced."""
    if () in changes:
        return changes[()]
    parts = {path[0]: _below(changes, path[0]) for path in changes}
    if isinstance(old, Spec):
        fields = {str(name): _changed(getattr(old, str(name)), below) for name, below in parts.items()}
        return old.model_copy(update=fields)
    if isinstance(old, Mapping):
        return {
            key: _changed(entry, parts.get(key, {})) if key in parts else entry for key, entry in old.items()
        }
    return tuple(_changed(entry, parts[at]) if at in parts else entry for at, entry in enumerate(old))
