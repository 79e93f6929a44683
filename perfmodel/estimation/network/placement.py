"""Where the ranks of a group lie on the tiers of a network, and how wide a tier is for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from perfmodel.estimation.machine import TierRate
from perfmodel.formulas.torus import axis_all_to_all, axis_bandwidth, axis_hops
from perfmodel.ops import added, at_least, ceil, greater, maximum, minimum, where
from perfmodel.parallel import Ranks

__all__ = ["Hop", "exchange_bandwidth", "gather_bandwidth", "placement", "torus_hops"]


class Hop(NamedTuple):
    """How a group crosses one tier.

    Parameters
    ----------
    tier : which tier
    inside : members of the group in one domain of the tier [-]
    below : members in one domain of the next inner tier, which share this tier's links [-]
    fewest : members in the emptiest of these inner domains: its links are the fewest [-]
    parts : inner domains that the whole group lies in [-]
    whole : domains of this tier that it lies in [-]
    stride : devices from one member to the next [-]
    crossed : 1 where members of different inner domains meet on this tier, else 0 [-]
    """

    tier: TierRate
    inside: Any
    below: Any
    fewest: Any
    parts: Any
    whole: Any
    stride: Any
    crossed: Any


def placement(group: Ranks, tiers: tuple[TierRate, ...]) -> list[Hop]:
    """Spread a group's ranks over the tiers, innermost first.

    Parameters
    ----------
    group : ranks and the stride between neighbours
    tiers : innermost first; the outermost holds everything

    Returns
    -------
    one entry a tier

    Notes
    -----
    A domain that the stride does not divide holds as many members as surely fit, so that uneven groups come out slower
    rather than faster.
    """
    ranks = group.ranks * 1.0
    hops: list[Hop] = []
    below: Any = 1.0
    parts: Any = ranks
    for tier in tiers:
        inside, whole = ranks, 1.0
        if tier is not tiers[-1]:
            inside = minimum(ranks, group.within(tier.size))
            whole = ceil(ranks / inside)
        fewest = ranks - (parts - 1.0) * below
        crossed = where(greater(inside, below), 1.0, 0.0)
        hops.append(Hop(tier, inside, below, fewest, parts, whole, group.stride, crossed))
        below, parts = inside, whole
    return hops


def gather_bandwidth(hop: Hop) -> Any:
    """One direction, per device, as far as the topology lets rings of the group use it [B/s]."""
    tier = hop.tier
    if tier.mesh:  # a member's own links lead to the other members only
        return minimum(maximum(hop.inside - 1.0, 1.0) * tier.link, tier.bandwidth)
    if tier.torus:
        wide = added(
            axis_bandwidth(members=m, spacing=s, closed=c, link_bandwidth=tier.link) for m, s, c in _axes(hop)
        )
        return where(greater(hop.inside, 1), wide, tier.link)
    wide = tier.bandwidth
    for members, links in reversed(tier.subset_links):
        wide = where(greater(hop.inside, members), wide, minimum(links * tier.link, tier.bandwidth))
    return wide


def exchange_bandwidth(hop: Hop) -> Any:
    """One direction, per device, that an all-to-all of the group gets for bytes that are not its own [B/s]."""
    tier = hop.tier
    if not tier.torus:
        return gather_bandwidth(hop)
    longest: Any = 0.0
    for m, s, c in _axes(hop):
        busy = axis_all_to_all(payload=1.0, members=m, spacing=s, closed=c, link_bandwidth=tier.link)
        longest = maximum(longest, busy)
    sent = 1.0 - 1.0 / hop.inside
    return where(greater(hop.inside, 1), sent / where(greater(hop.inside, 1), longest, 1.0), tier.link)


def torus_hops(hop: Hop) -> Any:
    """Steps that follow each other in a gather over all axes of a torus [-]."""
    return added(axis_hops(members=m, spacing=s, closed=c) for m, s, c in _axes(hop))


def _axes(hop: Hop) -> Iterator[tuple[Any, Any, Any]]:
    """Members, spacing and 1 for a ring, along each axis of a torus; neighbours fill the first axis first."""
    inner, span = 1.0, hop.inside * hop.stride
    for side, closed in hop.tier.torus:
        reach = _within(span / inner, side)
        spacing = _within(hop.stride / inner, side)
        ring = where(at_least(reach, side), 1.0, 0.0) if closed else 0.0
        yield reach / spacing, spacing, ring
        inner = inner * side


def _within(value: Any, side: int) -> Any:
    return minimum(maximum(value * 1.0, 1.0), side * 1.0)
