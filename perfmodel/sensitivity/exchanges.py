"""Inputs exchanged whole: another model, workload, layout, system, device, training stack or set of fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError
from perfmodel.hardware import Cluster, Device
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.sensitivity.fields import told
from perfmodel.sensitivity.inputs import Inputs

__all__ = ["WHOLE", "called"]


def _spec(given: Any, cls: type[Any]) -> Any:
    """What is given, or what is known by that name."""
    if isinstance(given, cls):
        return given
    if not isinstance(given, str):
        raise InputError(f"{given!r} is no {cls.__name__}; give one, or its name")
    return cls.load(given)


def _other_work(inputs: Inputs, given: Any) -> Inputs:
    if not isinstance(given, type(inputs.work)):
        kind = type(inputs.work).__name__
        raise InputError(
            f"work = {given!r} must be a workload, {kind}(…) as before, or change its fields one by one"
        )
    return inputs._replace(work=given)


def _other_layout(inputs: Inputs, given: Any) -> Inputs:
    if not isinstance(given, Parallel):
        raise InputError(f"layout = {given!r} must be a Parallel(…), or change its fields one by one")
    return inputs._replace(layout=given)


def _other_cluster(inputs: Inputs, given: Any) -> Inputs:
    """Another system with as many devices, unless a whole cluster is given."""
    if isinstance(given, Cluster):
        return inputs.on(given)
    if not isinstance(given, str):
        raise InputError(f"cluster = {given!r} must be a Cluster, or the name of a system such as dgx-b200")
    return inputs.on(Cluster.load(given, inputs.cluster.devices))


def _other_device(inputs: Inputs, given: Any) -> Inputs:
    """Another device in as many places, joined by its own fast links and by the same network between nodes."""
    device, old = _spec(given, Device), inputs.cluster
    per_node = None if device.scale_up.devices_per_node else old.devices_per_node
    usual = device.scale_out.bandwidth if device.scale_out else None
    new = Cluster.of(
        device,
        old.devices,
        devices_per_node=per_node,
        scale_out=old.scale_out or usual,
        oversubscription=old.oversubscription,
        host_memory=old.host_memory,
        storage=old.storage,
        leaf_nodes=old.leaf_nodes,
        rails=old.rails,
        fabric_reduction=old.fabric_reduction,
    )
    return inputs.on(new)


WHOLE: dict[str, Callable[[Inputs, Any], Inputs]] = {
    "model": lambda inputs, given: inputs._replace(model=_spec(given, Model)),
    "work": _other_work,
    "layout": _other_layout,
    "cluster": _other_cluster,
    "device": _other_device,
    "efficiency": lambda inputs, given: inputs._replace(efficiency=_spec(given, Efficiency)),
    "software": lambda inputs, given: inputs.under(given),
}
"""Inputs that are exchanged whole, in this order; fields are changed after them."""


def called(name: str, inputs: Inputs) -> str:
    """What an input is called.

    Parameters
    ----------
    name : of `WHOLE`
    inputs : of a job
    """
    if name == "device":
        return inputs.cluster.device.id
    if name == "software":
        return inputs.efficiency.software or "none"
    if name == "layout":
        degrees = ((axis, getattr(inputs.layout, axis)) for axis in ("tp", "pp", "vpp", "cp", "ep"))
        return " ".join(f"{axis} {degree}" for axis, degree in degrees if degree > 1) or "dp alone"
    return told(getattr(inputs, name))
