"""Time of a collective message: what its ring, switch or torus needs, and the smooth alpha-beta form."""

from __future__ import annotations

from typing import Any

from perfmodel.formulas.roofline import smooth_maximum
from perfmodel.ops import Number, maximum

__all__ = [
    "all_reduce_factor", "alpha_beta", "gather_factor", "ring_all_gather", "ring_all_reduce", "send",
    "smooth_alpha_beta", "torus_all_gather",
]  # fmt: skip


def all_reduce_factor(*, ranks: Number) -> Any:
    """Bytes each rank sends in a ring all-reduce, per byte of the buffer.

    .. math:: f = 2 (p - 1) / p

    Parameters
    ----------
    ranks : ring size p [-]

    Returns
    -------
    factor between buffer and bus traffic [-]

    References
    ----------
    Patarasuk, Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations,
    doi:10.1016/j.jpdc.2008.09.002; NVIDIA nccl-tests, PERFORMANCE.md

    Examples
    --------
    >>> all_reduce_factor(ranks=8)
    1.75
    """
    return 2.0 * (ranks - 1) / ranks


def gather_factor(*, ranks: Number) -> Any:
    """Bytes each rank sends in a ring all-gather, reduce-scatter or all-to-all, per byte of the whole buffer.

    .. math:: f = (p - 1) / p

    Parameters
    ----------
    ranks : ranks p [-]

    Returns
    -------
    factor between buffer and bus traffic [-]

    References
    ----------
    Thakur, Rabenseifner, Gropp (2005), Optimization of Collective Communication Operations in MPICH,
    doi:10.1177/1094342005051521; NVIDIA nccl-tests, PERFORMANCE.md

    Examples
    --------
    >>> gather_factor(ranks=8)
    0.875
    """
    return 1.0 * (ranks - 1) / ranks


