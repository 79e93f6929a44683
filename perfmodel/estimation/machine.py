"""A cluster and an efficiency as plain numbers: what the fold over the tree of work divides by."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

from perfmodel.efficiency import CollectiveFit, Efficiency
from perfmodel.hardware import Cluster, Tier
from perfmodel.ops import certain

__all__ = ["Machine", "MatmulRate", "TierRate", "machine"]


KERNELS = {"product": "", "blocks": "_block"}
"""Kernels of a product with rates of their own (all others have the product's): what the names of these end in, behind
the number format."""


class MatmulRate(NamedTuple):
    """Achieved rates of matrix products in one number format.

    Parameters
    ----------
    flops : efficiency times peak [FLOP/s]
    bandwidth : efficiency times memory bandwidth [B/s]
    latency : of an empty kernel, that of one which quantises before it included [s]
    quantise_latency : of the latter alone [s]
    exponent : of the ridge [-]
    accumulate : rate of products that add into their result, over the others [-]
    inner_step : of a tile for each element of the inner length [s]
    inner_split : inner length from which it is split [-]
    wave : elements of the result whose tiles fill the device [-]
    tile : rows of a tile [-]
    walk_exponent : of the walk beside the roofline [-]
    cores : rate at which all cores take in a matrix in a kernel for few rows; None where their clock is unknown [B/s]
    cores_exponent : of where that meets the bandwidth [-]
    cached : rate of what lies in the cache, over that of the memory [-]
    cache : what operands of a product measured alone find room in; None where they come from memory [B]
    """

    flops: Any
    bandwidth: Any
    latency: Any
    quantise_latency: Any
    exponent: Any
    accumulate: Any
    inner_step: Any
    inner_split: Any
    wave: Any
    tile: Any
    walk_exponent: Any
    cached: Any
    cache: Any
    cores: Any = None
    cores_exponent: Any = 4


class TierRate(NamedTuple):
    """One network tier with its fit.

    Parameters
    ----------
    name : which tier; also the resource that reports name
    size : devices inside one of its domains; None is the whole cluster [-]
    bandwidth : one direction, per device, oversubscription taken off [B/s]
    fit : fractions and latencies
    torus : devices along each axis of a torus longer than one, and whether it closes to a ring; none for a switch [-]
    link : the link to one neighbour of a torus or a mesh, one direction [B/s]
    mesh : every device has a link of its own to every other
    subset_links : links that each of so many neighbours has to the others, where the wiring is uneven [-]
    cross_rail : bandwidth to a device of another place in its node [B/s]
    in_network : the switch can reduce
    """

    name: str
    size: Any
    bandwidth: Any
    fit: CollectiveFit
    torus: tuple[tuple[int, bool], ...]
    link: Any
    mesh: bool
    subset_links: tuple[tuple[int, int], ...]
    cross_rail: Any
    in_network: bool

    @property
    def axes(self) -> int:
        """Axes of a torus, 0 for a switch [-]."""
        return len(self.torus)

    @property
    def side(self) -> int:
        """Devices along the longest axis of a torus [-]."""
        return max((side for side, _ in self.torus), default=1)

    @property
    def wraps(self) -> bool:
        """Every axis of the torus closes to a ring."""
        return bool(self.torus) and all(closed for _, closed in self.torus)


class Machine(NamedTuple):
    """Everything the seconds depend on.

    Parameters
    ----------
    peak : dense peak by number format, where known [FLOP/s]
    bandwidth : of device memory [B/s]
    capacity : of device memory [B]
    devices, nodes : in the cluster [-]
    tiers : innermost first
    efficiency : the fits
    matmul : achieved rates by number format in use, and the kernel's ending
    links : achieved rates outside the device's memory, where known: host_link, storage, host_memory [B/s]
    host_capacity : the share of one device in its host's memory; None is unknown [B]
    cached : rate of what a kernel finds in the cache, over that of the memory [-]
    cache : room there for what one kernel leaves for the next; None where the rate was not measured [B]
    """

    peak: dict[str, Any]
    bandwidth: Any
    capacity: Any
    devices: Any
    nodes: Any
    tiers: tuple[TierRate, ...]
    efficiency: Efficiency
    matmul: dict[str, MatmulRate]
    links: dict[str, Any]
    host_capacity: Any
    cached: Any = 1
    cache: Any = None


def machine(
    cluster: Cluster, efficiency: Efficiency, dtypes: tuple[str, ...], *, settled: bool = True
) -> Machine:
    """Unpack a cluster and an efficiency once, for the number formats in use.

    Parameters
    ----------
    cluster : the machine
    efficiency : the fits
    dtypes : number formats of the products in the tree
    settled : power and clocks have settled, as in a long run; else single kernels in short bursts

    Returns
    -------
    plain numbers

    Raises
    ------
    InputError
        the device has no known peak in one of the formats
    """
    device = cluster.device
    ticks = None if device.cores is None or device.clock is None else device.cores * device.clock
    peak = {dtype: device.peak_for(dtype) for dtype in dtypes}
    if efficiency.half_sums and "fp16" in peak and device.fp16_acc16 is not None:
        peak["fp16"] = device.fp16_acc16
    rates = {}
    for (dtype, most), (kernel, ending) in product(peak.items(), KERNELS.items()):
        fit = efficiency.matmul_for(dtype, kernel)
        rates[dtype + ending] = MatmulRate(
            flops=fit.compute * (fit.sustained if settled else 1.0) * most,
            bandwidth=fit.memory * device.memory_bandwidth,
            latency=fit.latency,
            quantise_latency=fit.quantise_latency,
            exponent=fit.exponent,
            accumulate=fit.accumulate,
            inner_step=fit.inner_step,
            inner_split=fit.inner_split,
            wave=fit.wave,
            tile=fit.tile,
            walk_exponent=fit.walk_exponent,
            cached=fit.cached,
            # in a long run other layers have been through the cache since
            cache=None if settled or device.l2 is None else fit.cache_share * device.l2,
            cores=None if ticks is None else fit.core * ticks,
            cores_exponent=fit.core_exponent,
        )
    plain = efficiency.matmul_for("default")
    return Machine(
        peak=peak,
        bandwidth=device.memory_bandwidth,
        capacity=device.memory_capacity,
        devices=cluster.devices,
        nodes=cluster.devices / cluster.devices_per_node,
        tiers=tuple(_tier(tier, efficiency) for tier in cluster.tiers),
        efficiency=efficiency,
        matmul=rates,
        links=_links(cluster, efficiency),
        host_capacity=None if cluster.host_memory is None else cluster.host_memory / cluster.devices_per_node,
        cached=plain.cached,
        cache=None if device.l2 is None or certain(plain.cached == 1) else plain.cache_share * device.l2,
    )


def _links(cluster: Cluster, efficiency: Efficiency) -> dict[str, Any]:
    fit, port = efficiency.offload, cluster.device.host_link
    known = {
        "host_link": None if port is None else fit.host_link * port.bandwidth,
        "storage": None if cluster.storage is None else fit.storage * cluster.storage,
        "host_memory": fit.host_memory / cluster.devices_per_node,
    }
    return {name: rate for name, rate in known.items() if rate is not None}


def _tier(tier: Tier, efficiency: Efficiency) -> TierRate:
    sides = zip(tier.torus or (), tier.wrap, strict=True)
    bandwidth = tier.bandwidth / tier.oversubscription
    return TierRate(
        name=tier.name,
        size=tier.size,
        bandwidth=bandwidth,
        fit=efficiency.collective_for("fabric" if tier.name == "spine" else tier.name),
        torus=tuple((side, closed) for side, closed in sides if side > 1),
        link=tier.bandwidth if tier.per_link is None else tier.per_link,
        mesh=tier.topology == "mesh" and tier.per_link is not None,
        subset_links=tuple(sorted(tier.subset_links.items())),
        cross_rail=bandwidth if tier.cross_rail is None else tier.cross_rail,
        in_network=tier.in_network_reduction,
    )
