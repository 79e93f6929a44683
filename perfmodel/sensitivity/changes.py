"""How any field of any input is changed: whole inputs first, then fields, then what follows from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from perfmodel.errors import Faults, InputError
from perfmodel.hardware import Cluster, Device
from perfmodel.parallel import Parallel
from perfmodel.schedules import schedule_class
from perfmodel.sensitivity.exchanges import WHOLE, called
from perfmodel.sensitivity.fields import Field, field_named, fields, told
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.values import Factor, Tree, put, rebuilt, rebuilt_model, result, value_of
from perfmodel.specs import Spec

__all__ = ["Changed", "changed"]

FOLLOWING = {
    "layout": ("dp", "vpp", "schedule", "shards", "first_stage_layers", "last_stage_layers"),
    "work": ("recompute_policy", "recompute_modules", "recompute_keep", "recompute_every"),
    "cluster": ("devices",),
}
"""Fields that may follow from the change of others."""


class Changed(NamedTuple):
    """One input that differs.

    Parameters
    ----------
    path : of the field, or the input that was exchanged whole
    before, after : printed
    follows : nobody asked for it: it follows from another change
    """

    path: str
    before: str
    after: str
    follows: bool = False

    def __str__(self) -> str:
        return f"{self.path} {self.before} -> {self.after}"


def changed(inputs: Inputs, changes: Mapping[str, Any]) -> tuple[Inputs, tuple[Changed, ...]]:
    """The same job with some fields of any input changed.

    dp follows from the devices unless it is given; the devices follow from dp where dp alone is given.

    Parameters
    ----------
    inputs : model, workload, layout, cluster and efficiency
    changes : new values by name or path: a value, a quantity with its unit, or a factor ("1.5x", "+10 %") of a number

    Returns
    -------
    the new inputs, and what differs

    Raises
    ------
    InputError
        a name that nobody knows, that is ambiguous or that no number depends on; a value that can't be: all at once

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100"))
    >>> new, differs = changed(Inputs.of(est), {"memory_bandwidth": "1.5x", "tp": 4})
    >>> print(*differs, sep=", ")
    device.memory.bandwidth 3.350 TB/s -> 5.025 TB/s, tp 2 -> 4, dp 4 -> 2
    """
    if not changes:
        raise InputError('nothing is changed; name a field: memory_bandwidth="1.5x", tp=4, precision="fp8"')
    new, differs = inputs, []
    for name, exchange in WHOLE.items():
        if name in changes:
            before, new = new, exchange(new, changes[name])
            differs.append(Changed(name, called(name, before), called(name, new)))
    plan, found = _planned(new, {name: value for name, value in changes.items() if name not in WHOLE})
    differs += found
    new = _applied(new, plan, dp_given=_dp_given(plan, changes))
    return new, (*differs, *_followed(inputs, new, differs))


def _planned(inputs: Inputs, changes: Mapping[str, Any]) -> tuple[dict[str, Tree], list[Changed]]:
    """Fields to change, by input; every name and value that can't be is told at once."""
    plan: dict[str, Tree] = {root: Tree() for root in Inputs._fields}
    found, faults = [], Faults("what is changed")
    known = fields(inputs) if changes else {}
    for name, given in changes.items():
        try:
            field, change = value_of(field_named(name, known), given)
            put(plan[field.root], field.keys, change)
            after = result(field.value, change)
            found.append(Changed(_short(field), *_printed(field, change, after)))
        except InputError as error:
            faults.add(str(error))
    faults.raise_if_any()
    return plan, found


def _printed(field: Field, change: Any, after: Any) -> tuple[str, str]:
    """A field's value before and after; of a table that is scaled whole, the factor."""
    if field.branch and isinstance(change, Factor):
        return "1x", change.words
    return told(field.value, field.unit), told(after, field.unit)


def _short(field: Field) -> str:
    """Its path as far as needed: the device is no part of its cluster, and only fields of models name their input."""
    path = field.path.removeprefix("cluster.")
    root, _, rest = path.partition(".")
    return rest if root in {"work", "layout", "efficiency"} else path


