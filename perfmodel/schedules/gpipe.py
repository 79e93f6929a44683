"""GPipe: all micro-batches forward, then all of them backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from perfmodel.schedules.base import Schedule
from perfmodel.schedules.order import Action

__all__ = ["GPipe"]


class GPipe(Schedule):
    """Fill the pipeline, drain it, fill it backward, drain it: every micro-batch is alive at the turn.

    Examples
    --------
    >>> print(*GPipe(stages=2, micro_batches=3).actions(1))
    1F0 1F1 1F2 1B0 1B1 1B2
    """

    name: ClassVar[str] = "gpipe"
    aliases: ClassVar[tuple[str, ...]] = ("ScheduleGPipe", "fill-drain")
    reference: ClassVar[str] = "Huang et al. (2019), GPipe, arXiv:1811.06965"
    chunks_needed: ClassVar[int | None] = 1

    def order(self, rank: int) -> Iterator[Action]:
        """Micro-batches in the same order both ways."""
        for micro_batch in range(self.micro_batches):
            yield Action("F", rank, micro_batch)
        for micro_batch in range(self.micro_batches):
            yield Action("B", rank, micro_batch)
