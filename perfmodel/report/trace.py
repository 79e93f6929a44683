"""The tree of an estimate laid out in time, and written as a Chrome trace, which Perfetto opens.

What repeats is drawn once, as wide as all its repetitions together. Messages that run beside compute have a track of
their own, each as late as it can be: it ends where the part of it that sticks out begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.estimation import Answer
from perfmodel.estimation.answer import view
from perfmodel.estimation.timed import Timed, by_kind, hidden_part
from perfmodel.work import flops, memory_bytes

__all__ = ["Slice", "slices", "to_trace", "trace_events"]

TRACKS = ("waited for", "beside compute")
"""What the step waits for, and what it does not."""


class Slice(NamedTuple):
    """A node of the tree with its place in time.

    Parameters
    ----------
    name, kind : of the node; a node of parts has no kind
    depth : nodes around it [-]
    start, seconds : of all its repetitions together [s]
    times : repetitions [-]
    hidden : it runs beside compute
    node : of the tree
    """

    name: str
    kind: str
    depth: int
    start: float
    seconds: float
    times: float
    hidden: bool
    node: Timed

    @property
    def end(self) -> float:
        """Where it ends [s]."""
        return self.start + self.seconds


def slices(est: Answer) -> list[Slice]:
    """Every node that takes time, laid out.

    Parameters
    ----------
    est : an estimate of one configuration

    Returns
    -------
    a node before its parts, in the order of time

    Raises
    ------
    InputError
        the estimate holds arrays or symbols

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
    >>> slices(est)[0].name, slices(est)[0].seconds == est.step_time
    ('training step', True)
    """
    if np.ndim(est.tree.seconds) or hasattr(est.tree.seconds, "free_symbols"):
        raise InputError("a timeline is that of one configuration; this estimate holds an array or symbols")
    laid = _Layout()
    laid.put(est.tree, start=0.0, times=1.0, depth=0)
    laid.put_beside()
    return laid.found


class _Layout:
    """Nodes with their places; messages beside compute are kept until the other track is full."""

    def __init__(self) -> None:
        self.found: list[Slice] = []
        self._waiting: list[tuple[float, Timed, float]] = []

    def put(self, node: Timed, *, start: float, times: float, depth: int, hidden: bool = False) -> None:
        """A node and its parts, one after the other."""
        seconds = float(node.seconds * times)
        if seconds > 0:
            self.found.append(Slice(node.name, node.kind, depth, start, seconds, times, hidden, node))
        beside = None if hidden else hidden_part(node)
        if beside is not None and beside[0] * beside[1].seconds > 0:
            self._waiting.append((start, beside[1], float(times * beside[0])))
        at, end, each = start, start + seconds, float(times * node.times)
        for part in node.parts:
            self.put(part, start=min(at, end), times=each, depth=depth + 1, hidden=hidden)
            at += float(part.seconds * each)

    def put_beside(self) -> None:
        """Messages beside compute, each ending where its other part sticks out, or later where the track is taken."""
        free = 0.0
        for until, messages, times in self._waiting:
            length = float(messages.seconds * times)
            free = max(free, until - length)
            self.put(messages, start=free, times=times, depth=0, hidden=True)
            free += length


def trace_events(est: Answer) -> dict[str, Any]:
    """The timeline in the Trace Event Format.

    Parameters
    ----------
    est : an estimate of one configuration

    Returns
    -------
    a mapping, ready for JSON: complete events, with times in microseconds

    References
    ----------
    Google (2016), Trace Event Format, "complete events" and "metadata events"
    """
    events = [_named("process_name", 0, type(est).__name__)]
    events += [_named("thread_name", number, name) for number, name in enumerate(TRACKS)]
    events += [_event(one) for one in slices(est)]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _named(what: str, track: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": 0, "tid": track, "args": {"name": name}}


def _event(one: Slice) -> dict[str, Any]:
    """A complete event; both of its ends are whole nanoseconds, so that parts stay within what they are parts of."""
    start, end = (round(1e9 * seconds) for seconds in (one.start, one.end))
    return {
        "name": one.name, "cat": one.kind or "parts", "ph": "X", "pid": 0, "tid": int(one.hidden), "ts": start / 1000,
        "dur": (end - start) / 1000, "args": dict(_told(one)),
    }  # fmt: skip


def _told(one: Slice) -> Iterator[tuple[str, Any]]:
    node = one.node
    yield "times", float(one.times)
    yield "seconds_each", float(node.seconds)
    if node.kind:
        yield "resources", {name: float(value * one.times) for name, value in node.spent.items() if value > 0}
    else:
        yield "terms", {kind: float(value * one.times) for kind, value in by_kind(node).items() if value > 0}
    if node.work is not None:
        counts = {"flops": flops(node.work), "memory_bytes": memory_bytes(node.work)}
        yield from ((name, float(value)) for name, value in counts.items() if value)
    if node.route is not None:
        yield "route", str(node.route)


@view("trace")
@view("trace", "inference")
@view("trace", "serving")
def to_trace(est: Answer, path: str | PathLike[str]) -> Path:
    """Write the timeline to a file that https://ui.perfetto.dev and chrome://tracing open.

    Parameters
    ----------
    est : an estimate of one configuration
    path : of the file, such as step.json

    Returns
    -------
    the path
    """
    file = Path(path)
    file.write_text(json.dumps(trace_events(est)), encoding="utf-8")
    return file
