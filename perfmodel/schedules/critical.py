"""The critical path of a schedule: the chain of passes and messages without a gap that takes as long as the step.

The time of a step is the sum along it. So it is its derivative, too, and the closed form that holds as long as the same
chain stays the longest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from perfmodel.ops import added
from perfmodel.schedules.graph import Graph, graph
from perfmodel.schedules.listing import KINDS
from perfmodel.schedules.order import Order
from perfmodel.schedules.timing import Array, Costs, event_ends

__all__ = ["CriticalPath", "critical_path"]


class CriticalPath(NamedTuple):
    """How often each cost stands on the longest chain, by model chunk or alone, over the configurations.

    Parameters
    ----------
    forward, backward, weight : passes of each chunk, a backward in full and the part of it that computes gradients of
        weights; below 0 where a chain leaves that part out [-]
    sends : messages between ranks [-]
    """

    forward: tuple[Any, ...]
    backward: tuple[Any, ...]
    weight: tuple[Any, ...]
    sends: Any

    def time(self, forward: list[Any], backward: list[Any], weight: list[Any], send: Any) -> Any:
        """The sum along it, for costs that are any kind of number: one a chunk, and that of a message [s]."""
        counts = (*self.forward, *self.backward, *self.weight, self.sends)
        costs = (*forward, *backward, *weight, send)
        return added((count * cost for count, cost in zip(counts, costs, strict=True)), 0.0)


def critical_path(order: Order, **given: Any) -> CriticalPath:
    """Walk back from the last event, always to what it waited for.

    Parameters
    ----------
    order : of a pipeline's actions
    given : forward, backward, weight and send, as `Schedule.timing` takes them [s]

    Returns
    -------
    the counts of one longest chain; of several that tie, it is one of them

    Examples
    --------
    >>> from perfmodel.schedules import schedule
    >>> path = critical_path(schedule("1f1b", stages=2, micro_batches=3), forward=1.0, backward=2.0, weight=1.0,
    ...                      send=0.1)
    >>> path.time([1.0] * 2, [2.0] * 2, [1.0] * 2, 0.1)
    12.4
    """
    costs, nodes = Costs.of(order, given), graph(order)
    counts, sends = _walked(nodes, event_ends(nodes, costs), costs.send, order.model_chunks)
    passes = {kind: counts[KINDS.index(kind)] for kind in KINDS}

    def told(table: Array) -> tuple[Any, ...]:
        return tuple(row.reshape(costs.shape) if costs.shape else float(row[0]) for row in table)

    return CriticalPath(
        told(passes["F"]),
        told(passes["B"] + passes["I"]),
        told(passes["W"] - passes["I"]),
        told(sends[None])[0],
    )


def _walked(nodes: Graph, end: Array, send: Array, chunks: int) -> tuple[Array, Array]:
    """Passes on the way by kind and chunk, and messages, over configurations [-]."""
    columns = np.arange(end.shape[1])
    counts = np.zeros((len(KINDS), chunks, columns.size))
    sends = np.zeros(columns.size)
    at = end[:-1].argmax(axis=0)
    while columns.size:
        counts[nodes.kind[at], nodes.chunk[at], columns] += 1
        source = nodes.inputs[0][at]
        crossed = nodes.remote[0][at]
        before = nodes.before[at]
        late = end[source, columns] + crossed * send[columns] > end[before, columns]
        sends[columns] += late & crossed
        at = np.where(late, source, before)
        on = at < nodes.size
        at, columns = at[on], columns[on]
    return counts, sends
