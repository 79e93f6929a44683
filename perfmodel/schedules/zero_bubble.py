"""Interleaved zero bubble (ZB1P): backward is split, and gradients of weights fill what would be idle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from perfmodel.ops import Number, floor, maximum, minimum
from perfmodel.schedules.interleaved import Rounds
from perfmodel.schedules.order import Action

__all__ = ["InterleavedZeroBubble"]


class InterleavedZeroBubble(Rounds):
    """1F1B whose backward passes on the input's gradient first; a rank runs the weights' gradients `rank` passes later.

    Examples
    --------
    >>> print(*InterleavedZeroBubble(stages=2, micro_batches=3).actions(1))
    1F0 1I0 1F1 1I1 1W0 1F2 1I2 1W1 1W2
    """

    name: ClassVar[str] = "interleaved-zero-bubble"
    aliases: ClassVar[tuple[str, ...]] = ("ScheduleInterleavedZeroBubble", "zb1p", "zb-h1")
    reference: ClassVar[str] = "Qi et al. (2023), Zero Bubble Pipeline Parallelism, arXiv:2401.10241"

    @classmethod
    def live(cls, *, rank: Number, stages: Number, micro_batches: Number, chunks: Number) -> Any:
        """As many on every rank: what it warms up less than the first, it frees later, with its W [-].

        Parameters
        ----------
        rank, stages, micro_batches, chunks : as of `Schedule.live`

        Examples
        --------
        >>> InterleavedZeroBubble(stages=2, micro_batches=3).live_chunks
        (2, 2)
        """
        rounds = maximum(floor(micro_batches / stages), 1)
        return minimum(micro_batches * chunks, (chunks - 1) * floor(micro_batches / rounds) + stages)

    def order(self, rank: int) -> Iterator[Action]:
        """Warm up by one pass for each hop; then F and I in turn; W follows its I at a distance of `rank` passes."""
        forward, backward = self.passes(rank), self.passes(rank, backward=True)
        ahead = self.warm_up(rank, hop=1)
        for chunk, micro_batch in forward[:ahead]:
            yield Action("F", chunk, micro_batch)
        for step, back in enumerate(backward):
            if ahead + step < len(forward):
                yield Action("F", *forward[ahead + step])
            yield Action("I", *back)
            if step >= rank:
                yield Action("W", *backward[step - rank])
        for chunk, micro_batch in backward[max(len(backward) - rank, 0) :]:
            yield Action("W", chunk, micro_batch)
