"""Rings, trees and switches: all-reduce, all-gather and reduce-scatter, one function an algorithm."""

from __future__ import annotations

from typing import Any

from perfmodel.estimation.network.choice import Way
from perfmodel.estimation.network.loads import Load, fraction, pair, ring_steps, several, way
from perfmodel.estimation.network.placement import Hop, gather_bandwidth
from perfmodel.formulas.all_reduce import in_switch_factor
from perfmodel.formulas.collectives import all_reduce_factor, gather_factor
from perfmodel.ops import greater, log2, minimum, where

__all__ = [
    "SWITCH_RANKS", "hierarchical", "nvls", "nvls_tree", "one_shot", "ring", "sharp", "tree", "two_shot",
]  # fmt: skip

SWITCH_RANKS = 4
"""Switches reduce in place for groups of more than so many ranks; smaller ones take the ring [-]."""


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
        Load(rounds * ring_steps(hop), sent / hop.fewest, fraction(kind, hop) * gather_bandwidth(hop))
        for hop in hops
    ]
    inner = hops[0]
    if inner.tier.torus:  # no ring goes through a slice and on to the next
        return way("torus", hops, loads, open=where(greater(inner.whole, 1), 0.0, 1.0))
    return way("ring", hops, loads)


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
    return way("tree", hops, [chain, *_branches(payload, hops)], open=several(inner))


def nvls(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce that the innermost switch adds up; open to more than `SWITCH_RANKS` ranks of one domain.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    idle = [Load(0.0, 0.0, hop.tier.bandwidth) for hop in hops[1:]]
    alone = where(greater(hops[0].whole, 1), 0.0, where(greater(hops[0].inside, SWITCH_RANKS), 1.0, 0.0))
    return way("nvls", hops, [_switch(payload, hops[0]), *idle], open=alone)


def nvls_tree(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce that the switch of each domain adds up, and a double binary tree across them.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    across = where(greater(hops[0].inside, SWITCH_RANKS), several(hops[0]), 0.0)
    return way("nvls tree", hops, [_switch(payload, hops[0]), *_branches(payload, hops)], open=across)


def sharp(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce of shares that the switches of the fabric add up, scattered and gathered inside each domain.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie; the outermost tier reduces
    """
    inner = hops[0]
    within = Load(
        2.0 * ring_steps(inner),
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
    return way("sharp", hops, [within, *outer], open=several(inner))


def one_shot(payload: Any, hops: list[Hop]) -> Way:
    """An all-reduce by a kernel that reads the whole buffer of each peer; open within one domain.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    return _direct("one shot", payload * (hops[0].parts - 1.0), 0.0, hops)


def two_shot(payload: Any, hops: list[Hop]) -> Way:
    """The same where each rank adds up its share, and all read the shares after one more barrier.

    Parameters
    ----------
    payload : of the message [B]
    hops : where its ranks lie
    """
    sent = payload * all_reduce_factor(ranks=hops[0].parts)
    return _direct("two shot", sent, hops[0].tier.fit.direct_barrier, hops)


def _direct(name: str, sent: Any, barrier: Any, hops: list[Hop]) -> Way:
    """A kernel of the framework's own: a start, a barrier or two, and plain reads."""
    inner, fit = hops[0], hops[0].tier.fit
    start = fit.start if fit.direct_start is None else fit.direct_start
    rate = (fit.all_reduce if fit.direct is None else fit.direct) * pair(inner) * gather_bandwidth(inner)
    spent = dict.fromkeys((hop.tier.name for hop in hops), 0.0) | {inner.tier.name: sent / rate}
    alone = where(greater(inner.whole, 1), 0.0, 1.0)
    return Way(name, start + barrier + sent / rate, {"network_latency": start + barrier, **spent}, alone)


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
        rounds * ring_steps(inner),
        rounds * payload * gather_factor(ranks=inner.inside),
        fraction(kind, inner) * gather_bandwidth(inner),
    )
    across = [
        Load(
            rounds * ring_steps(hop),
            rounds * payload * gather_factor(ranks=inner.whole) / hop.fewest * hop.crossed,
            fraction(kind, hop) * gather_bandwidth(hop),
        )
        for hop in outer
    ]
    idle = Load(0.0, 0.0, inner.tier.bandwidth)
    first = way("", hops[:1], [within])
    second = way("", [inner._replace(below=inner.inside, crossed=0.0), *outer], [idle, *across])
    resources = {name: first.resources.get(name, 0.0) + value for name, value in second.resources.items()}
    return Way("hierarchical", first.seconds + second.seconds, resources, several(inner))


def _switch(payload: Any, hop: Hop) -> Load:
    rate = hop.tier.fit.in_network * hop.tier.bandwidth
    return Load(_switch_latency(hop), payload * in_switch_factor(ranks=hop.inside), rate)


def _switch_latency(hop: Hop) -> Any:
    given = hop.tier.fit.switch_latency
    return 2.0 * ring_steps(hop) if given is None else given


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
    return (fit.all_reduce if fit.tree is None else fit.tree) * pair(hop) * gather_bandwidth(hop)
