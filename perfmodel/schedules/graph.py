"""The actions of a schedule as a graph: what each waits for, and which of them can run in the same wave.

Times change nothing in it, so that it is built once for a shape and then serves any number of configurations.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.schedules.listing import KINDS, Indices, Listing, listing
from perfmodel.schedules.order import Order

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Graph", "graph"]

PAIR = len(KINDS)
"""Code of a forward and a backward that run as one."""


class Graph(NamedTuple):
    """Nodes in the order of their waves; an action waits for nodes of earlier waves only.

    Parameters
    ----------
    rank, kind, chunk : of each node; a pair has the chunk of its forward, and `partner` that of its backward [-]
    partner : chunk of a pair's backward [-]
    before : the node that ran before on the same rank; the number of nodes where there is none [-]
    inputs : columns of nodes whose output a node waits for, likewise [-]
    remote : the input comes from another rank, a column each
    waves : where each wave begins, and the end [-]
    """

    rank: Indices
    kind: Indices
    chunk: Indices
    partner: Indices
    before: Indices
    inputs: tuple[Indices, ...]
    remote: tuple[NDArray[np.bool_], ...]
    waves: list[int]

    @property
    def size(self) -> int:
        """Nodes [-]."""
        return len(self.rank)


@lru_cache(maxsize=64)
def graph(order: Order, *, fused: bool = False) -> Graph:
    """The graph of an order.

    Parameters
    ----------
    order : of a pipeline's actions
    fused : overlapped neighbours become one node, which starts when both can and ends for both

    Returns
    -------
    nodes sorted into waves

    Raises
    ------
    InputError
        the order is not one of its shape, or its ranks wait for each other for ever
    """
    listed = listing(order)
    inputs = _inputs(listed)
    # which node an action belongs to: its own, or that of the pair's first
    second = listed.paired & (listed.kind != 0) if fused else np.zeros(len(listed.kind), dtype=bool)
    node = np.cumsum(~second) - 1
    first = np.flatnonzero(~second)
    size = len(first)
    source = np.append(node, size)[inputs]  # -1, no input, becomes `size`
    columns = [source[first]]
    partner = listed.chunk[first].copy()
    kind = listed.kind[first].copy()
    if second.any():
        late = np.full(size, size, dtype=np.intp)
        late[node[second]] = source[second]
        partner[node[second]], kind[node[second]] = listed.chunk[second], PAIR
        columns.append(late)
    return _sorted(listed.rank[first], kind, listed.chunk[first], partner, columns)


def _inputs(listed: Listing) -> Indices:
    """The action whose output each action waits for, where its own rank has not run it already; -1 for none."""
    kind, chunk, micro_batch, last = listed.kind, listed.chunk, listed.micro_batch, len(listed.forward) - 1
    inputs = np.full(len(kind), -1, dtype=np.intp)
    down = (kind == KINDS.index("F")) & (chunk > 0)
    inputs[down] = listed.forward[chunk[down] - 1, micro_batch[down]]
    up = ((kind == KINDS.index("B")) | (kind == KINDS.index("I"))) & (chunk < last)
    inputs[up] = listed.backward[chunk[up] + 1, micro_batch[up]]
    return inputs


def _sorted(rank: Indices, kind: Indices, chunk: Indices, partner: Indices, columns: list[Indices]) -> Graph:
    """Nodes sorted by wave: in each wave a rank takes its next node, if what that waits for ran in an earlier wave."""
    size = len(rank)
    begins = np.flatnonzero(np.diff(rank, prepend=-1))
    ends = np.append(begins[1:], size)
    done = np.zeros(size + 1, dtype=bool)
    done[size] = True
    waves, counts = [], [0]
    at = begins.copy()
    while at.size:
        ready = done[columns[0][at]]
        for column in columns[1:]:
            ready &= done[column[at]]
        wave = at[ready]
        if not wave.size:
            raise InputError("the ranks of this order wait for each other for ever")
        done[wave] = True
        waves.append(wave)
        counts.append(counts[-1] + wave.size)
        at = at + ready
        if (over := at >= ends).any():
            at, ends = at[~over], ends[~over]
    order = np.concatenate(waves)
    place = np.empty(size + 1, dtype=np.intp)
    place[order], place[size] = np.arange(size), size
    before = np.arange(-1, size - 1)
    before[begins] = size
    ranks = np.append(rank, -1)
    return Graph(
        rank[order], kind[order], chunk[order], partner[order], place[before[order]],
        tuple(place[column[order]] for column in columns),
        tuple((column[order] < size) & (ranks[column[order]] != rank[order]) for column in columns),
        counts,
    )  # fmt: skip
