"""Seconds of a tree of work, resource by resource: the one fold that every answer is read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from perfmodel.estimation.machine import Machine
from perfmodel.estimation.network import Message, Route, collective_seconds
from perfmodel.estimation.operators import attention_seconds, matmul_seconds, stream_seconds
from perfmodel.formulas.pipeline import pipeline_time
from perfmodel.ops import maximum, minimum, where
from perfmodel.parallel import Group
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
    Work,
)

__all__ = ["Clock", "Timed"]

Shares = dict[str, Any]

TERM = {
    **dict.fromkeys(("data", "shard", "replicate", "expert data", "expert shard", "expert replicate"), "dp"),
    "expert tp": "tp",
}
"""Terms of messages among groups that several axes form."""


class Timed(NamedTuple):
    """A node of the tree with its time.

    Parameters
    ----------
    name : of the node
    kind : term of the breakdown: matmul, attention, memory-bound, tp, cp, ep, dp, pp, bubble, or "" for a node of parts
    seconds : what it adds to its parent [s]
    resources : the same by resource: compute, memory_bandwidth, kernel_latency, network_latency, each network tier,
        pipeline_bubble [s]
    hidden : communication that runs beside compute [s]
    times : repetitions of the parts [-]
    parts : its parts; each in seconds of one repetition
    work : the operator of a leaf, with its demands
    route : of a message: the algorithm chosen and the outermost tier it crosses
    """

    name: str
    kind: str
    seconds: Any
    resources: Shares
    hidden: Any
    times: Any = 1
    parts: tuple[Timed, ...] = ()
    work: Leaf | None = None
    route: Route | None = None


class Clock:
    """Times trees of work on one machine; a node that stands in several places is timed once.

    Parameters
    ----------
    rates : of the machine
    groups : where the ranks of each axis lie
    """

    def __init__(self, rates: Machine, groups: dict[str, Group]) -> None:
        self.rates, self.groups = rates, groups
        self._known: dict[int, tuple[Work, Timed]] = {}
        self._messages: dict[tuple[Any, ...], Message] = {}

    def time(self, work: Work) -> Timed:
        """Fold a tree: leaves become seconds, series add, overlaps keep what sticks out."""
        known = self._known.get(id(work))
        if known is None:
            known = (work, _FOLDS[type(work)](self, work))
            self._known[id(work)] = known  # holds the node, so that its id stays its own
        return known[1]

    def message(self, work: Collective) -> Message:
        """Time of a message; equal ones are timed once, as long as their payload is a plain number."""
        number = isinstance(work.payload, float) and isinstance(work.copies, int | float)
        shape = (work.copies, work.most_domains) if number else id(work)
        key = (work.kind, work.axis, number, work.payload if number else None, shape)
        if key not in self._messages:
            self._messages[key] = collective_seconds(work, self.rates, self.groups[work.axis])
        return self._messages[key]


def _matmul(clock: Clock, work: Matmul) -> Timed:
    return Timed(work.name, "matmul", *matmul_seconds(work, clock.rates), 0.0, work=work)


def _attention(clock: Clock, work: Attention) -> Timed:
    return Timed(work.name, "attention", *attention_seconds(work, clock.rates), 0.0, work=work)


def _stream(clock: Clock, work: Stream) -> Timed:
    return Timed(work.name, "memory-bound", *stream_seconds(work, clock.rates), 0.0, work=work)


def _collective(clock: Clock, work: Collective) -> Timed:
    sent = clock.message(work)
    axis = TERM.get(work.axis, work.axis)
    return Timed(work.name, axis, sent.seconds, sent.resources, 0.0, work=work, route=sent.route)


def _series(clock: Clock, work: Serial) -> Timed:
    return _serial(work.name, tuple(clock.time(part) for part in work.parts))


def _repeated(clock: Clock, work: Repeat) -> Timed:
    return _times(work.name, work.times, clock.time(work.work))


def _sum(parts: tuple[Timed, ...]) -> tuple[Any, Shares, Any]:
    seconds: Any = 0.0
    hidden: Any = 0.0
    resources: Shares = {}
    for part in parts:
        seconds = seconds + part.seconds
        hidden = hidden + part.hidden
        for name, value in part.resources.items():
            resources[name] = resources[name] + value if name in resources else value
    return seconds, resources, hidden


def _serial(name: str, parts: tuple[Timed, ...]) -> Timed:
    return Timed(name, "", *_sum(parts), 1, parts)


def _scaled(resources: Shares, factor: Any) -> Shares:
    return {name: value * factor for name, value in resources.items()}


def _times(name: str, times: Any, part: Timed) -> Timed:
    return Timed(
        name, "", part.seconds * times, _scaled(part.resources, times), part.hidden * times, times, (part,)
    )


def _overlap(clock: Clock, work: Overlap) -> Timed:
    inner, behind = clock.time(work.work), clock.time(work.behind)
    hidden = minimum(inner.seconds, behind.seconds) * clock.rates.efficiency.overlap.achieved
    exposed = inner.seconds - hidden
    # what is hidden still holds some of the cores that compute would use
    lost = clock.rates.efficiency.overlap.slowdown * hidden
    # what sticks out keeps the mix of resources of the whole message
    share = where(inner.seconds > 0, exposed / maximum(inner.seconds, 1e-300), 0.0)
    parts = (
        _times("exposed", share, inner),
        Timed("contention", "contention", lost, {"compute": lost}, hidden),
    )
    return _serial(work.name, parts)


def _pipeline(clock: Clock, work: Pipeline) -> Timed:
    entry, body, leave, send = (clock.time(part) for part in (work.entry, work.body, work.exit, work.send))
    first = entry.seconds + work.first * body.seconds
    last = work.last * body.seconds + leave.seconds
    middle = where(work.stages > 2, work.middle * body.seconds, 0.0)
    through = entry.seconds + body.seconds + leave.seconds
    slowest = where(work.stages > 1, maximum(maximum(first, last), middle), through)
    # weights that pick the slowest stage's parts, so that its resources add up to its seconds
    alone = work.stages <= 1
    at_first = where(first >= maximum(last, middle), 1.0, 0.0)
    at_last = where(last > first, where(last >= middle, 1.0, 0.0), 0.0)
    share = where(
        alone, 1.0, at_first * work.first + at_last * work.last + (1.0 - at_first - at_last) * work.middle
    )
    stage = (
        _times("entry", where(alone, 1.0, at_first), entry),
        _times("layers", share, body),
        _times("exit", where(alone, 1.0, at_last), leave),
        send,
    )
    seconds, resources, hidden = _sum(stage)
    busy = Timed("slowest stage", "", seconds, resources, hidden, 1, stage)
    steady = _times("micro-batches", work.micro_batches, busy)
    whole = pipeline_time(
        slowest=slowest, through=through, micro_batches=work.micro_batches, chunks=work.chunks
    )
    idle = whole - work.micro_batches * slowest
    bubble = Timed("bubble", "bubble", idle, {"pipeline_bubble": idle}, 0.0)
    return _serial(work.name, (steady, bubble))


_FOLDS: dict[type, Callable[[Clock, Any], Timed]] = {
    Matmul: _matmul,
    Attention: _attention,
    Stream: _stream,
    Collective: _collective,
    Serial: _series,
    Repeat: _repeated,
    Overlap: _overlap,
    Pipeline: _pipeline,
}
