"""The actions of all ranks as columns of numbers, listed once for a shape."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfmodel.errors import InputError
from perfmodel.schedules.order import Order

__all__ = ["KINDS", "Indices", "Listing", "listing"]

KINDS = "FBIW"
"""A kind's code is its place here."""

Indices = NDArray[np.intp]


class Listing(NamedTuple):
    """Actions of all ranks, one rank after the other.

    Parameters
    ----------
    rank, kind, chunk, micro_batch : of each action [-]
    paired : the action is one of two that a rank may run as one
    forward, backward : place of F, and of B or I, by chunk and micro-batch [-]
    """

    rank: Indices
    kind: Indices
    chunk: Indices
    micro_batch: Indices
    paired: NDArray[np.bool_]
    forward: Indices
    backward: Indices


@lru_cache(maxsize=64)
def listing(order: Order) -> Listing:
    """The columns of an order, proved to be sound.

    Parameters
    ----------
    order : of a pipeline's actions

    Returns
    -------
    the columns

    Raises
    ------
    InputError
        a pass is missing, there twice, on another rank than its chunk, or backward before forward
    """
    by_rank = [list(order.order(rank)) for rank in order.ranks]
    kinds, chunks, micro_batches, paired = zip(*[action for rank in by_rank for action in rank], strict=True)
    rank = np.repeat(np.arange(order.stages), [len(actions) for actions in by_rank])
    code = np.zeros(128, dtype=np.intp)
    code[np.frombuffer(KINDS.encode(), dtype=np.uint8)] = range(len(KINDS))
    kind = code[np.frombuffer("".join(kinds).encode(), dtype=np.uint8)]
    chunk, micro_batch = np.array(chunks, dtype=np.intp), np.array(micro_batches, dtype=np.intp)

    def places(of: str) -> Indices:
        found = np.full((order.model_chunks, order.micro_batches), -1, dtype=np.intp)
        chosen = np.flatnonzero(np.isin(kind, [KINDS.index(each) for each in of]))
        found[chunk[chosen], micro_batch[chosen]] = chosen
        return found

    forward, backward, split, weights = (places(of) for of in ("F", "BI", "I", "W"))
    owner = np.array([order.rank_of(each) for each in range(order.model_chunks)])
    sound = (
        len(kind) == forward.size + backward.size + (split >= 0).sum()
        and (forward >= 0).all()
        and (backward > forward).all()
        and np.where(split >= 0, weights > split, weights < 0).all()
        and (owner[chunk] == rank).all()
    )
    if not sound:
        raise InputError(f"the order of {order!r} is not sound: each rank must run F, then B or I and W, once for each "
                         f"of its chunks and micro-batches")  # fmt: skip
    return Listing(rank, kind, chunk, micro_batch, np.array(paired, dtype=bool), forward, backward)
