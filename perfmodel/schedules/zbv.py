"""ZB-V: the model folded like a V over the ranks, backward split; no bubble where F, I and W take equally long."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar

from perfmodel.ops import Number, minimum
from perfmodel.schedules.base import Schedule
from perfmodel.schedules.order import Action, Kind

__all__ = ["Folded", "ZeroBubbleV"]

V_CHUNKS = 2
"""Chunks of a rank: one where the model goes down the ranks, one where it comes up again [-]."""

Step = tuple[Kind, int]
"""A kind of action on the way down (0) or up (1)."""

BACK_DOWN: tuple[Step, ...] = (("I", 0), ("W", 0))
PASS_UP: tuple[Step, ...] = (("F", 1), ("I", 1), ("W", 1))


class Folded(Schedule):
    """A model folded like a V: rank 0 holds its first and its last chunk, the last rank the two in the middle."""

    chunks_needed: ClassVar[int | None] = V_CHUNKS

    chunks: int = V_CHUNKS
    """Model chunks that one rank holds: one on the way down, one on the way up [-]."""

    def rank_of(self, chunk: int) -> int:
        """Down the ranks and up again [-]."""
        return min(chunk, self.model_chunks - 1 - chunk)


class ZeroBubbleV(Folded):
    """Memory of 1F1B, no idle time between a rank's first and last action where F = I = W and no message takes time.

    Examples
    --------
    >>> print(*ZeroBubbleV(stages=2, micro_batches=3).actions(1))
    1F0 2F0 1F1 2F1 2I0 2W0 1F2 1I0 1W0 2F2 2I1 2W1 1I1 2I2 1I2 1W1 2W2 1W2
    """

    name: ClassVar[str] = "zbv"
    aliases: ClassVar[tuple[str, ...]] = ("ScheduleZBVZeroBubble", "zb-v")
    reference: ClassVar[str] = (
        "Qi et al. (2023), Zero Bubble Pipeline Parallelism, arXiv:2401.10241, section 6"
    )

    @classmethod
    def live(cls, *, rank: Number, stages: Number, micro_batches: Number, chunks: Number) -> Any:
        """A V's worth of passes, as soon as there are that many [-].

        Parameters
        ----------
        rank, stages, micro_batches, chunks : as of `Schedule.live`

        Examples
        --------
        >>> ZeroBubbleV(stages=3, micro_batches=2).live_chunks
        (3, 4, 4)
        """
        return minimum(minimum(2 * micro_batches, 2 * stages), micro_batches + 1 + rank)

    def order(self, rank: int) -> Iterator[Action]:
        """The order for enough micro-batches to fill the V; those that do not exist are left out."""
        counters = {(kind, way): count() for kind in ("F", "I", "W") for way in (0, 1)}
        chunks = (rank, self.model_chunks - 1 - rank)
        for kind, way in self._pattern(rank):
            micro_batch = next(counters[kind, way])
            if micro_batch < self.micro_batches:
                yield Action(kind, chunks[way], micro_batch)

    def _pattern(self, rank: int) -> Iterator[Step]:
        """Kinds of action, whose micro-batches count up on their own."""
        filled = max(2 * self.stages - 1, self.micro_batches)
        left = self.stages - rank
        # warm-up: down until the first micro-batch comes up, in turn with it, then up alone
        yield from (("F", 0),) * (2 * left - 1)
        yield from (("F", 1), ("F", 0)) * rank
        yield from PASS_UP * left
        # stable: a whole pass each way, as long as there are forwards for the way down
        ready = filled - (2 * left - 1 + rank)
        for step in range(filled - self.stages):
            yield from (("F", 0),) * (step < ready)
            yield from BACK_DOWN + PASS_UP
        # cool-down: what is left of I, then of W
        yield from (("I", 0), ("I", 1)) * rank
        yield from BACK_DOWN * left
        yield from (("W", 1),) * rank
        yield from (("W", 0),) * rank
