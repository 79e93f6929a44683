"""Interleaved 1F1B: several chunks a rank, micro-batches in rounds that go through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from perfmodel.schedules.base import Schedule
from perfmodel.schedules.order import Action, nearest

__all__ = ["InterleavedOneForwardOneBackward", "Rounds"]


class Rounds(Schedule):
    """Passes in rounds: the micro-batches of a round go through a rank's first chunk, then its second, and so on.

    Rounds hold `stages` micro-batches (Megatron), or a little more where that does not divide them (torch's "flex").
    """

    @property
    def round_size(self) -> int:
        """Micro-batches of one round [-]."""
        return self.micro_batches // self.rounds

    @property
    def rounds(self) -> int:
        """Rounds of a step [-]."""
        return max(1, self.micro_batches // self.stages)

    def rules(self) -> Iterator[str]:
        """Rounds are equal."""
        if self.micro_batches % self.rounds:
            valid = [self._equal(self.micro_batches, step) for step in (-1, 1)]
            yield (f"micro_batches = {self.micro_batches} does not fall into {self.micro_batches} // stages = "
                   f"{self.rounds} equal rounds; valid: multiples of stages = {self.stages}, and "
                   f"{valid[0]} or {valid[1]}; nearest: {nearest(self.micro_batches, valid)}")  # fmt: skip

    def _equal(self, micro_batches: int, step: int) -> int:
        while micro_batches % max(1, micro_batches // self.stages):
            micro_batches += step
        return micro_batches

    def passes(self, rank: int, *, backward: bool = False) -> list[tuple[int, int]]:
        """Chunk and micro-batch of every pass of a rank in one direction; backward starts at its last chunk."""
        size = self.round_size
        chunks = range(rank, self.model_chunks, self.stages)
        return [
            (chunk, micro_batch)
            for start in range(0, self.micro_batches, size)
            for chunk in (reversed(chunks) if backward else chunks)
            for micro_batch in range(start, start + size)
        ]

    def warm_up(self, rank: int, hop: int) -> int:
        """Forwards before the first backward: to bring a round to the last chunk, and some for each hop to go [-]."""
        ahead = (self.chunks - 1) * self.round_size + hop * (self.stages - 1 - rank)
        return min(ahead, self.micro_batches * self.chunks)


class InterleavedOneForwardOneBackward(Rounds):
    """1F1B on a looped pipeline: the bubble shrinks with the chunks, for a little more memory and more messages.

    Examples
    --------
    >>> print(*InterleavedOneForwardOneBackward(stages=2, micro_batches=2, chunks=2).actions(1))
    1F0 1F1 3F0 3B0 3F1 3B1 1B0 1B1
    """

    name: ClassVar[str] = "interleaved-1f1b"
    aliases: ClassVar[tuple[str, ...]] = ("ScheduleInterleaved1F1B", "depth-first")
    reference: ClassVar[str] = "Narayanan et al. (2021), Megatron-LM, arXiv:2104.04473"

    def order(self, rank: int) -> Iterator[Action]:
        """Warm up by two passes for each hop to the last rank, then one forward and one backward in turn."""
        forward, backward = self.passes(rank), self.passes(rank, backward=True)
        ahead = self.warm_up(rank, hop=2)
        for chunk, micro_batch in forward[:ahead]:
            yield Action("F", chunk, micro_batch)
        for there, back in zip(forward[ahead:], backward, strict=False):
            yield Action("F", *there)
            yield Action("B", *back)
        for chunk, micro_batch in backward[len(forward) - ahead :]:
            yield Action("B", chunk, micro_batch)
