"""Time and traffic of all-to-all exchanges: piece by piece, along the rails, and of tokens sent to their experts."""

from __future__ import annotations

from typing import Any

from perfmodel.formulas.collectives import alpha_beta
from perfmodel.ops import Number, power

__all__ = ["dispatch_factor", "distinct_domains", "pairwise_all_to_all", "rail_aligned_all_to_all"]


def pairwise_all_to_all(*, payload: Number, ranks: Number, bandwidth: Number, latency: Number) -> Any:
    """Time of an all-to-all where each rank sends each other one its piece, one after the other.

    .. math:: t = (p - 1) \\left( \\alpha + \\frac{n}{p\\,B} \\right)

    Parameters
    ----------
    payload : one rank's buffer, its own piece included [B]
    ranks : ranks p [-]
    bandwidth : one direction, per rank [B/s]
    latency : of one message [s]

    Returns
    -------
    time [s]

    Notes
    -----
    On one switch the messages start together and the latency counts once (NCCL measured at 2 to 8 ranks).

    References
    ----------
    Thakur, Rabenseifner, Gropp (2005), Optimization of Collective Communication Operations in MPICH, section 4.4,
    doi:10.1177/1094342005051521

    Examples
    --------
    >>> pairwise_all_to_all(payload=8e9, ranks=8, bandwidth=4e11, latency=1e-6)
    0.017507
    """
    return alpha_beta(
        steps=ranks - 1, traffic=payload * (ranks - 1) / ranks, bandwidth=bandwidth, latency=latency
    )


def rail_aligned_all_to_all(
    *,
    payload: Number,
    ranks: Number,
    domains: Number,
    bandwidth: Number,
    outer_bandwidth: Number,
    latency: Number,
    outer_latency: Number,
) -> Any:
    """Time of an all-to-all in two hops: to the neighbour on the receiver's rail, then along the rail (PXN).

    .. math:: t = \\alpha + \\frac{g - 1}{g} \\frac{n}{B} + (d - 1) \\left(\\alpha_o + \\frac{n}{d\\,B_o}\\right),
              \\qquad g = p / d

    Parameters
    ----------
    payload : one rank's buffer, its own piece included [B]
    ranks : ranks p in all [-]
    domains : nodes d they lie in, alike [-]
    bandwidth, outer_bandwidth : inside a node and between nodes, one direction, per rank [B/s]
    latency, outer_latency : of a message inside and between nodes [s]

    Returns
    -------
    time [s]

    Notes
    -----
    Every byte but one in g moves over the links of its node, as all ranks of the rail's node are reached through one
    neighbour; messages between nodes are g times fewer and g times longer than those sent directly.

    References
    ----------
    NVIDIA (2022), Doubling all2all Performance with NVIDIA Collective Communication Library 2.12,
    https://developer.nvidia.com/blog/doubling-all2all-performance-with-nvidia-collective-communication-library-2-12

    Examples
    --------
    >>> rail_aligned_all_to_all(payload=8e9, ranks=16, domains=2, bandwidth=4e11, outer_bandwidth=5e10, latency=1e-6,
    ...                         outer_latency=5e-6)
    0.097506
    """
    inside = ranks / domains
    within = alpha_beta(
        steps=1, traffic=payload * (inside - 1) / inside, bandwidth=bandwidth, latency=latency
    )
    along = pairwise_all_to_all(
        payload=payload, ranks=domains, bandwidth=outer_bandwidth, latency=outer_latency
    )
    return within + along


def distinct_domains(*, domains: Number, copies: Number) -> Any:
    """Domains that receive a token at all, when its copies choose theirs evenly and independently.

    .. math:: E = N \\left(1 - (1 - 1/N)^k\\right)

    Parameters
    ----------
    domains : to choose from N [-]
    copies : experts a token visits k [-]

    Returns
    -------
    expected number of distinct domains [-]

    Notes
    -----
    The occupancy problem. Experts of a token are distinct, so that with few experts a domain slightly more are hit.

    References
    ----------
    Feller (1968), An Introduction to Probability Theory and Its Applications, volume 1, section IV.2

    Examples
    --------
    >>> distinct_domains(domains=4.0, copies=2.0)
    1.75
    """
    return domains * (1.0 - power(1.0 - 1.0 / domains, copies))


def dispatch_factor(*, domains: Number, siblings: Number, copies: Number) -> Any:
    """Bytes a rank sends across one tier when tokens go to their experts, per byte of a token.

    .. math:: f = N \\left(1 - (1 - 1/N)^k\\right) (1 - 1/s)

    Parameters
    ----------
    domains : inner domains N that a token may have to reach [-]
    siblings : how many of them one domain of this tier joins s [-]
    copies : experts a token visits k [-]

    Returns
    -------
    copies of a token that cross the tier [-]

    Notes
    -----
    A token is sent once to each distinct domain, to the rank there that has the sender's place, and passed on inside.
    Of the domains hit, one in s has the sender's own place and is reached without crossing the tier.

    References
    ----------
    DeepSeek-AI (2024), DeepSeek-V3 Technical Report, arXiv:2412.19437, section 3.2.2 (each token goes once to a node,
    then on over NVLink); Feller (1968), volume 1, section IV.2

    Examples
    --------
    >>> dispatch_factor(domains=4.0, siblings=4.0, copies=2.0)
    1.3125
    """
    return distinct_domains(domains=domains, copies=copies) * (1.0 - 1.0 / siblings)
