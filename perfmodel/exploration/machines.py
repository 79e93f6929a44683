"""Machines that differ in numbers, as one cluster whose fields are columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.exploration.fields import HARDWARE
from perfmodel.hardware import Cluster, Rates
from perfmodel.hardware.device import DTYPES
from perfmodel.specs import Spec

__all__ = ["Machines", "changed", "entered", "enters", "held", "machines", "put", "replaced"]

FREE = frozenset({
    "devices", "size", "bandwidth", "oversubscription", "per_link", "cross_rail", "scale_out", "capacity", "storage",
    "host_memory", "latency", "scale_up_domain", "devices_per_node", "leaf_nodes", *DTYPES,
})  # fmt: skip
"""Fields that only ever enter a formula: two machines that differ in nothing else are columns of one."""


class Machines(NamedTuple):
    """One cluster for some of the rows.

    Parameters
    ----------
    rows : which ones; True is all of them
    cluster : with columns where they differ, or why there is none
    """

    rows: Any
    cluster: Cluster | InputError


def changed(cluster: Cluster, numbers: Mapping[str, Any], dtype: str) -> Cluster:
    """One machine with some numbers changed; the network is derived anew.

    Parameters
    ----------
    cluster : to start from
    numbers : new values by the name of an axis
    dtype : number format that a peak is stated for; the others keep their ratio to it

    Raises
    ------
    InputError
        no such machine: no whole nodes, an unknown bandwidth, …

    Examples
    --------
    >>> changed(Cluster.load("dgx-h100"), {"memory_bandwidth": 4e12, "devices": 16}, "bf16").nodes
    2
    """
    found = cluster
    for name, value in numbers.items():
        if name != "peak":
            path = HARDWARE[name][0] if name in HARDWARE else name
            found = replaced(found, path, int(value) if name.startswith("devices") else float(value))
    if "peak" in numbers:  # last: no datasheet is held against rates that are only supposed
        return entered(found, "peak", float(numbers["peak"]), dtype)
    return found


def held(spec: Any, name: str, dtype: str) -> float | None:
    """What a machine, or a set of fits, holds in a field of `HARDWARE` or at a path; None where unknown.

    Parameters
    ----------
    spec : the machine
    name : of the axis
    dtype : number format that a peak is stated for
    """
    path = f"device__peak__{dtype}" if name == "peak" else HARDWARE[name][0] if name in HARDWARE else name
    value: Any = spec
    for step in path.split("__"):
        value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
    return value if isinstance(value, int | float) else None


def machines(cluster: Cluster, numbers: Mapping[str, Any], dtype: str) -> list[Machines]:
    """Machines that differ in some numbers, by what they have in common.

    Numbers of the device enter as they are; where the network's shape may follow from one (the devices, a torus), each
    of its values is built once.

    Parameters
    ----------
    cluster : to start from
    numbers : columns by the name of an axis, malformed numbers taken out
    dtype : number format that a peak is stated for

    Returns
    -------
    one entry for each shape of network
    """
    quick = {name: column for name, column in numbers.items() if enters(cluster, name)}
    slow = {name: column for name, column in numbers.items() if name not in quick}
    found = list(_built(cluster, slow, dtype)) if slow else [Machines(True, cluster)]
    for name, column in quick.items():
        found = [
            one
            if isinstance(one.cluster, InputError)
            else Machines(one.rows, entered(one.cluster, name, column, dtype))
            for one in found
        ]
    return found


def enters(cluster: Cluster, name: str) -> bool:
    """Whether a number of a machine enters as it is: nothing of the network's shape follows from it.

    Parameters
    ----------
    cluster : the machine
    name : of the axis
    """
    return name in _QUICK and _QUICK[name].open(cluster)


def entered(cluster: Cluster, name: str, column: Any, dtype: str) -> Cluster:
    """A machine with such a number changed.

    Parameters
    ----------
    cluster : the machine
    name : of the axis
    column : one number, or a column of them
    dtype : number format that a peak is stated for
    """
    return cluster.model_copy(update=_QUICK[name].put(cluster, column, dtype))


def _built(cluster: Cluster, numbers: Mapping[str, Any], dtype: str) -> Iterator[Machines]:
    """Every machine once, those alike stacked."""
    columns = np.broadcast_arrays(*numbers.values())
    rows = np.stack([column.ravel() for column in columns], axis=1)
    each, which = np.unique(rows, axis=0, return_inverse=True)
    which = which.reshape(columns[0].shape)
    alike: dict[str, list[int]] = {}
    made: list[Cluster | InputError] = []
    for place, values in enumerate(each):
        try:
            one: Cluster | InputError = changed(cluster, dict(zip(numbers, values, strict=True)), dtype)
        except InputError as error:
            one = error
        made.append(one)
        alike.setdefault(_signature(one), []).append(place)
    for places in alike.values():
        first = made[places[0]]
        here = True if len(alike) == 1 else np.isin(which, places)
        if isinstance(first, Cluster) and len(places) > 1:
            index = np.zeros(len(each), dtype=int)
            index[places] = range(len(places))
            yield Machines(here, _stacked([made[place] for place in places], index[which]))
        else:
            yield Machines(here, first)


def _signature(one: Cluster | InputError) -> str:
    """What machines have in common that can be columns of one."""
    return str(one) if isinstance(one, InputError) else repr(_without_numbers(one.model_dump()))


def _without_numbers(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_numbers(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_numbers(inner) for inner in value]
    return "number" if key in FREE and value is not None else value


def _stacked(values: Sequence[Any], index: Any) -> Any:
    """Specifications that differ in numbers as one whose fields are columns."""
    first = values[0]
    if all(value == first for value in values[1:]):
        return first
    if isinstance(first, Spec):
        fields = {name: [getattr(value, name) for value in values] for name in type(first).model_fields}
        return first.model_copy(update={name: _stacked(column, index) for name, column in fields.items()})
    if isinstance(first, tuple):
        return tuple(_stacked(column, index) for column in zip(*values, strict=True))
    return np.array(values, dtype=float)[index] if isinstance(first, int | float) else first


# --- numbers that enter as they are ------------------------------------------------------------------------------


class _Quick(NamedTuple):
    """How a column of numbers is put into a cluster at once, and where that may be done."""

    put: Callable[[Cluster, Any, str], dict[str, Any]]
    open: Callable[[Cluster], bool] = lambda cluster: True


def _peaks(cluster: Cluster, value: Any, dtype: str) -> Rates:
    """Rates whose ratios stay, with a new one in a number format."""
    rates, base = cluster.device.peak.known(), cluster.device.peak_for(dtype)
    return cluster.device.peak.model_copy(
        update={name: value if name == dtype else value * (rate / base) for name, rate in rates.items()}
    )


def _memory(name: str) -> _Quick:
    def put(cluster: Cluster, column: Any, dtype: str) -> dict[str, Any]:
        memory = cluster.device.memory.model_copy(update={name: column})
        return {"device": cluster.device.model_copy(update={"memory": memory})}

    return _Quick(put)


def _tier(name: str, open: Callable[[Cluster], bool]) -> _Quick:
    def put(cluster: Cluster, column: Any, dtype: str) -> dict[str, Any]:
        named = (name, "spine") if name == "fabric" else (name,)
        return {
            "tiers": tuple(
                tier.model_copy(update={"bandwidth": column}) if tier.name in named else tier
                for tier in cluster.tiers
            )
        }

    return _Quick(put, open)


_QUICK = {
    "memory_bandwidth": _memory("bandwidth"),
    "memory_capacity": _memory("capacity"),
    "peak": _Quick(lambda cluster, column, dtype: {
        "device": cluster.device.model_copy(update={"peak": _peaks(cluster, column, dtype)})
    }),
    "storage": _Quick(lambda cluster, column, dtype: {"storage": column}),
    "host_memory": _Quick(lambda cluster, column, dtype: {"host_memory": column}),
    "fabric__bandwidth": _tier(
        "fabric", lambda cluster: not cluster.rails and cluster.scale_out is not None
    ),
    "scale_up__bandwidth": _tier(
        "scale_up", lambda cluster: cluster.device.scale_up.topology == "switch"
        and cluster.device.scale_up.bandwidth is not None
    ),
}  # fmt: skip


def replaced(spec: Any, path: str, value: Any) -> Any:
    """A validated copy with a nested field changed.

    Parameters
    ----------
    spec : a specification
    path : to the field, nested ones joined by "__"
    value : the new one

    Raises
    ------
    InputError
        there is nothing to set it in, or the value cannot be
    """
    first, _, rest = path.partition("__")
    if not rest:
        return spec.replace(**{first: value})
    inner = getattr(spec, first, None)
    if inner is None:
        raise InputError(f"{path.replace('__', '.')} is set, but there is no {first} to set it in")
    return spec.replace(**{first: replaced(inner, rest, value)})


def put(spec: Any, path: str, value: Any) -> Any:
    """A copy with a nested field changed, unchecked; in a table without that entry, every entry's.

    Parameters
    ----------
    spec : a specification, or a table of them
    path : to the field, nested ones joined by "__"
    value : a number or a column

    Examples
    --------
    >>> from perfmodel.efficiency import Efficiency
    >>> put(Efficiency.load("hopper"), "matmul__latency", 0.0).matmul_for("bf16").latency
    0.0
    """
    first, _, rest = path.partition("__")
    if isinstance(spec, dict):
        if first in spec:
            return spec | {first: put(spec[first], rest, value) if rest else value}
        return {key: put(one, path, value) for key, one in spec.items()}
    return spec.model_copy(update={first: put(getattr(spec, first), rest, value) if rest else value})
