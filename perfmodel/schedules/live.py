"""What a schedule keeps alive: a running count along each rank's order, which no time changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from perfmodel.errors import InputError
from perfmodel.ops import Number, added, maximum
from perfmodel.schedules.listing import KINDS, Indices, listing
from perfmodel.schedules.order import Order

__all__ = ["live_chunks", "peak_saved"]

CHANGE = np.array([{"F": 1, "B": -1, "I": 0, "W": -1}[kind] for kind in KINDS])
"""Passes alive more after an action: a split backward frees with its second half [-]."""


def live_chunks(order: Order) -> tuple[int, ...]:
    """Passes (micro-batch × chunk) whose activations each rank holds at its peak [-].

    Parameters
    ----------
    order : of a pipeline's actions

    Returns
    -------
    one count a rank
    """
    return tuple(int(CHANGE[kind].cumsum().max()) for kind, _ in _ranks(order))


def peak_saved(order: Order, saved: Sequence[Number]) -> tuple[Any, ...]:
    """The most that each rank keeps for backward at once.

    Parameters
    ----------
    order : of a pipeline's actions
    saved : what one micro-batch leaves in each chunk of the model [B]

    Returns
    -------
    one number a rank [B]
    """
    if len(saved) != order.model_chunks:
        raise InputError(f"saved has {len(saved)} entries; it needs one for each of the stages · chunks = "
                         f"{order.model_chunks} model chunks")  # fmt: skip
    return tuple(_peak(order.chunks_of(rank), saved, *lists) for rank, lists in enumerate(_ranks(order)))


def _ranks(order: Order) -> Iterator[tuple[Indices, Indices]]:
    """Kinds and chunks of each rank's actions."""
    listed = listing(order)
    ends = np.flatnonzero(np.diff(listed.rank)) + 1
    return zip(np.split(listed.kind, ends), np.split(listed.chunk, ends), strict=True)


def _peak(chunks: tuple[int, ...], saved: Sequence[Number], kind: Indices, chunk: Indices) -> Any:
    # passes alive by chunk, after each forward that no other follows: few differ, so few sums are needed
    held = (CHANGE[kind][:, None] * (chunk[:, None] == np.array(chunks))).cumsum(axis=0)
    turns = (kind == KINDS.index("F")) & np.append(kind[1:] != KINDS.index("F"), True)
    most: Any = 0
    for counts in np.unique(held[turns], axis=0).tolist():
        most = maximum(most, added(count * saved[each] for count, each in zip(counts, chunks, strict=True)))
    return most