def _applied(inputs: Inputs, plan: dict[str, Tree], *, dp_given: bool) -> Inputs:
    """The inputs with all fields changed, and with what these changes make meaningless taken back."""
    layout = _with(inputs.layout, plan["layout"], _layout_follows)
    cluster = rebuilt(inputs.cluster, _device_follows(inputs.cluster, plan["cluster"]))
    if not dp_given:
        layout = layout.replace(dp=None)
    elif "devices" not in plan["cluster"]:
        cluster = cluster.replace(devices=layout.replica * (layout.dp or 1))
    moved = inputs.on(cluster)
    return Inputs(
        model=rebuilt_model(inputs.model, plan["model"]),
        work=_with(inputs.work, plan["work"], _work_follows),
        layout=layout.on(cluster.devices),
        cluster=cluster,
        efficiency=rebuilt(moved.efficiency, plan["efficiency"]),
    )


def _with(spec: Any, tree: Tree, follow: Callable[[Any, Tree], dict[str, Any]]) -> Any:
    """A specification with its fields changed, and what follows from them unless it is given, too."""
    return rebuilt(spec, Tree(follow(spec, tree) | tree)) if tree else spec


def _defaults(spec: Spec, *names: str) -> dict[str, Any]:
    known = type(spec).model_fields
    return {name: known[name].get_default(call_default_factory=True) for name in names}


def _work_follows(work: Spec, tree: Tree) -> dict[str, Any]:
    """What another kind of recomputation leaves without meaning."""
    match tree.get("recompute"):
        case "none":
            return _defaults(
                work, "recompute_policy", "recompute_modules", "recompute_keep", "recompute_every"
            )
        case "full":
            return _defaults(work, "recompute_modules", "recompute_policy")
        case "selective":
            return _defaults(work, "recompute_keep", "recompute_policy")
        case _:
            return {}


def _layout_follows(layout: Parallel, tree: Tree) -> dict[str, Any]:
    """What another pipeline or sharding leaves without meaning, and the chunks that a schedule needs."""
    found: dict[str, Any] = {}
    if "pp" in tree and result(layout.pp, tree["pp"]) == 1:
        found |= _defaults(layout, "vpp", "schedule", "first_stage_layers", "last_stage_layers")
    if tree.get("sharding", "hsdp") != "hsdp":
        found |= _defaults(layout, "shards")
    if isinstance(schedule := tree.get("schedule"), str) and schedule != "auto":
        needed = schedule_class(schedule).chunks_needed
        found |= {"vpp": needed} if needed else {}
    return found


def _device_follows(cluster: Cluster, tree: Tree) -> Tree:
    """What a change of the device brings with it: its links to single neighbours, its name."""
    device = tree.get("device")
    if isinstance(device, Tree):
        _links_follow(cluster.device, device)
        _name_follows(cluster.device, device)
    return tree


def _links_follow(device: Device, tree: Tree) -> None:
    """Links to single neighbours are as much faster as all links together."""
    links, change = device.scale_up, tree.get("scale_up")
    if isinstance(change, Tree) and "bandwidth" in change and links.per_link and links.bandwidth:
        new = links.replace(bandwidth=result(links.bandwidth, change["bandwidth"])).bandwidth or 0.0
        change.setdefault("per_link", links.per_link * new / links.bandwidth)


def _name_follows(device: Device, tree: Tree) -> None:
    """A faster chip is no bundled one any more: twice its peak is no sparse headline taken for the dense rate."""
    peaks = tree.get("peak")
    changes = peaks.values() if isinstance(peaks, Tree) else [peaks]
    if any(isinstance(change, Factor) for change in changes):
        plain = re.sub(r"[^a-z0-9]+", "-", device.architecture.casefold())
        tree |= {"id": f"what-if-{plain}", "name": f"What-if {device.architecture}", "aliases": ()}


def _dp_given(plan: dict[str, Tree], changes: Mapping[str, Any]) -> bool:
    whole = changes.get("layout")
    return "dp" in plan["layout"] or (isinstance(whole, Parallel) and whole.dp is not None)


def _followed(before: Inputs, after: Inputs, differs: list[Changed]) -> Iterator[Changed]:
    """Degrees and devices that nobody asked for, and yet differ."""
    asked = {each.path for each in differs}
    for root, names in FOLLOWING.items():
        there = type(getattr(after, root)).model_fields
        for name in [each for each in names if each in there and root not in asked]:
            old, new = getattr(getattr(before, root), name), getattr(getattr(after, root), name)
            if old != new and name not in asked:
                yield Changed(name, told(old), told(new), follows=True)
