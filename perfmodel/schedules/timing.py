"""How long a schedule takes: every action starts when its rank is free and its input is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfmodel.errors import InputError
from perfmodel.ops import Number
from perfmodel.schedules.graph import Graph, graph
from perfmodel.schedules.live import live_chunks
from perfmodel.schedules.order import Order

__all__ = ["Array", "Costs", "PerChunk", "Timing", "event_ends", "timing"]

PerChunk = Number | Sequence[Number]
"""A number for all chunks, an array over configurations, or a list or tuple of either with one entry a model chunk."""

Array = NDArray[np.float64]

AT_ONCE = 4_000_000
"""Events that are held at once; more configurations than that go block by block [-]."""


class Timing(NamedTuple):
    """A step of a pipeline. Times and fractions have the shape of the configurations, counts depend on the order alone.

    Parameters
    ----------
    makespan : from the first action to the end of the last [s]
    bubble_fraction : idle share of all ranks over the makespan [-]
    window_bubble_fraction : of the worst rank, idle share from its own first action to the end of its last [-]
    busy, idle : of each rank over the makespan [s]
    live_chunks : passes (micro-batch × chunk) alive at once, of each rank [-]
    live_micro_batches : the same where a chunk counts 1 / chunks [-]
    """

    makespan: Any
    bubble_fraction: Any
    window_bubble_fraction: Any
    busy: tuple[Any, ...]
    idle: tuple[Any, ...]
    live_chunks: tuple[int, ...]
    live_micro_batches: tuple[float, ...]


class Costs(NamedTuple):
    """What actions cost, as columns over configurations.

    Parameters
    ----------
    kinds : seconds of F, B, I and W, each chunks × configurations [s]
    send : seconds of a message, over configurations [s]
    overlapped : seconds of a pair, chunks of the forward × configurations; None runs its parts one after the other [s]
    shape : of the configurations
    """

    kinds: tuple[Array, Array, Array, Array]
    send: Array
    overlapped: Array | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, order: Order, given: Mapping[str, Any]) -> Costs:
        """Costs as a user gives them: numbers, arrays over configurations, or lists with one of either a chunk."""
        chunks = order.model_chunks
        lists = {
            name: [_number(name, value)] if name == "send" else _listed(name, value, chunks)
            for name, value in given.items()
            if value is not None
        }
        try:
            shape = np.broadcast_shapes(*{value.shape for values in lists.values() for value in values})
        except ValueError:
            shapes = ", ".join(f"{name} {values[0].shape}" for name, values in lists.items())
            raise InputError(f"arrays of costs do not go together: {shapes}; give each the same shape, or a number; a "
                             f"list has one entry a chunk") from None  # fmt: skip
        columns = {
            name: np.stack([np.broadcast_to(value, shape).ravel() for value in values])
            for name, values in lists.items()
        }
        f, b = columns["forward"], columns["backward"]
        w = columns.get("weight", b / 2)
        if (w > b).any():
            raise InputError(f"weight is a part of backward and cannot exceed it: {float((w - b).max()):g} s too long; "
                             f"backward = gradients of the input + weight")  # fmt: skip
        return cls((f, b, b - w, w), columns["send"][0], columns.get("overlapped"), shape)

    def block(self, columns: slice) -> Costs:
        """Some of the configurations."""
        kinds = tuple(kind[:, columns] for kind in self.kinds)
        overlapped = None if self.overlapped is None else self.overlapped[:, columns]
        return Costs(kinds, self.send[columns], overlapped, self.shape)  # type: ignore[arg-type]  # four of four

    def durations(self, nodes: Graph) -> Array:
        """Seconds of every node, over configurations [s]."""
        table = np.stack([*self.kinds, self.kinds[0] if self.overlapped is None else self.overlapped])
        found: Array = table[nodes.kind, nodes.chunk]
        return found


def _listed(name: str, value: Any, chunks: int) -> list[Array]:
    """One array a chunk of the model, whatever was given."""
    if not isinstance(value, list | tuple):
        return [_number(name, value)] * chunks
    if len(value) != chunks:
        raise InputError(f"{name} has {len(value)} entries; a list has one for each of the stages · chunks = {chunks} "
                         f"model chunks, an array one for each configuration")  # fmt: skip
    return [_number(name, entry) for entry in value]


def _number(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} = {value!r} is no time in seconds; give a number or an array (closed forms, for "
                         f"symbols too, are in perfmodel.formulas.pipeline)") from None  # fmt: skip
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        raise InputError(f"{name} must be finite and 0 s or more, and is {float(array[wrong][0]):g} s")
    return array


def timing(order: Order, costs: Costs) -> Timing:
    """The exact event recurrence.

    .. math:: e_a = \\max\\left(e_{\\text{before}(a)},\\; e_{\\text{input}(a)} + s_a\\right) + t_a

    Parameters
    ----------
    order : of a pipeline's actions
    costs : seconds of its actions, over configurations [s]

    Returns
    -------
    makespan, bubbles, live passes
    """
    nodes = graph(order, fused=costs.overlapped is not None)
    configurations = costs.send.size
    step = max(1, AT_ONCE // nodes.size)
    parts = [_events(nodes, costs.block(slice(at, at + step))) for at in range(0, configurations, step)]
    makespan, busy, window = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))

    def told(values: Array) -> Any:
        return values.reshape(costs.shape) if costs.shape else float(values[0])

    live = live_chunks(order)
    return Timing(
        told(makespan),
        told(_idle_share(busy.sum(axis=0), order.stages * makespan)),
        told(_idle_share(busy, window).max(axis=0)),
        tuple(told(rank) for rank in busy),
        tuple(told(makespan - rank) for rank in busy),
        live,
        tuple(count / order.chunks for count in live),
    )


def _idle_share(busy: Array, span: Array) -> Array:
    return np.where(span > 0, 1.0 - busy / np.where(span > 0, span, 1.0), 0.0)


def event_ends(nodes: Graph, costs: Costs) -> Array:
    """When every node ends, over configurations; the last row is the start of the step.

    Parameters
    ----------
    nodes : of the order
    costs : seconds of its actions [s]

    Returns
    -------
    nodes and one more × configurations [s]
    """
    durations = costs.durations(nodes)
    lags = tuple(remote[:, None] * costs.send for remote in nodes.remote)
    end = np.zeros((nodes.size + 1, durations.shape[1]))
    for at, to in zip(nodes.waves, nodes.waves[1:], strict=False):
        start = end[nodes.before[at:to]]
        for column, lag in zip(nodes.inputs, lags, strict=True):
            np.maximum(start, end[column[at:to]] + lag[at:to], out=start)
        np.add(start, durations[at:to], out=end[at:to])
    return end


def _events(nodes: Graph, costs: Costs) -> tuple[Array, Array, Array]:
    """Makespan, and by rank busy time and time from first start to last end, over configurations [s]."""
    durations, end = costs.durations(nodes), event_ends(nodes, costs)
    by_rank = np.argsort(nodes.rank, kind="stable")
    begins = np.flatnonzero(np.diff(nodes.rank[by_rank], prepend=-1))
    first, last = by_rank[begins], by_rank[np.append(begins[1:], nodes.size) - 1]
    busy = np.add.reduceat(durations[by_rank], begins, axis=0)
    return end.max(axis=0), busy, end[last] - (end[first] - durations[first])
