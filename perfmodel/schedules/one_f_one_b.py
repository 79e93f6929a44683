"""1F1B: as soon as a micro-batch comes back, one backward for each forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from perfmodel.schedules.base import Schedule
from perfmodel.schedules.order import Action

__all__ = ["OneForwardOneBackward"]


class OneForwardOneBackward(Schedule):
    """A rank keeps only as many micro-batches alive as there are ranks from it to the end.

    Examples
    --------
    >>> print(*OneForwardOneBackward(stages=2, micro_batches=3).actions(1))
    1F0 1B0 1F1 1B1 1F2 1B2
    """

    name: ClassVar[str] = "1f1b"
    aliases: ClassVar[tuple[str, ...]] = ("Schedule1F1B", "PipeDream-Flush", "DAPPLE")
    reference: ClassVar[str] = "Narayanan et al. (2021), Megatron-LM, arXiv:2104.04473"
    chunks_needed: ClassVar[int | None] = 1

    def rules(self) -> Iterator[str]:
        """The first rank must be able to fill the pipeline."""
        if self.micro_batches < self.stages:
            yield (f"micro_batches = {self.micro_batches} cannot fill stages = {self.stages}; valid: {self.stages} or "
                   f"more; nearest: {self.stages}, or gpipe, which takes any number")  # fmt: skip

    def order(self, rank: int) -> Iterator[Action]:
        """Forwards that fill the ranks behind, then one forward and one backward in turn, then the rest backward."""
        ahead = self.stages - 1 - rank
        for micro_batch in range(ahead):
            yield Action("F", rank, micro_batch)
        for micro_batch in range(self.micro_batches - ahead):
            yield Action("F", rank, ahead + micro_batch)
            yield Action("B", rank, micro_batch)
        for micro_batch in range(self.micro_batches - ahead, self.micro_batches):
            yield Action("B", rank, micro_batch)