def alpha_beta(*, steps: Number, traffic: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of a message in the linear model.

    .. math:: t = n\\,\\alpha + V / B

    Parameters
    ----------
    steps : hops that follow each other n [-]
    traffic : bytes a rank sends V [B]
    bandwidth : one direction, per rank B [B/s]
    latency : per hop alpha [s]

    Returns
    -------
    time [s]

    References
    ----------
    Hockney (1994), The communication challenge for MPP: Intel Paragon and Meiko CS-2,
    doi:10.1016/S0167-8191(06)80021-9

    Examples
    --------
    >>> alpha_beta(steps=7, traffic=1e9, bandwidth=1e11, latency=1e-6)
    0.010007
    """
    return steps * latency + traffic / bandwidth


def ring_all_reduce(*, payload: Number, ranks: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of a ring all-reduce.

    .. math:: t = 2 (p - 1) \\left( \\alpha + \\frac{n}{p\\,B} \\right)

    Parameters
    ----------
    payload : bytes reduced, per rank [B]
    ranks : ring size [-]
    bandwidth : one direction, per rank [B/s]
    latency : per ring step [s]

    Returns
    -------
    time [s]

    References
    ----------
    Thakur, Rabenseifner, Gropp (2005), Optimization of Collective Communication Operations in MPICH,
    doi:10.1177/1094342005051521

    Examples
    --------
    >>> ring_all_reduce(payload=8e9, ranks=8, bandwidth=4e11, latency=1e-6)
    0.035014
    """
    traffic = payload * all_reduce_factor(ranks=ranks)
    return alpha_beta(steps=2 * (ranks - 1), traffic=traffic, bandwidth=bandwidth, latency=latency)


def ring_all_gather(*, payload: Number, ranks: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of a ring all-gather (or, run backwards, a reduce-scatter).

    .. math:: t = (p - 1) \\left( \\alpha + \\frac{n}{p\\,B} \\right)

    Parameters
    ----------
    payload : bytes of the gathered result [B]
    ranks : ring size [-]
    bandwidth : one direction, per rank [B/s]
    latency : per ring step [s]

    Returns
    -------
    time [s]

    References
    ----------
    Thakur, Rabenseifner, Gropp (2005), Optimization of Collective Communication Operations in MPICH,
    doi:10.1177/1094342005051521

    Examples
    --------
    >>> ring_all_gather(payload=8e9, ranks=8, bandwidth=4e11, latency=1e-6)
    0.017507
    """
    traffic = payload * gather_factor(ranks=ranks)
    return alpha_beta(steps=ranks - 1, traffic=traffic, bandwidth=bandwidth, latency=latency)


def torus_all_gather(
    *, payload: Number, ranks: Number, axes: Number, link_bandwidth: Number, latency: Number
) -> Any:
    """Time of an all-gather over a torus with wrap-around, both directions of every axis in use.

    .. math:: t = \\frac{p - 1}{p} \\max\\left( \\frac{a\\,p^{1/a}}{2}\\,\\alpha,\\; \\frac{n}{2\\,a\\,B} \\right)

    Parameters
    ----------
    payload : bytes of the gathered result [B]
    ranks : devices p, spread evenly over the axes [-]
    axes : torus axes in use a [-]
    link_bandwidth : of one link, one direction [B/s]
    latency : per hop [s]

    Returns
    -------
    time [s]

    Notes
    -----
    The share (p - 1) / p, which the reference leaves out of the hops, makes one device take no time.

    References
    ----------
    Austin et al. (2025), How to Scale Your Model, part 3 (all-gather over several axes),
    https://jax-ml.github.io/scaling-book/sharding

    Examples
    --------
    >>> torus_all_gather(payload=1e9, ranks=16, axes=2, link_bandwidth=4.5e10, latency=1e-6)
    0.005208333333
    """
    hops = axes * ranks ** (1.0 / axes) / 2.0 * (1 - 1.0 / ranks)
    traffic = payload * gather_factor(ranks=ranks)
    return maximum(hops * latency, traffic / (2.0 * axes * link_bandwidth))


def send(*, payload: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of a point-to-point message.

    .. math:: t = \\alpha + n / B

    Parameters
    ----------
    payload : bytes [B]
    bandwidth : one direction [B/s]
    latency : of one message [s]

    Returns
    -------
    time [s]

    References
    ----------
    Hockney (1994), doi:10.1016/S0167-8191(06)80021-9

    Examples
    --------
    >>> send(payload=4e9, bandwidth=4e10, latency=2e-5)
    0.10002
    """
    return latency + payload / bandwidth


def smooth_alpha_beta(
    *, start: Number, steps: Number, latency: Number, traffic: Number, bandwidth: Number, exponent: Number
) -> Any:
    """Time of a collective as measured: start-up and hops against bytes, joined softer than a sum.

    .. math:: t = \\left[ (t_0 + n\\,\\alpha)^p + (V / B)^p \\right]^{1/p}

    Parameters
    ----------
    start : time of an empty collective t0 [s]
    steps : hops that follow each other n [-]
    latency : per hop alpha [s]
    traffic : bytes a rank sends V [B]
    bandwidth : one direction, per rank, as achieved B [B/s]
    exponent : p; about 0.6 for NCCL, whose protocols change with size [-]

    Returns
    -------
    time [s]

    Notes
    -----
    The exponent is worth 3 to 7 points of median error over the linear model on measured NCCL (`docs/accuracy.md`).

    References
    ----------
    Hockney (1994), doi:10.1016/S0167-8191(06)80021-9, for the two terms; NVIDIA aiconfigurator 0.12.0 (Apache-2.0) for
    the measurements behind the exponent

    Examples
    --------
    >>> smooth_alpha_beta(start=5e-6, steps=4, latency=1e-6, traffic=9e5, bandwidth=1e11, exponent=1.0)
    1.8e-05
    """
    return smooth_maximum(a=start + steps * latency, b=traffic / bandwidth, exponent=exponent)
