"""One function an algorithm: what a message puts on each tier, and the steps it waits for."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.estimation.network.choice import Way
from perfmodel.estimation.network.placement import Hop, exchange_bandwidth, gather_bandwidth, torus_hops
from perfmodel.formulas.all_reduce import in_switch_factor
from perfmodel.formulas.collectives import all_reduce_factor, gather_factor
from perfmodel.formulas.exchange import dispatch_factor
from perfmodel.formulas.roofline import smooth_parts
from perfmodel.ops import log2, maximum, minimum, where

__all__ = [
    "SWITCH_RANKS", "dispatched", "hierarchical", "nvls", "nvls_tree", "outermost", "pairwise", "rail_aligned", "ring",
    "sharp", "tree",
]  # fmt: skip

SWITCH_RANKS = 4
"""Switches reduce in place for groups of more than so many ranks; smaller ones take the ring [-]."""


class Load(NamedTuple):
    """What an algorithm asks of one tier.

    Parameters
    ----------
    steps : that follow each other on the tier, in seconds [s]
    traffic : bytes through one device's link [B]
    rate : at which they flow [B/s]
    """

    steps: Any
    traffic: Any
    rate: Any


def ring(kind: str, payload: Any, hops: list[Hop]) -> Way:
    """Rings over all ranks: every link carries (p - 1) / p of the payload of its ring, once or twice.

    Parameters
    ----------
    kind : all_reduce, all_gather or reduce_scatter
    payload : of the message [B]
    hops : where its ranks lie

    Notes
    -----
    There are as many rings as a domain has members, each through a link of its own; the emptiest domain has fewest.
    """
    rounds, ranks = (2.0 if kind == "all_reduce" else 1.0), hops[0].parts
    sent = payload * (all_reduce_factor(ranks=ranks) if kind == "all_reduce" else gather_factor(ranks=ranks))
    loads = [
        Load(rounds * _ring_steps(hop), sent / hop.fewest, _fraction(kind, hop) * gather_bandwidth(hop))
        for hop in hops
    ]
    inner = hops[0]
    if inner.tier.torus:  # no ring goes through a slice and on to the next
        return _way("torus", hops, loads, open=where(inner.whole > 1, 0.0, 1.0))
    return _way("ring", hops, loads)


def tree(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce over a double binary tree of the innermost domains, a chain within each.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    inner = hops[0]
    # a member in the middle of the chain passes the payload up and down, at the end of it only one of both
    sent = payload * minimum(2.0, inner.inside - 1.0)
    chain = Load(2.0 * (inner.inside - 1.0) * inner.tier.fit.step, sent, _tree_rate(inner))
    return _way("tree", hops, [chain, *_branches(payload, hops)], open=_several(inner))


def nvls(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce that the innermost switch adds up; open to more than `SWITCH_RANKS` ranks of one domain.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    idle = [Load(0.0, 0.0, hop.tier.bandwidth) for hop in hops[1:]]
    alone = where(hops[0].whole > 1, 0.0, where(hops[0].inside > SWITCH_RANKS, 1.0, 0.0))
    return _way("nvls", hops, [_switch(payload, hops[0]), *idle], open=alone)


def nvls_tree(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce that the switch of each domain adds up, and a double binary tree across them.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    several = where(hops[0].inside > SWITCH_RANKS, _several(hops[0]), 0.0)
    return _way("nvls tree", hops, [_switch(payload, hops[0]), *_branches(payload, hops)], open=several)


def sharp(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce of shares that the switches of the fabric add up, scattered and gathered inside each domain.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie; the outermost tier reduces
    """
    inner = hops[0]
    within = Load(
        2.0 * _ring_steps(inner),
        payload * all_reduce_factor(ranks=inner.inside),
        inner.tier.fit.all_reduce * gather_bandwidth(inner),
    )
    # once up and once down, however many domains there are
    outer = [
        Load(
            2.0 * hop.crossed * _switch_latency(hop),
            payload / hop.fewest * hop.crossed,
            hop.tier.fit.in_network * hop.tier.bandwidth,
        )
        for hop in hops[1:]
    ]
    return _way("sharp", hops, [within, *outer], open=_several(inner))


