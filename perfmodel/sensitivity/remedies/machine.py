"""Remedies of the machine: more devices, faster links, another device of the same class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.errors import InputError
from perfmodel.hardware import Device, devices
from perfmodel.sensitivity.outcomes import dtype_of
from perfmodel.sensitivity.remedies.table import Changes, remedy

__all__ = ["faster_links", "more_devices", "other_device", "reducing_switch"]

EVERY = ("training", "inference", "serving")


@remedy(
    "more devices",
    relieves=("compute", "memory_bandwidth", "memory"),
    costs="so many times the price, and less work for each",
    scope="machine",
    kinds=EVERY,
)
def more_devices(est: Any) -> Iterator[Changes]:
    """Twice and four times as many."""
    yield from ({"devices": est.cluster.devices * factor} for factor in (2, 4))


@remedy(
    "links twice as fast",
    relieves=("fabric", "scale_up", "node", "spine", "host_link", "storage"),
    costs="a price that is not known here",
    scope="machine",
    kinds=EVERY,
)
def faster_links(est: Any) -> Iterator[Changes]:
    """Each tier of the network that messages cross, the links to the host and to storage where they are in use."""
    used = {name for name, seconds in est.resources.items() if seconds > 0}
    tiers = {tier.name for tier in est.cluster.tiers if tier.name in used}
    yield from ({f"cluster.{name}.bandwidth": "2x"} for name in sorted(tiers - {"spine"}))
    if "spine" in used or ("fabric" in used and est.cluster.oversubscription > 1):
        yield {"oversubscription": 1.0}
    if "host_link" in used and "node" not in tiers:
        yield {"device.host_link.bandwidth": "2x"}
    if "storage" in used:
        yield {"cluster.storage": "2x"}


@remedy(
    "switches that add up what passes through them (SHARP)",
    relieves=("fabric", "network_latency"),
    costs="switches and software that have it",
    scope="machine",
    kinds=EVERY,
)
def reducing_switch(est: Any) -> Iterator[Changes]:
    """In the fabric, where messages cross it."""
    if not est.cluster.fabric_reduction and est.resources.get("fabric", 0.0) > 0:
        yield {"fabric_reduction": True}


@remedy(
    "another device",
    relieves=("compute", "memory_bandwidth", "scale_up", "memory"),
    costs="another machine, and its price",
    scope="machine",
    kinds=EVERY,
)
def other_device(est: Any) -> Iterator[Changes]:
    """Bundled devices of the same class that are as new and no slower in this number format."""
    now = est.cluster.device
    for name in devices():
        if name != now.id and _rival(Device.load(name), now, dtype_of(est)):
            yield {"device": name}


def _rival(device: Device, now: Device, dtype: str) -> bool:
    """Of the same class, as new, with a known memory, and links where the other has them."""
    try:
        faster = device.peak_for(dtype) >= 0.5 * now.peak_for(dtype)
        known = device.memory_bandwidth > 0 and device.memory_capacity > 0
    except InputError:
        return False
    joined = bool(device.scale_up.bandwidth) or not now.scale_up.bandwidth
    return device.kind == now.kind and device.year >= now.year and faster and known and joined
