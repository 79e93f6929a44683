"""Time of an all-reduce by the algorithms beside the ring: trees, phases by tier, reduction in the switch."""

from __future__ import annotations

from typing import Any

from perfmodel.formulas.collectives import all_reduce_factor, alpha_beta, ring_all_gather
from perfmodel.ops import Number, log2

__all__ = [
    "halving_doubling_all_reduce", "hierarchical_all_reduce", "in_switch_factor", "nvls_all_reduce",
    "sharp_all_reduce", "tree_all_reduce",
]  # fmt: skip


def tree_all_reduce(*, payload: Number, ranks: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of an all-reduce over a double binary tree, pipelined: up to reduce, down to broadcast.

    .. math:: t = 2 \\log_2 p\\;\\alpha + \\frac{2 (p - 1)}{p} \\frac{n}{B}

    Parameters
    ----------
    payload : bytes reduced, per rank [B]
    ranks : ranks p [-]
    bandwidth : one direction, per rank [B/s]
    latency : per level of the tree [s]

    Returns
    -------
    time [s]

    Notes
    -----
    Each half of the payload has a tree of its own, and the inner nodes of one are the leaves of the other: 2 (p - 1)
    edges carry half of it up and down, so that a rank sends as much as in a ring, after logarithmically many steps.
    The time to fill the pipeline with chunks is left out, as in NCCL's own tuning model.

    References
    ----------
    Sanders, Speck, Träff (2009), Two-tree algorithms for full bandwidth broadcast, reduction and scan,
    doi:10.1016/j.parco.2009.09.001; NVIDIA/nccl v2.30.7, src/graph/tuning.cc (latency of NCCL_ALGO_TREE)

    Examples
    --------
    >>> tree_all_reduce(payload=8e9, ranks=8, bandwidth=4e11, latency=1e-6)
    0.035006
    """
    traffic = payload * all_reduce_factor(ranks=ranks)
    return alpha_beta(steps=2 * log2(ranks), traffic=traffic, bandwidth=bandwidth, latency=latency)


def halving_doubling_all_reduce(*, payload: Number, ranks: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of an all-reduce by recursive halving (reduce-scatter) and doubling (all-gather).

    .. math:: t = 2 \\log_2 p\\;\\alpha + \\frac{2 (p - 1)}{p} \\frac{n}{B}

    Parameters
    ----------
    payload : bytes reduced, per rank [B]
    ranks : a power of two p [-]
    bandwidth : one direction, per rank [B/s]
    latency : per exchange [s]

    Returns
    -------
    time [s]

    Notes
    -----
    Partners lie as far apart as half the ranks, so that it needs a network without contention; MPI libraries use it,
    NCCL does not.

    References
    ----------
    Thakur, Rabenseifner, Gropp (2005), Optimization of Collective Communication Operations in MPICH, section 4.5,
    doi:10.1177/1094342005051521

    Examples
    --------
    >>> halving_doubling_all_reduce(payload=8e9, ranks=8, bandwidth=4e11, latency=1e-6)
    0.035006
    """
    traffic = payload * all_reduce_factor(ranks=ranks)
    return alpha_beta(steps=2 * log2(ranks), traffic=traffic, bandwidth=bandwidth, latency=latency)


def hierarchical_all_reduce(
    *,
    payload: Number,
    ranks: Number,
    domains: Number,
    bandwidth: Number,
    outer_bandwidth: Number,
    latency: Number,
    outer_latency: Number,
) -> Any:
    """Time of an all-reduce in three phases: reduce-scatter inside, all-reduce of the shares across, all-gather inside.

    .. math:: t = 2\\,t_{ag}(n, g) + t_{ring}(n / g, d), \\qquad g = p / d

    Parameters
    ----------
    payload : bytes reduced, per rank [B]
    ranks : ranks p in all [-]
    domains : domains d they lie in, alike [-]
    bandwidth, outer_bandwidth : inside a domain and between domains, one direction, per rank [B/s]
    latency, outer_latency : per ring step inside and between domains [s]

    Returns
    -------
    time [s]

    References
    ----------
    Jia et al. (2018), Highly Scalable Deep Learning Training System with Mixed-Precision, arXiv:1807.11205, section 3.3
    (hierarchical all-reduce); Austin et al. (2025), How to Scale Your Model, part 3 (between slices)

    Examples
    --------
    >>> hierarchical_all_reduce(payload=8e9, ranks=16, domains=2, bandwidth=4e11, outer_bandwidth=5e10, latency=1e-6,
    ...                         outer_latency=5e-6)
    0.055024
    """
    inside = ranks / domains
    within = ring_all_gather(payload=payload, ranks=inside, bandwidth=bandwidth, latency=latency)
    across = alpha_beta(
        steps=2 * (domains - 1),
        traffic=payload / inside * all_reduce_factor(ranks=domains),
        bandwidth=outer_bandwidth,
        latency=outer_latency,
    )
    return 2 * within + across


def in_switch_factor(*, ranks: Number) -> Any:
    """Bytes each rank sends, per byte of the buffer, where the switch reduces and multicasts.

    .. math:: f = (p + 1) / p

    Parameters
    ----------
    ranks : ranks p on the switch [-]

    Returns
    -------
    factor between buffer and traffic [-]

    Notes
    -----
    A rank's whole buffer is read by the reducing loads, one p-th by each rank; then it stores its p-th of the result
    once, and the switch hands it to all.

    References
    ----------
    Klenk et al. (2020), An In-Network Architecture for Accelerating Shared-Memory Multiprocessor Collectives,
    doi:10.1109/ISCA45697.2020.00085

    Examples
    --------
    >>> in_switch_factor(ranks=8)
    1.125
    """
    return 1.0 * (ranks + 1) / ranks


def nvls_all_reduce(*, payload: Number, ranks: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of an all-reduce that the switch of a node adds up (NVLink SHARP).

    .. math:: t = \\alpha + \\frac{p + 1}{p} \\frac{n}{B}

    Parameters
    ----------
    payload : bytes reduced, per rank [B]
    ranks : ranks p on the switch [-]
    bandwidth : one direction, per rank [B/s]
    latency : of the whole operation, whatever the ranks [s]

    Returns
    -------
    time [s]

    References
    ----------
    Klenk et al. (2020), An In-Network Architecture for Accelerating Shared-Memory Multiprocessor Collectives,
    doi:10.1109/ISCA45697.2020.00085

    Examples
    --------
    >>> nvls_all_reduce(payload=8e9, ranks=8, bandwidth=4e11, latency=1e-5)
    0.02251
    """
    traffic = payload * in_switch_factor(ranks=ranks)
    return alpha_beta(steps=1, traffic=traffic, bandwidth=bandwidth, latency=latency)


def sharp_all_reduce(
    *,
    payload: Number,
    inside: Number,
    bandwidth: Number,
    outer_bandwidth: Number,
    latency: Number,
    outer_latency: Number,
) -> Any:
    """Time of an all-reduce whose shares the switches between nodes add up (InfiniBand SHARP, CollNet).

    .. math:: t = 2\\,t_{ag}(n, g) + \\alpha + \\frac{n}{g\\,B}

    Parameters
    ----------
    payload : bytes reduced, per rank [B]
    inside : ranks g of a node [-]
    bandwidth, outer_bandwidth : inside a node and between nodes, one direction, per rank [B/s]
    latency : per ring step inside a node [s]
    outer_latency : of the way up through the switches and down again [s]

    Returns
    -------
    time [s]

    References
    ----------
    Graham et al. (2016), Scalable Hierarchical Aggregation Protocol (SHArP), doi:10.1109/COMHPC.2016.006; NVIDIA/nccl
    v2.30.7, src/graph/tuning.cc (NCCL_ALGO_COLLNET_DIRECT)

    Examples
    --------
    >>> sharp_all_reduce(payload=8e9, inside=8, bandwidth=4e11, outer_bandwidth=5e10, latency=1e-6, outer_latency=3e-5)
    0.055044
    """
    within = ring_all_gather(payload=payload, ranks=inside, bandwidth=bandwidth, latency=latency)
    across = alpha_beta(steps=1, traffic=payload / inside, bandwidth=outer_bandwidth, latency=outer_latency)
    return 2 * within + across