def hierarchical(kind: str, payload: Any, hops: list[Hop]) -> Way:
    """Phases one after the other: scattered inside a domain, the shares exchanged across, gathered inside again.

    Parameters
    ----------
    kind : all_reduce, all_gather or reduce_scatter
    payload : of the message [B]
    hops : where its ranks lie
    """
    inner, *outer = hops
    rounds = 2.0 if kind == "all_reduce" else 1.0
    within = Load(
        rounds * _ring_steps(inner),
        rounds * payload * gather_factor(ranks=inner.inside),
        _fraction(kind, inner) * gather_bandwidth(inner),
    )
    across = [
        Load(
            rounds * _ring_steps(hop),
            rounds * payload * gather_factor(ranks=inner.whole) / hop.fewest * hop.crossed,
            _fraction(kind, hop) * gather_bandwidth(hop),
        )
        for hop in outer
    ]
    idle = Load(0.0, 0.0, inner.tier.bandwidth)
    first = _way("", hops[:1], [within])
    second = _way("", [inner._replace(below=inner.inside), *outer], [idle, *across])
    resources = {name: first.resources.get(name, 0.0) + value for name, value in second.resources.items()}
    return Way("hierarchical", first.seconds + second.seconds, resources, _several(inner))


def pairwise(payload: Any, hops: list[Hop]) -> Way:
    """An all-to-all in which each rank sends every other one its piece over its own links.

    Parameters
    ----------
    payload : one rank's buffer [B]
    hops : where its ranks lie

    Notes
    -----
    Inside a domain all messages start at once; beyond it each takes its turn at the adapter.
    """
    ranks = hops[0].parts
    loads = [_exchange(payload, hops[0], (hops[0].inside - 1.0) / ranks, 1.0, exchange_bandwidth(hops[0]))]
    for hop in hops[1:]:
        rate = minimum(exchange_bandwidth(hop), hop.tier.cross_rail)
        loads.append(_exchange(payload, hop, (ranks - hop.fewest) / ranks, hop.inside - hop.below, rate))
    return _way("pairwise", hops, loads)


def rail_aligned(payload: Any, hops: list[Hop]) -> Way:
    """An all-to-all in two hops: to the neighbour on the receiver's rail, then along that rail (PXN).

    Parameters
    ----------
    payload : one rank's buffer [B]
    hops : where its ranks lie
    """
    ranks, inner = hops[0].parts, hops[0]
    loads = [_exchange(payload, inner, gather_factor(ranks=inner.inside), 1.0, exchange_bandwidth(inner))]
    for hop in hops[1:]:
        messages = hop.parts / hop.whole - 1.0
        loads.append(_exchange(payload, hop, (ranks - hop.fewest) / ranks, messages, exchange_bandwidth(hop)))
    return _way("rail-aligned", hops, loads, open=where(inner.inside > 1, _several(inner), 0.0))


def dispatched(payload: Any, copies: Any, most_domains: int | None, hops: list[Hop]) -> Way:
    """Tokens to their experts: once to each domain that holds any of them, then on to the ranks inside.

    Parameters
    ----------
    payload : tokens of one rank times `copies` [B]
    copies : experts that each token visits [-]
    most_domains : outermost domains that a token's experts may lie in; None is any [-]
    hops : where its ranks lie
    """
    loads = []
    for hop in hops:
        # of the inner domains that the copies may choose from, a routing limit leaves the share of the outer ones
        outer = hops[-1].parts
        allowed = 1.0 if most_domains is None else minimum(most_domains / outer, 1.0)
        factor = dispatch_factor(
            domains=maximum(hop.parts * allowed, 1.0), siblings=hop.parts / hop.whole, copies=copies
        )
        fit = hop.tier.fit
        fraction = fit.all_to_all if fit.dispatch is None else fit.dispatch
        # the emptiest domain takes in as much as the others, through fewer links
        sent = payload / copies * factor * hop.below / hop.fewest
        loads.append(Load(hop.crossed * fit.step, hop.crossed * sent, fraction * exchange_bandwidth(hop)))
    return _way("dispatch", hops, loads)


