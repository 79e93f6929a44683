"""DualPipeV: the folded pipeline of ZB-V, run so that a forward and a backward can hide each other's messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar

from perfmodel.ops import Number
from perfmodel.schedules.order import Action, Kind, overlapping
from perfmodel.schedules.zbv import Folded

__all__ = ["DualPipeV"]


class DualPipeV(Folded):
    """DualPipe of DeepSeek-V3 cut in half: one copy of the weights, as many micro-batches as it has chunks or more.

    Examples
    --------
    >>> print(*DualPipeV(stages=2, micro_batches=4).actions(0))
    0F0 0F1 0F2 3F0 3I0 3W0 3F1 0F3 3B1 3F2 0B0 3B2 3F3 0B1 3B3 0I2 0W2 0I3 0W3
    """

    name: ClassVar[str] = "dualpipev"
    aliases: ClassVar[tuple[str, ...]] = ("ScheduleDualPipeV", "dualpipe-v", "cut-in-half")
    reference: ClassVar[str] = (
        "DeepSeek-AI (2024), DeepSeek-V3 Technical Report, arXiv:2412.19437; github.com/deepseek-ai/DualPipe"
    )

    def rules(self) -> Iterator[str]:
        """The V must be filled in both directions."""
        if self.micro_batches < self.model_chunks:
            yield (f"micro_batches = {self.micro_batches} cannot fill stages · chunks = {self.model_chunks}; valid: "
                   f"{self.model_chunks} or more; nearest: {self.model_chunks}")  # fmt: skip

    @classmethod
    def live(cls, *, rank: Number, stages: Number, micro_batches: Number, chunks: Number) -> Any:
        """A V's worth of passes, and one more beside a backward [-].

        Parameters
        ----------
        rank, stages, micro_batches, chunks : as of `Schedule.live`

        Examples
        --------
        >>> DualPipeV(stages=2, micro_batches=4).live_chunks
        (5, 5)
        """
        return 2 * stages + 1

    def order(self, rank: int) -> Iterator[Action]:
        """Eight steps, as its authors number them."""
        return _Writer(self, rank).steps()


class _Writer:
    """Writes one rank's order: counts micro-batches up, and remembers which gradients of weights are still owed.

    Parameters
    ----------
    shape : of the schedule
    rank : whose order it is [-]
    """

    def __init__(self, shape: DualPipeV, rank: int) -> None:
        self.rank, self.left = rank, shape.stages - 1 - rank
        self.main = shape.micro_batches - shape.model_chunks + rank + 1
        self.chunks = (rank, shape.model_chunks - 1 - rank)
        self.counters = {(kind, way): count() for kind in ("F", "B") for way in (0, 1)}
        self.owed: deque[Action] = deque()

    def act(self, kind: Kind, way: int) -> Action:
        """The next action of a kind on the way down (0) or up (1); both kinds of backward share one count."""
        micro_batch = next(self.counters["F" if kind == "F" else "B", way])
        if kind == "I":
            self.owed.append(Action("W", self.chunks[way], micro_batch))
        return Action(kind, self.chunks[way], micro_batch)

    def weights(self) -> Iterator[Action]:
        """The oldest gradients of weights that are owed, if any are."""
        if self.owed:
            yield self.owed.popleft()

    def steps(self) -> Iterator[Action]:
        """All eight steps."""
        yield from self.filling()
        yield from self.turning()
        yield from self.draining()

    def filling(self) -> Iterator[Action]:
        """Steps 1 to 3: down; down and up; up, with a split backward between."""
        for _ in range(2 * self.left):
            yield self.act("F", 0)
        for _ in range(self.rank + 1):
            yield self.act("F", 0)
            yield self.act("F", 1)
        for _ in range(self.left):
            yield self.act("I", 1)
            yield from self.weights()
            yield self.act("F", 1)

    def turning(self) -> Iterator[Action]:
        """Steps 4 and 5: a forward one way beside a backward the other way, then those without a forward left."""
        for step in range(self.main):
            pair = self.act("F", 0), self.act("B", 1)
            yield from pair if step == 0 and self.left == 0 else overlapping(*pair)
            yield from overlapping(self.act("F", 1), self.act("B", 0))
        for _ in range(self.left):
            yield self.act("B", 1)
            yield from overlapping(self.act("F", 1), self.act("B", 0))

    def draining(self) -> Iterator[Action]:
        """Steps 6 to 8: backward in full, from half-way on split, so that weights' gradients fill the end."""
        whole = self.rank + 1
        for step in range(2 * whole):
            yield self.act("I" if step >= whole else "B", 1 - step % 2)
        for _ in range(self.left):
            yield from self.weights()
            yield self.act("I", 0)
        for _ in range(whole):
            yield from self.weights()
