"""All-to-all exchanges and tokens sent to their experts, one function an algorithm."""

from __future__ import annotations

from typing import Any

from perfmodel.estimation.network.choice import Way
from perfmodel.estimation.network.loads import Load, pair, several, way
from perfmodel.estimation.network.placement import Hop, exchange_bandwidth, torus_hops
from perfmodel.formulas.collectives import gather_factor
from perfmodel.formulas.exchange import dispatch_factor
from perfmodel.ops import greater, maximum, minimum, where

__all__ = ["dispatched", "pairwise", "rail_aligned"]


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
    return way("pairwise", hops, loads)


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
    return way("rail-aligned", hops, loads, open=where(greater(inner.inside, 1), several(inner), 0.0))


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
        step = fit.step if fit.dispatch_start is None else 0.0
        loads.append(Load(hop.crossed * step, hop.crossed * sent, fraction * exchange_bandwidth(hop)))
    starts = [hop.tier.fit.dispatch_start for hop in hops]
    return way("dispatch", hops, loads, own_start=None if any(start is None for start in starts) else starts)


def _exchange(payload: Any, hop: Hop, share: Any, messages: Any, bandwidth: Any) -> Load:
    fit = hop.tier.fit
    steps = hop.crossed * fit.step * (torus_hops(hop) if hop.tier.torus else messages)
    return Load(steps, hop.crossed * payload * share, fit.all_to_all * pair(hop) * bandwidth)
