"""What an algorithm puts on each tier, and the seconds that makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from perfmodel.estimation.network.choice import Way
from perfmodel.estimation.network.placement import Hop, torus_hops
from perfmodel.formulas.roofline import smooth_parts
from perfmodel.ops import at_least, greater, log2, maximum, power, where

__all__ = ["Load", "fraction", "outermost", "pair", "ring_steps", "several", "way"]


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


def way(
    name: str, hops: list[Hop], loads: list[Load], open: Any = 1.0, *, own_start: Sequence[Any] | None = None
) -> Way:
    """Seconds of the loads: steps add up, of the tiers the slowest counts, and both are joined as measured.

    Parameters
    ----------
    name : of the algorithm
    hops, loads : one a tier, innermost first
    open : 1 where the topology offers it, else 0 [-]
    own_start : of a kernel that is not the collective library's, one a tier: time and traffic add up; None is one that
        is [s]
    """
    latency: Any = 0.0
    slowest: Any = 0.0
    busy: dict[str, Any] = {}
    for hop, load in zip(hops, loads, strict=True):
        seconds = hop.crossed * load.traffic / load.rate
        latency = latency + load.steps
        busy[hop.tier.name] = seconds
        slowest = maximum(slowest, seconds)
    starts = [hop.tier.fit.start for hop in hops] if own_start is None else list(own_start)
    waiting = latency + where(greater(hops[0].parts, 1), outermost(hops, starts), 0.0)
    whole = waiting + slowest
    if own_start is None:
        exponent = outermost(hops, [hop.tier.fit.exponent for hop in hops])
        whole, waiting = smooth_parts(a=waiting, b=slowest, exponent=exponent)
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
        found = where(greater(hop.inside, hop.below), value, found)
    return found


def _to_slowest(busy: dict[str, Any], slowest: Any, seconds: Any) -> dict[str, Any]:
    """Give the seconds to the tier that sets the pace; of tiers that tie, to the inner one."""
    found: dict[str, Any] = {}
    left: Any = 1.0
    for name, value in busy.items():
        taken = where(at_least(value, slowest), left, 0.0)
        found[name] = taken * seconds
        left = left - taken
    return found


def several(inner: Hop) -> Any:
    """1 where the group lies in several of the innermost domains, else 0 [-]."""
    return where(greater(inner.whole, 1), 1.0, 0.0)


def fraction(kind: str, hop: Hop) -> Any:
    """Of the link, that rings reach in this kind of message [-]."""
    fit = hop.tier.fit
    return (fit.all_reduce if kind == "all_reduce" else fit.all_gather) * pair(hop)


def pair(hop: Hop) -> Any:
    """Two ranks alone have fewer channels; more than two crowd a host's bus."""
    fit = hop.tier.fit
    alone = where(greater(hop.inside, 2), 1.0, fit.pair)
    return (
        alone if fit.crowding is None else alone * power(fit.crowding, log2(maximum(hop.inside / 2.0, 1.0)))
    )


def ring_steps(hop: Hop) -> Any:
    """Steps of one round that end on this tier, in seconds."""
    if hop.tier.torus:
        return hop.tier.fit.step * torus_hops(hop)
    # of the ring's p - 1 steps, those that cross a border of the tier below but not of this one
    return hop.tier.fit.step * (hop.parts - hop.whole)