def _several(inner: Hop) -> Any:
    """1 where the group lies in several of the innermost domains, else 0 [-]."""
    return where(inner.whole > 1, 1.0, 0.0)


def _exchange(payload: Any, hop: Hop, share: Any, messages: Any, bandwidth: Any) -> Load:
    fit = hop.tier.fit
    steps = hop.crossed * fit.step * (torus_hops(hop) if hop.tier.torus else messages)
    return Load(steps, hop.crossed * payload * share, fit.all_to_all * _pair(hop) * bandwidth)


def _switch(payload: Any, hop: Hop) -> Load:
    rate = hop.tier.fit.in_network * hop.tier.bandwidth
    return Load(_switch_latency(hop), payload * in_switch_factor(ranks=hop.inside), rate)


def _switch_latency(hop: Hop) -> Any:
    given = hop.tier.fit.switch_latency
    return 2.0 * _ring_steps(hop) if given is None else given


def _branches(payload: Any, hops: list[Hop]) -> list[Load]:
    """What a tree over the innermost domains puts on the tiers beyond them."""
    edges = payload * all_reduce_factor(ranks=hops[0].whole)
    return [
        Load(
            2.0 * log2(hop.parts / hop.whole) * _tree_step(hop),
            hop.crossed * edges / hop.fewest,
            _tree_rate(hop),
        )
        for hop in hops[1:]
    ]


def _tree_step(hop: Hop) -> Any:
    fit = hop.tier.fit
    return fit.step if fit.tree_step is None else fit.tree_step


def _tree_rate(hop: Hop) -> Any:
    fit = hop.tier.fit
    return (fit.all_reduce if fit.tree is None else fit.tree) * _pair(hop) * gather_bandwidth(hop)


def _fraction(kind: str, hop: Hop) -> Any:
    fit = hop.tier.fit
    return (fit.all_reduce if kind == "all_reduce" else fit.all_gather) * _pair(hop)


def _pair(hop: Hop) -> Any:
    """Two ranks alone have fewer channels."""
    return where(hop.inside > 2, 1.0, hop.tier.fit.pair)


def _ring_steps(hop: Hop) -> Any:
    """Steps of one round that end on this tier, in seconds."""
    if hop.tier.torus:
        return hop.tier.fit.step * torus_hops(hop)
    # of the ring's p - 1 steps, those that cross a border of the tier below but not of this one
    return hop.tier.fit.step * (hop.parts - hop.whole)


def _way(name: str, hops: list[Hop], loads: list[Load], open: Any = 1.0) -> Way:
    """Seconds of the loads: steps add up, of the tiers the slowest counts, and both are joined as measured."""
    latency: Any = 0.0
    slowest: Any = 0.0
    busy: dict[str, Any] = {}
    for hop, load in zip(hops, loads, strict=True):
        seconds = hop.crossed * load.traffic / load.rate
        latency = latency + load.steps
        busy[hop.tier.name] = seconds
        slowest = maximum(slowest, seconds)
    start = where(hops[0].parts > 1, outermost(hops, [hop.tier.fit.start for hop in hops]), 0.0)
    exponent = outermost(hops, [hop.tier.fit.exponent for hop in hops])
    whole, waiting = smooth_parts(a=start + latency, b=slowest, exponent=exponent)
    return Way(name, whole, {"network_latency": waiting, **_to_slowest(busy, slowest, whole - waiting)}, open)


def outermost(hops: list[Hop], values: list[Any]) -> Any:
    """The value of the outermost tier that a group really crosses.

    Parameters
    ----------
    hops : where its ranks lie
    values : one a tier
    """
    found = values[0]
    for hop, value in zip(hops[1:], values[1:], strict=True):
        found = where(hop.inside > hop.below, value, found)
    return found


def _to_slowest(busy: dict[str, Any], slowest: Any, seconds: Any) -> dict[str, Any]:
    """Give the seconds to the tier that sets the pace; of tiers that tie, to the inner one."""
    found: dict[str, Any] = {}
    left: Any = 1.0
    for name, value in busy.items():
        taken = where(value >= slowest, left, 0.0)
        found[name] = taken * seconds
        left = left - taken
    return found
