"""Looped BFS: several chunks a rank, each run for all micro-batches before the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from perfmodel.schedules.base import Schedule
from perfmodel.schedules.order import Action

__all__ = ["LoopedBreadthFirst"]


class LoopedBreadthFirst(Schedule):
    """GPipe on a looped pipeline: the small bubble of interleaving, all micro-batches alive.

    Examples
    --------
    >>> print(*LoopedBreadthFirst(stages=2, micro_batches=2, chunks=2).actions(0))
    0F0 0F1 2F0 2F1 2B1 2B0 0B1 0B0
    """

    name: ClassVar[str] = "looped-bfs"
    aliases: ClassVar[tuple[str, ...]] = ("ScheduleLoopedBFS", "breadth-first")
    reference: ClassVar[str] = "Lamy-Poirier (2022), Breadth-First Pipeline Parallelism, arXiv:2211.05953"

    def order(self, rank: int) -> Iterator[Action]:
        """Chunk by chunk, and exactly the other way round backward, micro-batches included."""
        forward = [
            Action("F", chunk, micro_batch)
            for chunk in range(rank, self.model_chunks, self.stages)
            for micro_batch in range(self.micro_batches)
        ]
        yield from forward
        for _, chunk, micro_batch, _ in reversed(forward):
            yield Action("B", chunk, micro_batch)
