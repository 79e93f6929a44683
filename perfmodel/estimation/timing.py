"""Seconds of a tree of work, resource by resource: the one fold that every answer is read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perfmodel.efficiency import OverlapFit
from perfmodel.estimation.machine import Machine
from perfmodel.estimation.network import Hop, Message, Route, collective_seconds, placement
from perfmodel.estimation.operators import attention_seconds, matmul_seconds, stream_seconds, transfer_seconds
from perfmodel.estimation.pipeline import pipelined
from perfmodel.estimation.timed import NOTHING, Shares, Timed, beside, repeated, series
from perfmodel.ops import certain, greater, maximum, where
from perfmodel.parallel import Ranks
from perfmodel.work import (
    Attention,
    Collective,
    Leaf,
    Matmul,
    Overlap,
    Pipeline,
    Repeat,
    Serial,
    Stream,
    Transfer,
    Work,
)

__all__ = ["Clock", "Timed"]

TERM = {
    **dict.fromkeys(("data", "shard", "replicate", "expert data", "expert shard", "expert replicate"), "dp"),
    "expert tp": "tp",
    "ends": "pp",
    "everyone": "dp",
    "model": "tp",
    "kv": "tp",
}
"""Terms of messages among groups that several axes form."""

FREE = OverlapFit(slowdown=0, achieved=1)
"""What compute loses to copies by engines of their own."""


class Clock:
    """Times trees of work on one machine; a node that stands in several places is timed once.

    Parameters
    ----------
    rates : of the machine
    groups : where the ranks of each axis lie
    """

    def __init__(self, rates: Machine, groups: dict[str, Ranks]) -> None:
        self.rates, self.groups = rates, groups
        self._known: dict[int, tuple[Work, Timed]] = {}
        self._messages: dict[tuple[Any, ...], list[tuple[Collective, Message]]] = {}
        self._placed: dict[str, list[Hop]] = {}

    def time(self, work: Work) -> Timed:
        """Fold a tree: leaves become seconds, series add, overlaps keep what sticks out."""
        known = self._known.get(id(work))
        if known is None:
            known = (work, _FOLDS[type(work)](self, work))
            self._known[id(work)] = known  # holds the node, so that its id stays its own
        return known[1]

    def message(self, work: Collective) -> Message:
        """Time of a message; equal ones are timed once, and each group is placed once."""
        sent = self._messages.setdefault((work.kind, work.axis, work.most_domains, work.direct), [])
        for one, message in sent:
            if certain(one.payload == work.payload) and certain(one.copies == work.copies):
                return message
        if work.axis not in self._placed:
            self._placed[work.axis] = placement(self.groups[work.axis], self.rates.tiers)
        message = collective_seconds(work, self.rates, self.groups[work.axis], self._placed[work.axis])
        sent.append((work, message))
        return message


def _leaf(work: Leaf, kind: str, seconds: Any, spent: Shares, route: Route | None = None) -> Timed:
    return Timed(work.name, kind, seconds, spent, NOTHING, 1, (), work, route)


def _matmul(clock: Clock, work: Matmul) -> Timed:
    return _leaf(work, "matmul", *matmul_seconds(work, clock.rates))


def _attention(clock: Clock, work: Attention) -> Timed:
    return _leaf(work, "attention", *attention_seconds(work, clock.rates))


def _stream(clock: Clock, work: Stream) -> Timed:
    if work.joins is not None and clock.rates.efficiency.fused_reduction:
        alone = where(greater(clock.groups[work.joins].ranks, 1), 0.0, 1.0)
        work = work._replace(launches=work.launches * alone)
    return _leaf(work, "memory-bound", *stream_seconds(work, clock.rates))


def _collective(clock: Clock, work: Collective) -> Timed:
    sent = clock.message(work)
    return _leaf(work, TERM.get(work.axis, work.axis), sent.seconds, sent.resources, sent.route)


def _transfer(clock: Clock, work: Transfer) -> Timed:
    return _leaf(work, "offload", *transfer_seconds(work, clock.rates))


def _series(clock: Clock, work: Serial) -> Timed:
    return series(work.name, tuple([clock.time(part) for part in work.parts]))


def _repeated(clock: Clock, work: Repeat) -> Timed:
    return repeated(work.name, work.times, clock.time(work.work))


def _overlap(clock: Clock, work: Overlap) -> Timed:
    """What sticks out behind compute that is still free: no second of it covers two messages.

    Copies to the host take neither cores nor network: they hide behind all of it, whatever else does.
    """
    behind = clock.time(work.behind)
    if not work.contends:
        return beside(work.name, clock.time(work.work), behind.seconds, FREE)
    cover = behind.seconds - behind.hidden + behind.covered.get("offload", 0.0)
    if work.taken is not None:
        cover = cover - clock.time(work.taken).seconds
    hidden = beside(work.name, clock.time(work.work), maximum(cover, 0.0), clock.rates.efficiency.overlap)
    return hidden if work.cut is None else series(work.name, (hidden, _cut(clock, *work.cut)))


def _cut(clock: Clock, product: Matmul, pieces: Any) -> Timed:
    """What a product loses in pieces of fewer rows, each with a start of its own; its operand is quantised once."""
    whole = matmul_seconds(product._replace(quantise_bytes=0.0), clock.rates)[0]
    piece = matmul_seconds(product._replace(quantise_bytes=0.0, m=product.m / pieces), clock.rates)[0]
    lost = maximum(pieces * piece - whole, 0.0)
    return Timed("cut product", "contention", lost, {"compute": lost}, {})


def _pipeline(clock: Clock, work: Pipeline) -> Timed:
    return pipelined(work, clock.time, clock.rates.efficiency.overlap)


_FOLDS: dict[type, Callable[[Clock, Any], Timed]] = {
    Matmul: _matmul,
    Attention: _attention,
    Stream: _stream,
    Collective: _collective,
    Transfer: _transfer,
    Serial: _series,
    Repeat: _repeated,
    Overlap: _overlap,
    Pipeline: _pipeline,
}
