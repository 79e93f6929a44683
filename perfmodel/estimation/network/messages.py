"""Time of one message: the fastest of the algorithms that its kind and its network offer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from perfmodel.estimation.machine import Machine, TierRate
from perfmodel.estimation.network.choice import Choice, Route, Way, fastest
from perfmodel.estimation.network.exchanges import dispatched, pairwise, rail_aligned
from perfmodel.estimation.network.loads import outermost
from perfmodel.estimation.network.placement import Hop, placement
from perfmodel.estimation.network.reductions import (
    hierarchical,
    nvls,
    nvls_tree,
    one_shot,
    ring,
    sharp,
    tree,
    two_shot,
)
from perfmodel.ops import added, at_least, certain, floor, greater, where
from perfmodel.parallel import Ranks
from perfmodel.work import Collective

__all__ = ["Message", "collective_seconds"]


class Message(NamedTuple):
    """A message with its time.

    Parameters
    ----------
    seconds : it takes [s]
    resources : the same by resource: network_latency and each tier [s]
    route : the algorithm chosen and the outermost tier it crosses; None where there is only one rank
    """

    seconds: Any
    resources: dict[str, Any]
    route: Route | None


def collective_seconds(work: Collective, m: Machine, group: Ranks, hops: list[Hop] | None = None) -> Message:
    """Time of a message among the ranks of its axis; none over one rank.

    Parameters
    ----------
    work : the message
    m : the machine's rates
    group : where the ranks lie
    hops : the same tier by tier, where it is known; see `placement`

    Returns
    -------
    seconds, the same by resource, and how it travels
    """
    if certain(at_least(1, group.ranks)):
        return Message(0.0, dict.fromkeys(("network_latency", *(tier.name for tier in m.tiers)), 0.0), None)
    if work.kind == "send":
        return _send(work, m, group)
    hops = placement(group, m.tiers) if hops is None else hops
    seconds, resources, chosen = fastest(list(_ways(work, hops, direct=_reads_peers(work, m, hops))))
    crossed = Choice(tuple(hop.tier.name for hop in hops), outermost(hops, list(range(len(hops)))))
    return Message(seconds, resources, Route(chosen, crossed))


def _reads_peers(work: Collective, m: Machine, hops: list[Hop]) -> bool:
    """Whether an all-reduce may be a kernel of the framework's own: where it has one, and the devices let it."""
    return work.direct or (m.efficiency.direct and hops[0].tier.fit.direct is not None)


def _ways(work: Collective, hops: list[Hop], *, direct: bool) -> Iterator[Way]:
    """Every algorithm that the kind and the topology offer; where some groups can't take one, it says so.

    One that none of the groups can take is left out.
    """
    kind, payload, inner = work.kind, work.payload, hops[0].tier
    several = not certain(at_least(1, hops[0].whole))
    if kind == "dispatch":
        yield dispatched(payload, work.copies, work.most_domains, hops)
    elif kind == "all_to_all":
        yield pairwise(payload, hops)
        if several and not inner.torus:
            yield rail_aligned(payload, hops)
    else:
        yield ring(kind, payload, hops)
        if inner.torus and several:
            yield hierarchical(kind, payload, hops)
        elif kind == "all_reduce":
            yield from _reductions(payload, hops, several)
            if direct:
                yield one_shot(payload, hops)
                yield two_shot(payload, hops)


def _reductions(payload: Any, hops: list[Hop], several: bool) -> Iterator[Way]:
    inner, outer = hops[0].tier, hops[-1].tier
    if several:
        yield tree(payload, hops)
    if inner.in_network:
        yield nvls(payload, hops)
        if several:
            yield nvls_tree(payload, hops)
    if several and outer.in_network:
        yield sharp(payload, hops)


def _send(work: Collective, m: Machine, group: Ranks) -> Message:
    """One message to the neighbour, over the innermost tier that holds both."""
    first = m.tiers[0]
    start: Any = first.fit.start + first.fit.step
    wire: dict[str, Any] = {first.name: work.payload / (first.fit.send * _link(first, group, m))}
    index: Any = 0
    for place, (inner, outer) in enumerate(zip(m.tiers, m.tiers[1:], strict=False), start=1):
        apart = at_least(group.stride, inner.size)
        start = where(apart, outer.fit.start + outer.fit.step, start)
        wire = {name: where(apart, 0.0, seconds) for name, seconds in wire.items()}
        wire[outer.name] = where(apart, work.payload / (outer.fit.send * _link(outer, group, m)), 0.0)
        index = where(apart, place, index)
    several = where(greater(group.ranks, 1), 1.0, 0.0)
    shares = {name: several * seconds for name, seconds in wire.items()}
    latency = several * start
    route = Route(Choice(("send",), 0), Choice(tuple(tier.name for tier in m.tiers), index))
    return Message(latency + added(shares.values(), start=0.0), {"network_latency": latency, **shares}, route)


def _link(tier: TierRate, group: Ranks, m: Machine) -> Any:
    if tier.torus or tier.mesh or tier.subset_links:
        return tier.link
    # neighbours whole domains apart have the same place in their nodes: they meet on one rail
    domain = m.tiers[0].size
    aligned = at_least(floor(group.stride / domain) * domain, group.stride)
    return where(aligned, tier.bandwidth, tier.cross_rail)
