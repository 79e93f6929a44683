"""The network of a cluster as tiers, innermost first: fast links, the host's bus within a node, the fabric."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod

from pydantic import Field

from perfmodel.errors import InputError
from perfmodel.hardware.device import Device, Topology
from perfmodel.hardware.torus import closed_axes, slice_shape
from perfmodel.specs import Spec
from perfmodel.units import BytesPerSecond, Seconds

__all__ = ["Tier", "tiers_of", "usual_domain", "usual_node"]

_AXES = {"ring": 1, "torus2d": 2, "torus3d": 3}
USUAL_NODE = 8
"""Devices that a node is taken to hold where nothing says otherwise [-]."""


class Tier(Spec):
    """One level of the network."""

    name: str
    """scale_up, node, fabric or spine."""
    size: int = Field(ge=1)
    """Devices in one domain of the tier; of the outermost tier, all devices of the cluster [-]."""
    bandwidth: BytesPerSecond
    """One direction, per device [B/s]."""
    latency: Seconds | None = None
    """Of one message; null is not stated: the Efficiency supplies it [s]."""
    topology: Topology = "switch"
    """How the devices of a domain are joined."""
    oversubscription: float = Field(default=1.0, ge=1)
    """Bandwidth into the tier over bandwidth through it [-]."""
    torus: tuple[int, ...] | None = None
    """Devices along each axis, where the domain is a torus or a ring [-]."""
    wrap: tuple[bool, ...] = ()
    """Whether each of these axes closes to a ring."""
    per_link: BytesPerSecond | None = None
    """To one neighbour, where links lead to different ones (mesh, torus), one direction [B/s]."""
    subset_links: dict[int, int] = Field(default_factory=dict)
    """Links that each of so many neighbours has to the others of them, where the wiring is uneven [-]."""
    cross_rail: BytesPerSecond | None = None
    """To a device of another place in its node, where rails lie apart; null is as wide, one direction [B/s]."""
    in_network_reduction: bool = False
    """The switches can add up what passes through them."""


def usual_domain(device: Device, devices_per_node: int) -> int | None:
    """Devices that the fast links join in nodes of a size, None where unknown [-].

    Parameters
    ----------
    device : whose links
    devices_per_node : a domain ends at the node unless it is a rack or a pod [-]
    """
    domain = device.scale_up.domain_size
    if domain is None or device.scale_up.devices_per_node is not None:
        return domain
    return min(domain, devices_per_node)


def usual_node(device: Device) -> int:
    """Devices in a node where nothing else is said: its domain, 8 on a host's bus, or the device alone [-].

    Parameters
    ----------
    device : in the node
    """
    scale_up = device.scale_up
    if scale_up.devices_per_node is not None:
        return scale_up.devices_per_node
    if scale_up.domain_size is not None and scale_up.domain_size > 2:
        return scale_up.domain_size
    return USUAL_NODE if device.host_link else 1


def tiers_of(
    device: Device,
    *,
    devices: int,
    devices_per_node: int,
    domain: int,
    scale_out: float | None,
    oversubscription: float = 1.0,
    leaf_nodes: int | None = None,
    rails: bool = False,
    fabric_reduction: bool = False,
    slices: int | None = None,
) -> tuple[Tier, ...]:
    """The tiers that so many devices need, innermost first.

    Parameters
    ----------
    device : all devices are alike
    devices, devices_per_node : how many [-]
    domain : devices that the fast links can join [-]
    scale_out : bandwidth between nodes, one direction per device; None is unknown [B/s]
    oversubscription : of the fabric; above its leaf switches where these are known [-]
    leaf_nodes : nodes that one leaf switch, or one a rail, joins; None is all of them, or not known [-]
    rails : adapters of the same place in their nodes have leaf switches of their own
    fabric_reduction : the switches of the fabric can add up what passes through them
    slices : tori of this size each that the devices are cut into; None is as few as there can be [-]

    Raises
    ------
    InputError
        a bandwidth that is needed is unknown, or no torus has so many devices
    """
    tiers: list[Tier] = []
    in_node = min(devices, devices_per_node)
    if domain > 1 and (devices > 1 or device.scale_up.bandwidth):
        tiers.append(_scale_up(device, devices, devices_per_node, domain, slices))
    if (not tiers and devices == 1) or _reach(tiers) < in_node:
        tiers.append(_node(device, in_node))
    if _reach(tiers) < devices:
        fabric = _fabric(device, devices, devices_per_node, scale_out, fabric_reduction)
        tiers += _leaves(
            fabric, (leaf_nodes or devices) * devices_per_node, rails, oversubscription, leaf_nodes is None
        )
    return tuple(tiers)


def _reach(tiers: list[Tier]) -> int:
    return tiers[-1].size if tiers else 1


def _scale_up(device: Device, devices: int, devices_per_node: int, domain: int, slices: int | None) -> Tier:
    links = device.scale_up
    if links.bandwidth is None:
        raise InputError(
            f"the scale-up bandwidth of {device.id} is unknown; give it, one direction per device: "
            f'scale_up="400 GB/s"'
        )
    tier = Tier(
        name="scale_up",
        size=min(devices, domain),
        bandwidth=links.bandwidth,
        topology=links.topology,
        in_network_reduction=links.in_network_reduction,
    )
    if links.topology in _AXES:
        torus = _slice(device, devices, _AXES[links.topology], domain, slices)
        per_link = links.per_link or (links.bandwidth / links.links if links.links else None)
        return tier.replace(size=prod(torus), torus=torus, wrap=closed_axes(torus, domain), per_link=per_link)
    size = _even_share(devices, domain, lambda share: share % min(devices_per_node, share) == 0)
    if links.topology == "mesh" and links.per_link is not None:
        per_peer = links.bandwidth / (domain - 1)
        return tier.replace(size=size, per_link=per_peer, bandwidth=per_peer * max(1, size - 1))
    if links.topology == "cube_mesh" and links.links:
        return tier.replace(
            size=size, per_link=links.bandwidth / links.links, subset_links=dict(links.subset_links)
        )
    return tier.replace(size=size)


def _node(device: Device, size: int) -> Tier:
    if device.host_link is not None:
        return Tier(name="node", size=size, bandwidth=device.host_link.bandwidth, topology="tree")
    if size == 1:  # nothing is sent; the bandwidth only has to be one
        return Tier(name="node", size=1, bandwidth=device.memory_bandwidth, topology="none")
    raise InputError(
        f"what joins the {size} devices of a node is unknown: {device.id} states no host link; give it: "
        f'device.replace(host_link={{"name": "PCIe5 x16", "bandwidth": "63 GB/s"}})'
    )


def _fabric(
    device: Device, devices: int, devices_per_node: int, bandwidth: float | None, reduces: bool
) -> Tier:
    if bandwidth is None:
        raise InputError(
            f"the scale-out bandwidth is unknown, and {devices} {device.id} reach beyond one node of "
            f'{devices_per_node}; give it, one direction per device: scale_out="400 Gbit/s"'
        )
    return Tier(name="fabric", size=devices, bandwidth=bandwidth, in_network_reduction=reduces)


def _leaves(fabric: Tier, leaf: int, rails: bool, oversubscription: float, unknown: bool) -> list[Tier]:
    """The fabric below its leaf switches, and the spine above them where devices lie under several."""
    above = fabric.bandwidth / oversubscription
    if unknown and not rails:
        return [fabric.replace(oversubscription=oversubscription)]
    below = fabric.replace(size=min(leaf, fabric.size), cross_rail=above if rails else None)
    if leaf >= fabric.size:
        return [below]
    return [below, fabric.replace(name="spine", oversubscription=oversubscription)]


def _even_share(devices: int, most: int, fits: Callable[[int], bool]) -> int:
    """Devices in each domain where domains are filled alike: 256 devices take 4 racks of 72 with 64 in each."""
    least = ceil(devices / most)
    for domains in range(least, max(least + 1, ceil(2 * devices / most))):
        share, rest = divmod(devices, domains)
        if rest == 0 and fits(share):
            return share
    return most


def _slice(device: Device, devices: int, axes: int, pod: int, given: int | None) -> tuple[int, ...]:
    """Shape of the slices, all alike, that so many devices are."""

    def shape(chips: int) -> tuple[int, ...] | None:
        return slice_shape(chips, axes, pod)

    def slices(count: int) -> tuple[int, ...] | None:
        if given is not None:
            return shape(count // given) if count % given == 0 else None
        share = _even_share(count, pod, lambda chips: shape(chips) is not None)
        return shape(share) if count % share == 0 else None

    found = slices(devices)
    if found is None:
        above = range(devices, 2 * devices + pod + 1)  # every pod of whole slices has some shape
        near = (next(filter(slices, each), None) for each in (range(devices, 0, -1), above))
        nearest = sorted({count for count in near if count is not None})
        raise InputError(
            f"devices = {devices}: {device.id} has no slice of so many chips; nearest: "
            f"{' or '.join(map(str, nearest))}"
        )
    return found
