"""A system one can buy or rent: so many devices in a node, and the network they are given."""

from __future__ import annotations

from os import PathLike

from pydantic import Field

from perfmodel.hardware.device import Topology
from perfmodel.specs import Catalogue, SourcedSpec
from perfmodel.units import Bytes, BytesPerSecond

__all__ = ["Node", "clusters", "systems"]


class Node(SourcedSpec):
    """One node of a system, or one tray of a rack.

    Examples
    --------
    >>> node = Node.load("gb200-nvl72")
    >>> node.device, node.devices_per_node, node.scale_up_domain
    ('nvidia-gb200', 4, 72)
    """

    aliases: tuple[str, ...] = ()
    """Other names it is looked up by."""
    device: str
    """Id of its device."""
    devices_per_node: int = Field(ge=1)
    """Devices in one node [-]."""
    nics: str | None = None
    """Its network adapters, in words."""
    nic_total: BytesPerSecond | None = None
    """All network adapters of the node together, one direction [B/s]."""
    scale_out: BytesPerSecond | None = None
    """Share of one device in them, one direction; null is unknown [B/s]."""
    host_cpu: str | None = None
    """Its host processors, in words."""
    vcpus: int | None = None
    """Hardware threads of the host that are offered [-]."""
    host_memory: Bytes | None = None
    """Memory of the host [B]."""
    local_nvme: Bytes | None = None
    """Local solid-state storage [B]."""
    scale_up: str | None = None
    """What joins its devices, in words."""
    scale_up_domain: int = Field(ge=1)
    """Devices that fast links join; more than a node holds where the domain is a rack or a pod [-]."""
    topology: Topology | None = None
    """How they are joined, where it differs from the device's usual way."""

    @classmethod
    def load(cls, name: str | PathLike[str]) -> Node:
        """A system by id, alias or path of a YAML file.

        Parameters
        ----------
        name : see `systems()`; case, spaces and underscores do not matter

        Raises
        ------
        UnknownNameError
            no such system; near names are suggested
        """
        return _CATALOGUE.load(name)


_CATALOGUE = Catalogue("system", Node, "systems")


def systems() -> dict[str, str]:
    """Ids of all systems, with where each comes from."""
    return _CATALOGUE.names()


clusters = systems
