"""Many devices and the network between them."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from perfmodel.errors import Faults, InputError, UnknownNameError
from perfmodel.hardware.device import Device
from perfmodel.hardware.node import Node
from perfmodel.hardware.tables import html_table, text_table
from perfmodel.hardware.tiers import Tier, tiers_of, usual_domain, usual_node
from perfmodel.specs import Spec
from perfmodel.units import Bytes, BytesPerSecond, show

__all__ = ["Cluster"]


class Cluster(Spec):
    """So many devices in nodes, and the tiers of network that join them.

    `Cluster.load` takes the shape of a system, `Cluster.of` builds one from a device. What is not given is derived,
    and derived anew in a changed copy.

    Examples
    --------
    >>> cluster = Cluster.load("dgx-h100", devices=1024)
    >>> cluster
    dgx-h100: 1024 x NVIDIA H100 SXM5 80GB
      nodes       128 of 8
      scale_up    8 devices, 450.0 GB/s one way, switch, reduces in the network
      fabric      1024 devices, 50.00 GB/s one way, switch
    >>> cluster.replace(devices=8, device__memory__bandwidth="4.8 TB/s").device.memory_bandwidth
    4800000000000.0
    """

    device: Device
    """All devices are alike."""
    devices: int = Field(ge=1)
    """How many [-]."""
    devices_per_node: int = Field(default=0, ge=1)
    """Devices in one node; by default as is usual for the device [-]."""
    scale_up_domain: int = Field(default=0, ge=1)
    """Most devices that the fast links join; by default as the device says [-]."""
    scale_out: BytesPerSecond | None = None
    """Bandwidth between nodes, one direction per device [B/s]."""
    oversubscription: float = Field(default=1.0, ge=1)
    """Of the fabric, above its leaf switches: bandwidth into it over bandwidth through it [-]."""
    leaf_nodes: int | None = Field(default=None, ge=1)
    """Nodes that one leaf switch, or one on each rail, joins; null is all, or not known [-]."""
    rails: bool = False
    """Adapters of the same place in their nodes share leaf switches of their own (rail-optimised)."""
    fabric_reduction: bool = False
    """The switches of the fabric can add up what passes through them (SHARP)."""
    slices: int | None = Field(default=None, ge=1)
    """Tori that the devices are cut into, alike; null is as few as their pods allow [-]."""
    host_memory: Bytes | None = None
    """Memory of one node's host; null is unknown [B]."""
    storage: BytesPerSecond | None = None
    """Solid-state storage of a node, the share of one device, reads or writes; null is unknown [B/s]."""
    tiers: tuple[Tier, ...] = ()
    """Network tiers, innermost first; by default derived from the rest."""
    name: str = ""
    """What it is called."""
    notes: str = ""
    """What a user of the numbers should know."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Derive what is not given and check the whole."""
        derived = self.__dict__
        derived["name"] = self.name or self.device.id
        derived["devices_per_node"] = self.devices_per_node or usual_node(self.device)
        domain = self.scale_up_domain or usual_domain(self.device, self.devices_per_node)
        faults = Faults("Cluster")
        if domain is None and self.devices > 1:
            faults.add(
                f"how many {self.device.id} the fast links join is unknown; give it: scale_up_domain=64"
            )
        if self.devices > self.devices_per_node and self.devices % self.devices_per_node:
            faults.add(_not_whole_nodes(self.devices, self.devices_per_node))
        faults.raise_if_any()
        derived["scale_up_domain"] = domain or 1
        if not self.tiers:
            derived["tiers"] = tiers_of(
                self.device,
                devices=self.devices,
                devices_per_node=self.devices_per_node,
                domain=self.scale_up_domain,
                scale_out=self.scale_out,
                oversubscription=self.oversubscription,
                leaf_nodes=self.leaf_nodes,
                rails=self.rails,
                fabric_reduction=self.fabric_reduction,
                slices=self.slices,
            )
        if self.tiers[-1].size != self.devices or list(self.tiers) != sorted(
            self.tiers, key=lambda t: t.size
        ):
            sizes = ", ".join(str(tier.size) for tier in self.tiers)
            faults.add(
                f"tiers grow from the innermost to all {self.devices} devices; their sizes are {sizes}"
            )
        faults.raise_if_any()
        return self

    @classmethod
    def load(
        cls,
        name: str,
        devices: int | None = None,
        *,
        devices_per_node: int | None = None,
        scale_up: float | str | None = None,
        scale_out: float | str | None = None,
        oversubscription: float = 1.0,
        **network: Any,
    ) -> Self:
        """A cluster of the nodes of a known system.

        Parameters
        ----------
        name : id, alias or path of the system, see `systems()`
        devices : how many; by default one node, or one rack where fast links join it [-]
        devices_per_node : where fewer are used than a node holds [-]
        scale_up : bandwidth of the fast links, one direction per device; by default the device's [B/s]
        scale_out : bandwidth between nodes, one direction per device; by default the system's [B/s]
        oversubscription : of the fabric, above its leaf switches [-]
        network : leaf_nodes, rails, fabric_reduction, slices, as the fields of that name

        Raises
        ------
        UnknownNameError
            no such system; near names are suggested
        InputError
            the devices are no whole nodes, or a bandwidth that is needed is unknown

        Examples
        --------
        >>> [(tier.name, tier.size) for tier in Cluster.load("gb200-nvl72", devices=144).tiers]
        [('scale_up', 72), ('fabric', 144)]
        """
        node = _node(name)
        device = Device.load(node.device)
        if node.topology is not None:
            device = device.replace(scale_up__topology=node.topology)
        per_node = devices_per_node or node.devices_per_node
        spans = node.scale_up_domain > node.devices_per_node
        rack = spans and device.scale_up.topology == "switch"
        return cls.of(
            device,
            devices if devices is not None else (node.scale_up_domain if rack else per_node),
            devices_per_node=per_node,
            scale_up=scale_up,
            scale_up_domain=node.scale_up_domain if spans else min(node.scale_up_domain, per_node),
            scale_out=scale_out if scale_out is not None else node.scale_out,
            oversubscription=oversubscription,
            name=node.id,
            notes=node.notes,
            host_memory=node.host_memory,
            **network,
        )

    @classmethod
    def of(
        cls,
        device: Device | str,
        devices: int = 1,
        *,
        devices_per_node: int | None = None,
        scale_up: float | str | None = None,
        scale_up_domain: int | None = None,
        scale_out: float | str | None = None,
        oversubscription: float = 1.0,
        name: str = "",
        notes: str = "",
        host_memory: float | str | None = None,
        storage: float | str | None = None,
        **network: Any,
    ) -> Self:
        """A cluster built from a device.

        Parameters
        ----------
        device : a Device, or its name
        devices : how many [-]
        devices_per_node : by default as is usual for the device [-]
        scale_up : bandwidth of the fast links, one direction per device; by default the device's [B/s]
        scale_up_domain : most devices that they join; by default as the device says [-]
        scale_out : bandwidth between nodes, one direction per device, as "400 Gbit/s"; by default the device's [B/s]
        oversubscription : of the fabric [-]
        name, notes : what it is called and what to know about it
        host_memory : of one node; needed to know whether what is offloaded fits [B]
        storage : of a node, the share of one device; needed where something is offloaded to it [B/s]
        network : leaf_nodes, rails, fabric_reduction, slices, as the fields of that name

        Raises
        ------
        UnknownNameError
            no such device; near names are suggested
        InputError
            the devices are no whole nodes, or a bandwidth that is needed is unknown

        Examples
        --------
        >>> cluster = Cluster.of("l40s", 16, devices_per_node=8, scale_out="200 Gbit/s")
        >>> [(tier.name, tier.size, tier.bandwidth) for tier in cluster.tiers]
        [('node', 8, 31500000000.0), ('fabric', 16, 25000000000.0)]
        """
        one = device if isinstance(device, Device) else Device.load(device)
        if scale_up is not None:
            one = one.replace(scale_up__bandwidth=scale_up)
        usual = one.scale_out.bandwidth if one.scale_out else None
        given: dict[str, Any] = {"devices_per_node": devices_per_node, "scale_up_domain": scale_up_domain}
        return cls(
            device=one,
            devices=devices,
            scale_out=scale_out if scale_out is not None else usual,
            oversubscription=oversubscription,
            name=name or one.id,
            notes=notes,
            host_memory=host_memory,
            storage=storage,
            **{field: value for field, value in given.items() if value is not None},
            **network,
        )

    @property
    def nodes(self) -> int:
        """Nodes, a partly used one counted whole [-]."""
        return -(-self.devices // self.devices_per_node)

    def __repr__(self) -> str:
        return text_table(self._title(), self._rows())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_table(self._title(), self._rows())

    def _title(self) -> str:
        return f"{self.name}: {self.devices} x {self.device.name}"

    def _rows(self) -> list[tuple[str, str]]:
        nodes = f"{self.nodes} of {self.devices_per_node}"
        return [
            ("nodes", nodes),
            *((tier.name, _described(tier)) for tier in self.tiers),
            ("notes", self.notes),
        ]


def _described(tier: Tier) -> str:
    words = [f"{tier.size} devices", f"{show(tier.bandwidth, 'B/s')} one way"]
    if tier.torus is None:
        words.append(tier.topology)
    else:
        sides = (f"{side}{'' if ring else ' open'}" for side, ring in zip(tier.torus, tier.wrap, strict=True))
        words.append(f"torus {' x '.join(sides)}")
    if tier.oversubscription > 1:
        words.append(f"oversubscribed {tier.oversubscription:g}:1")
    if tier.cross_rail is not None:
        words.append(f"by rail, {show(tier.cross_rail, 'B/s')} across")
    if tier.in_network_reduction:
        words.append("reduces in the network")
    return ", ".join(words)


def _not_whole_nodes(wanted: int, per_node: int) -> str:
    below = wanted - wanted % per_node
    return (
        f"devices = {wanted} is no multiple of the {per_node} in a node; nearest: {below} or {below + per_node} "
        f"(or devices_per_node=…)"
    )


def _node(name: str) -> Node:
    """A system; where the name is that of a device, the error says how to build a cluster of it."""
    try:
        return Node.load(name)
    except UnknownNameError as error:
        try:
            device = Device.load(name)
        except InputError:
            raise error from None
        raise UnknownNameError(
            f'"{name}" is the device {device.id}, not a system; Cluster.of("{name}", devices) builds a cluster of it, '
            f"systems() lists the systems"
        ) from None
