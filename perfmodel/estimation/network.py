"""Seconds of a message: its ranks placed on the network's tiers, and the time of each tier."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.estimation.machine import Machine, TierRate
from perfmodel.formulas.collectives import all_reduce_factor, gather_factor
from perfmodel.formulas.roofline import smooth_parts
from perfmodel.ops import ceil, floor, log2, maximum, minimum, where
from perfmodel.parallel import Group
from perfmodel.work import Collective

__all__ = ["Hop", "collective_seconds", "placement"]

IN_NETWORK_RANKS = 4
"""Switches reduce in place for groups of more than so many ranks; smaller ones take the ring [-]."""


class Hop(NamedTuple):
    """How a group crosses one tier.

    Parameters
    ----------
    tier : which tier
    inside : members of the group in one domain of the tier [-]
    below : members in one domain of the next inner tier, which share this tier's links [-]
    """

    tier: TierRate
    inside: Any
    below: Any


def placement(group: Group, tiers: tuple[TierRate, ...]) -> list[Hop]:
    """Spread a group's ranks over the tiers, innermost first.

    Parameters
    ----------
    group : ranks and the stride between neighbours
    tiers : innermost first; the outermost holds everything

    Returns
    -------
    one entry a tier
    """
    hops, below = [], 1.0
    for tier in tiers:
        inside = group.ranks * 1.0
        if tier is not tiers[-1]:
            inside = minimum(inside, maximum(floor(tier.size / group.stride), 1.0))
        hops.append(Hop(tier, inside, below))
        below = inside
    return hops


def collective_seconds(work: Collective, m: Machine, group: Group) -> tuple[Any, dict[str, Any]]:
    """Time of a message among the ranks of its axis; none over one rank.

    A ring over all ranks is as slow as its slowest tier: each tier carries what its domains must take in, through the
    links of all members that share the tier.

    Parameters
    ----------
    work : the message
    m : the machine's rates
    group : where the ranks lie

    Returns
    -------
    seconds, and the same by resource [s]
    """
    if work.kind == "send":
        return _send(work, m, group)
    hops = placement(group, m.tiers)
    doubled = 2.0 if work.kind == "all_reduce" else 1.0
    latency: Any = 0.0
    slowest: Any = 0.0
    busy: dict[str, Any] = {}
    for hop in hops:
        latency = latency + doubled * _ring_latency(hop, group)
        seconds = _tier_seconds(work, hop, group)
        busy[hop.tier.name] = seconds
        slowest = maximum(slowest, seconds)
    outer = _outermost(hops)
    start = where(group.ranks > 1, outer("start"), 0.0)
    whole, waiting = smooth_parts(a=start + latency, b=slowest, exponent=outer("exponent"))
    return whole, {"network_latency": waiting, **_to_slowest(busy, slowest, whole - waiting)}


def _outermost(hops: list[Hop]) -> Any:
    """Reads a constant of the outermost tier that the group really crosses."""

    def constant(name: str) -> Any:
        value: Any = getattr(hops[0].tier.fit, name)
        for hop in hops[1:]:
            value = where(hop.inside > hop.below, getattr(hop.tier.fit, name), value)
        return value

    return constant


def _to_slowest(busy: dict[str, Any], slowest: Any, seconds: Any) -> dict[str, Any]:
    """Give the seconds to the tier that sets the pace; of tiers that tie, to the inner one."""
    found: dict[str, Any] = {}
    left: Any = 1.0
    for name, value in busy.items():
        taken = where(value >= slowest, left, 0.0)
        found[name] = taken * seconds
        left = left - taken
    return found


def _ring_latency(hop: Hop, group: Group) -> Any:
    """Steps of one round that end on this tier, in seconds."""
    tier = hop.tier
    if tier.axes:  # both directions at once: half way round each axis
        across = _torus_axes(tier, hop) * minimum(hop.inside, tier.side * 1.0)
        return tier.fit.step * across / 2.0 * where(hop.inside > 1, 1.0, 0.0)
    # of the ring's n - 1 steps, those that cross a border of the tier below but not of this one
    return tier.fit.step * (group.ranks / hop.below - group.ranks / hop.inside)


def _torus_axes(tier: TierRate, hop: Hop) -> Any:
    """Axes of the torus that so many members span [-]."""
    if tier.side <= 1:
        return 1.0
    spanned = ceil(log2(maximum(hop.inside, 1.0)) / log2(tier.side * 1.0) - 1e-9)
    return minimum(maximum(spanned, 1.0), tier.axes * 1.0)


def _bandwidth(tier: TierRate, hop: Hop) -> Any:
    """One direction, per device, as far as the topology lets the group use it [B/s]."""
    if tier.mesh:  # a member's own links lead to the other members only
        return minimum(maximum(hop.inside - 1.0, 1.0) * tier.link, tier.bandwidth)
    if not tier.axes:
        return tier.bandwidth
    return _torus_axes(tier, hop) * tier.link * (2.0 if tier.wraps else 1.0)


def _tier_seconds(work: Collective, hop: Hop, group: Group) -> Any:
    tier, fit = hop.tier, hop.tier.fit
    domains = group.ranks / hop.below
    crossing = where(hop.inside > hop.below, 1.0, 0.0)
    bandwidth = _bandwidth(tier, hop)
    if work.kind == "all_to_all":
        # each rank sends what is not for its own inner domain, through its own link
        traffic = work.payload * (group.ranks - hop.below) / group.ranks
        return crossing * traffic / (fit.all_to_all * bandwidth)
    if work.kind == "all_reduce":
        traffic = work.payload * all_reduce_factor(ranks=domains) / hop.below
        fraction: Any = fit.all_reduce
        if tier.in_network:
            fraction = where(hop.inside > IN_NETWORK_RANKS, fit.in_network, fit.all_reduce)
        return crossing * traffic / (fraction * bandwidth)
    traffic = work.payload * gather_factor(ranks=domains) / hop.below
    return crossing * traffic / (fit.all_gather * bandwidth)


def _send(work: Collective, m: Machine, group: Group) -> tuple[Any, dict[str, Any]]:
    """One message to the neighbour, over the innermost tier that holds both."""
    tier = m.tiers[0]
    start: Any = tier.fit.start + tier.fit.step
    wire: dict[str, Any] = {tier.name: work.payload / (tier.fit.send * _link(tier))}
    for inner, outer in zip(m.tiers, m.tiers[1:], strict=False):
        apart = group.stride >= inner.size
        start = where(apart, outer.fit.start + outer.fit.step, start)
        wire = {name: where(apart, 0.0, seconds) for name, seconds in wire.items()}
        wire[outer.name] = where(apart, work.payload / (outer.fit.send * _link(outer)), 0.0)
    several = where(group.ranks > 1, 1.0, 0.0)
    shares = {name: several * seconds for name, seconds in wire.items()}
    latency = several * start
    return latency + sum(shares.values(), start=0.0), {"network_latency": latency, **shares}


def _link(tier: TierRate) -> Any:
    return tier.link if tier.axes or tier.mesh else tier.bandwidth
