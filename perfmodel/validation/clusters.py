"""The machine of a measured row: what it states, and what is usual where it says nothing.

A user of `Cluster.of` is asked for what is unknown. A measured row can't be asked, and did run: here, and here only,
unknown facts take a usual value, and every such value is noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

from perfmodel.errors import InputError
from perfmodel.hardware import Cluster, Device, Tier, devices
from perfmodel.hardware.tiers import usual_domain
from perfmodel.hardware.torus import open_box
from perfmodel.validation.fabric import port_speed, stated_bandwidth, without_bridges

__all__ = ["row_cluster", "row_device"]

Row = Mapping[str, Any]

USUAL_ADAPTER = ((2018, 12.5e9), (2022, 25e9), (9999, 50e9))
"""One adapter a node by the device's last year: EDR InfiniBand or 100 Gbit/s Ethernet, then HDR, then NDR [B/s]."""
USUAL_BUS = ((2019, 15.75e9), (2021, 31.5e9), (9999, 63e9))
"""PCI Express of 16 lanes by the device's last year: third, fourth, fifth generation [B/s]."""
USUAL_MEMORY = 512 * 2**30
"""Of a processor whose memory is bought apart [B]."""
AXES = {"ring": 1, "torus2d": 2, "torus3d": 3}


def row_cluster(row: Row, notes: list[str]) -> Cluster:
    """The devices of a row and the network between them.

    Parameters
    ----------
    row : its configuration
    notes : what had to be assumed is added to these

    Returns
    -------
    the cluster

    Examples
    --------
    >>> notes = []
    >>> row = {"hardware": "tpu-v5p", "devices": 24, "network": None}
    >>> row_cluster(row, notes).tiers[0].torus, notes
    ((2, 3, 4), ['no slice of google-tpu-v5p has 24 chips: taken as an open box of 2 x 3 x 4'])
    """
    count, text = int(row["devices"]), str(row.get("network") or "")
    offloads = bool(row.get("offload")) or "offload" in str(row.get("recompute_detail"))
    device = _completed(row_device(row, notes), count, offloads, notes)
    given: dict[str, Any] = {}
    if row.get("devices_per_node"):
        given["devices_per_node"] = min(int(row["devices_per_node"]), count)
    per_node = _per_node(device, count, given.get("devices_per_node"), notes)
    if device.scale_up.topology == "mesh" and device.scale_up.domain_size == 2 and without_bridges(text):
        given["scale_up_domain"] = 1
    elif device.scale_up.domain_size is None:
        given["scale_up_domain"] = per_node
        notes.append(
            f"how many {device.id} the fast links join is unknown: taken as the {per_node} of a node"
        )
    given |= {"devices_per_node": per_node, "scale_out": _scale_out(device, text, per_node, count, notes)}
    try:
        return Cluster.of(device, count, **given)
    except InputError:
        if device.scale_up.topology not in AXES:
            raise
    return _boxed(device, count, given, notes)


def row_device(row: Row, notes: list[str]) -> Device:
    """The device of a row: by id or alias, else one of the same model with another memory or another socket.

    Parameters
    ----------
    row : its configuration
    notes : what had to be assumed is added to these

    Raises
    ------
    UnknownNameError
        nobody knows the model; near names are suggested

    Examples
    --------
    >>> row_device({"hardware": "nvidia-a100-sxm-64gb"}, notes := []).id, notes
    ('nvidia-a100-sxm-80gb', ['hardware nvidia-a100-sxm-64gb is not known: taken as nvidia-a100-sxm-80gb'])
    """
    stated = str(row["hardware"])
    try:
        return Device.load(stated)
    except InputError:
        wanted = _words(stated)
        model = next((word for word in wanted if any(map(str.isdigit, word))), "")
        alike = [id for id in devices() if model in _words(id)]
        if not model or not alike:
            raise
    shared = {id: sum(word in wanted for word in _words(id)) for id in alike}
    # of several alike, the socket that most are sold in, and the larger memory
    found = max(alike, key=lambda id: (shared[id], "sxm" in id, _memory(id), id))
    notes.append(f"hardware {stated} is not known: taken as {found}")
    return Device.load(found)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.casefold())


def _memory(id: str) -> int:
    told = re.search(r"(\d+)gb", id)
    return int(told[1]) if told else 0


def _by_year(table: tuple[tuple[int, float], ...], device: Device) -> float:
    return next(value for last, value in table if device.year <= last)


def _completed(device: Device, count: int, offloads: bool, notes: list[str]) -> Device:
    """The device with usual values in place of what no source tells of it."""
    changes: dict[str, Any] = {}
    if device.memory.capacity is None:
        changes["memory__capacity"] = USUAL_MEMORY
        notes.append(f"the memory of {device.id} is unknown: taken as {USUAL_MEMORY // 2**30} GiB")
    unlinked = device.scale_up.bandwidth is None and device.scale_up.domain_size != 1
    by_host = count > 1 and (unlinked or device.scale_up.domain_size == 1)
    if device.host_link is None and (by_host or offloads):
        bus = _by_year(USUAL_BUS, device)
        changes["host_link"] = {"name": "PCI Express, 16 lanes", "bandwidth": bus}
        notes.append(f"the host link of {device.id} is unknown: taken as {bus / 1e9:g} GB/s one way")
    if unlinked:
        changes |= {"scale_up__topology": "none", "scale_up__domain_size": 1}
    return device.replace(**changes) if changes else device


def _per_node(device: Device, count: int, stated: int | None, notes: list[str]) -> int:
    """Devices of a node that divide all of them: nodes that are not filled are filled alike."""
    usual = stated or min(Cluster.of(device, 1).devices_per_node, count)
    found = next(share for share in range(usual, 0, -1) if count % share == 0)
    if stated and found != stated:
        notes.append(f"{count} devices are no whole nodes of {stated}: taken as {found} a node")
    return found


def _scale_out(device: Device, text: str, per_node: int, count: int, notes: list[str]) -> float | None:
    """Stated; else the device's usual, as far as a port of the named generation carries it; else one usual adapter."""
    stated = stated_bandwidth(text, per_node)
    if stated is not None:
        return stated
    port, usual = port_speed(text), device.scale_out.bandwidth if device.scale_out else None
    if usual is not None:
        return usual if port is None else min(usual, port)
    share = (port or _by_year(USUAL_ADAPTER, device)) / per_node
    if count > max(per_node, usual_domain(device, per_node) or 1):
        notes.append(
            f"the network between nodes of {device.id} is unknown: taken as one adapter, {share / 1e9:g} GB/s each"
        )
    return share


def _boxed(device: Device, count: int, given: dict[str, Any], notes: list[str]) -> Cluster:
    """A torus of a shape that is not on offer: an open box of as many chips, as cube-like as can be."""
    links = device.scale_up
    box = open_box(count, AXES[links.topology])
    notes.append(
        f"no slice of {device.id} has {count} chips: taken as an open box of {' x '.join(map(str, box))}"
    )
    one = links.per_link or (links.bandwidth / links.links if links.bandwidth and links.links else None)
    tier = Tier(
        name="scale_up",
        size=prod(box),
        bandwidth=links.bandwidth,
        topology=links.topology,
        torus=box,
        wrap=(False,) * len(box),
        per_link=one,
    )
    return Cluster.of(device, count, **given, tiers=(tier,))
