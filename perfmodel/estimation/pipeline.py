"""Seconds of a pipeline: the slowest stage's work for every micro-batch, and the bubble that its schedule leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perfmodel.efficiency import OverlapFit
from perfmodel.estimation.timed import Timed, beside, leaf_times, repeated, series
from perfmodel.formulas.pipeline import pipeline_time
from perfmodel.ops import added, greater, maximum, plain, where
from perfmodel.schedules import Schedule, Shape, over_shapes, schedule
from perfmodel.work import Matmul, Pipeline, Work

__all__ = ["ANY_ORDER", "CLOSED", "pipelined"]

CLOSED = ("1f1b", "interleaved-1f1b", "gpipe", "looped-bfs")
"""Schedules whose time has a closed form, and the same one; the others are timed event by event."""

ANY_ORDER = "any order"
"""In the place of a schedule's name: the least idle time that any order of the same passes could leave."""


def pipelined(work: Pipeline, time: Callable[[Work], Timed], fit: OverlapFit) -> Timed:
    """Time a pipeline: micro-batches on the slowest stage, and its bubble.

    Parameters
    ----------
    work : the pipeline
    time : of a tree of work
    fit : what sends beside compute cost

    Returns
    -------
    two parts: micro-batches, bubble

    Notes
    -----
    Sends that no compute covers keep both ends busy (Megatron-LM's batched send and receive). Those that may run beside
    compute still delay the first micro-batch on its way to the end, and the last on its way back.
    """
    parts = tuple(time(part) for part in (work.entry, work.body, work.exit))
    entry, body, leave = parts
    stage = work.held.fullest(entry.seconds, body.seconds, leave.seconds)
    compute = (
        repeated("entry", stage.opens, entry),
        repeated("layers", stage.share, body),
        repeated("exit", stage.closes, leave),
    )
    send = time(work.send)
    cover = work.hides * stage.share * maximum(body.seconds - body.hidden, 0.0)
    sends = beside("pp sends", send, cover, fit)
    busy = series("slowest stage", (*compute, sends))
    steady = repeated("micro-batches", work.micro_batches, busy)
    if work.schedule in CLOSED:
        idle = _closed_form(work, parts, compute, _hops(work, send, sends, fit.slowdown))
    elif work.schedule == ANY_ORDER:
        idle = _least(work, parts, sends) - steady.seconds
    else:
        idle = _recurrence(work, parts, send, sends) - steady.seconds
    bubble = Timed("bubble", "bubble", idle, {"pipeline_bubble": idle}, {})
    return series(work.name, (steady, bubble))


def _closed_form(work: Pipeline, parts: tuple[Timed, ...], compute: tuple[Timed, ...], hops: Any) -> Any:
    """Idle time of the slowest stage, with the messages that it waits for in fill and drain [s]."""
    slowest, through = (added((part.seconds for part in each), 0.0) for each in (compute, parts))
    passes = work.micro_batches
    whole = pipeline_time(slowest=slowest, through=through, micro_batches=passes, chunks=work.chunks)
    return whole - passes * slowest + hops


def _hops(work: Pipeline, send: Timed, sends: Timed, slowdown: Any) -> Any:
    """Messages on the way of the first micro-batch to the end, and of the last one back [s].

    Where sends keep their ends busy, a stage that has none of its own left waits for those of all but itself and its
    neighbour. Where they run beside compute, a micro-batch still crosses every border between chunks, while nothing
    computes that it could slow.
    """
    stages, chunks = work.stages, work.chunks
    busy = maximum(maximum(stages - 2.0, stages * chunks - 1.0 - work.micro_batches * chunks), 0.0)
    free = (stages * chunks - 1.0) * (1.0 - slowdown)
    hidden = _hidden(send, sends)
    return (hidden * free + (1.0 - hidden) * busy) * send.seconds / chunks


def _hidden(send: Timed, sends: Timed) -> Any:
    """Share of the sends that run beside compute [-]."""
    return sends.hidden / maximum(send.seconds, 1e-300)


def _least(work: Pipeline, parts: tuple[Timed, ...], sends: Timed) -> Any:
    """Time below which no order of the passes gets [s].

    Every rank has its own work to do, and the last rank starts when each one before has handed a chunk on.
    """
    entry, body, _ = parts
    each = [
        work.micro_batches * (stage.of(*(part.seconds for part in parts)) + sends.seconds)
        for stage in work.held
    ]
    others = maximum(work.stages - 2.0, 0.0) * work.held.middle.share
    reached = entry.parts[0].seconds + (work.held.first.share + others) / work.chunks * body.parts[0].seconds
    last = each[2] + where(greater(work.stages, 1), reached, 0.0)
    return maximum(maximum(each[0], each[1]), last)


def _recurrence(work: Pipeline, parts: tuple[Timed, ...], send: Timed, sends: Timed) -> Any:
    """Time by the exact event recurrence: sends beside compute delay who waits for them, others keep a rank busy.

    What goes beside the numbers (derivatives, symbols) follows the critical path, of which the time is the sum.
    """
    held = tuple(stage.share for stage in work.held)
    costs = tuple(cost for part in parts for cost in _passes(part))
    passes = 2 * work.chunks  # forward and backward
    delay, waiting = _hidden(send, sends) * send.seconds / passes, sends.seconds / passes

    def ask(shape: Shape, delay: Any, waiting: Any, *given: Any) -> Any:
        if shape[0] == 1:
            return shape[1] * added(given[3 + 3 * part] + given[4 + 3 * part] for part in range(3))
        plan = schedule(work.schedule, stages=shape[0], micro_batches=shape[1], chunks=shape[2])
        forward, backward, weight = (_by_chunk(plan, given[:3], given[3 + kind :: 3]) for kind in range(3))
        spent = [cost + waiting for cost in forward], [cost + waiting for cost in backward], weight
        seconds = {name: [*map(plain, each)] for name, each in zip(PASSES, spent, strict=True)}
        if all(plain(each) is each for each in (delay, waiting, *given)):
            return plan.timing(**seconds, send=delay).makespan
        return plan.critical_path(**seconds, send=plain(delay)).time(*spent, delay)

    shape = (work.stages, work.micro_batches, work.chunks)
    return over_shapes(work.schedule, shape, ask, delay, waiting, *held, *costs)


PASSES = ("forward", "backward", "weight")
"""Kinds of passes that a schedule times."""


def _passes(part: Timed) -> tuple[Any, Any, Any]:
    """Forward, backward in full, and the part of it that computes gradients of weights [s]."""
    forward, backward = part.parts
    weight = added((times * leaf.seconds for times, leaf in leaf_times(backward) if _is_weight(leaf)), 0.0)
    return forward.seconds, backward.seconds, weight


def _is_weight(leaf: Timed) -> bool:
    return isinstance(leaf.work, Matmul) and leaf.work.accumulate


def _by_chunk(plan: Schedule, shares: tuple[Any, ...], seconds: tuple[Any, ...]) -> list[Any]:
    """Seconds of each model chunk: its part of the layers, and at either end of the model what stands there."""
    entry, body, leave = seconds
    found = []
    for chunk in range(plan.model_chunks):
        rank = plan.rank_of(chunk)
        share = shares[0] if rank == 0 else shares[2] if rank == plan.stages - 1 else shares[1]
        found.append(share / plan.chunks * body)
    found[0] = found[0] + entry
    found[-1] = found[-1] + leave
    return found
