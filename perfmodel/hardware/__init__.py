"""What the machine offers: datasheet facts only, one direction, dense peaks.

`Device` is one accelerator, `Link` a kind of interconnect, `Node` a system one can buy or rent, `Cluster` many
devices with the network tiers between them. What software gets of it is in `perfmodel.efficiency`.
"""

from perfmodel.hardware.cluster import Cluster
from perfmodel.hardware.device import Device, Memory, Port, Rates, ScaleUp, devices
from perfmodel.hardware.link import Link, links
from perfmodel.hardware.node import Node, clusters, systems
from perfmodel.hardware.tiers import Tier

__all__ = [
    "Cluster", "Device", "Link", "Memory", "Node", "Port", "Rates", "ScaleUp", "Tier", "clusters", "devices",
    "links", "systems",
]  # fmt: skip
