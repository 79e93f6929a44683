"""The order of actions: the shape of a schedule, the rules that shape obeys, and what each rank computes when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from perfmodel.errors import Faults, InputError
from perfmodel.specs import Spec

__all__ = ["Action", "Kind", "Order", "nearest", "overlapping"]

Kind = Literal["F", "B", "I", "W"]
"""Forward; backward in full; the two halves of a split backward: gradients of the input, gradients of the weights."""

Count = Field(ge=1, le=10**7)


class Action(NamedTuple):
    """One pass of one micro-batch through one model chunk, printed as torch does: chunk, kind, micro-batch.

    Parameters
    ----------
    kind : F forward, B backward in full, I backward for the input, W backward for the weights
    chunk : of the whole model, counted from 0 at its input (torch calls it a stage) [-]
    micro_batch : counted from 0 [-]
    overlapped : one of two neighbours, a forward and a backward, that a rank may run as one

    Examples
    --------
    >>> print(Action("F", 3, 0))
    3F0
    """

    kind: Kind
    chunk: int
    micro_batch: int
    overlapped: bool = False

    def __str__(self) -> str:
        return f"{self.chunk}{self.kind}{self.micro_batch}"


class Order(Spec):
    """Who computes what in which order, for a pipeline of a given shape."""

    name: ClassVar[str] = ""
    """The field's name for it."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names it is found by, torch's class first."""
    reference: ClassVar[str] = ""
    """Who published it."""
    chunks_needed: ClassVar[int | None] = None
    """Chunks a rank must hold, where the schedule knows no other number [-]."""

    stages: int = Count
    """Pipeline-parallel degree: ranks that share the model [-]."""
    micro_batches: int = Count
    """Passes of one optimizer step [-]."""
    chunks: int = Field(default=1, ge=1, le=10**4)
    """Model chunks that one rank holds [-]."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a shape that breaks the schedule's rules, all at once."""
        faults = Faults(self.name)
        needed = self.chunks_needed
        if needed is not None and self.chunks != needed:
            faults.add(f"chunks = {self.chunks}, and each rank holds exactly {needed}; valid: {needed}")
        for sentence in self.rules():
            faults.add(sentence)
        faults.raise_if_any()

    # --- what a schedule says -----------------------------------------------------------------------------------

    def order(self, rank: int) -> Iterable[Action]:
        """What a rank computes, in order; waiting is not part of it."""
        raise NotImplementedError

    def rules(self) -> Iterator[str]:
        """A sentence for each broken rule: the numbers, the valid choices, the nearest one."""
        yield from ()

    def rank_of(self, chunk: int) -> int:
        """The rank that holds a model chunk: round and round, unless a schedule folds the model differently [-]."""
        return chunk % self.stages

    # --- what everyone asks -------------------------------------------------------------------------------------

    @property
    def ranks(self) -> range:
        """The ranks, counted from 0 at the model's input."""
        return range(self.stages)

    @property
    def model_chunks(self) -> int:
        """Chunks of the whole model: stages · chunks [-]."""
        return self.stages * self.chunks

    def chunks_of(self, rank: int) -> tuple[int, ...]:
        """The model chunks that a rank holds, from input to output."""
        self._check_rank(rank)
        return tuple(chunk for chunk in range(self.model_chunks) if self.rank_of(chunk) == rank)

    def actions(self, rank: int) -> tuple[Action, ...]:
        """What a rank computes, in order.

        Parameters
        ----------
        rank : counted from 0 [-]

        Returns
        -------
        the actions
        """
        self._check_rank(rank)
        return tuple(self.order(rank))

    def _check_rank(self, rank: int) -> None:
        if rank not in self.ranks:
            near = min(max(rank, 0), self.stages - 1)
            raise InputError(
                f"rank {rank} is not of this pipeline; valid: 0 to {self.stages - 1}; nearest: {near}"
            )


def overlapping(first: Action, second: Action) -> tuple[Action, Action]:
    """Two neighbours that a rank may run as one."""
    return first._replace(overlapped=True), second._replace(overlapped=True)


def nearest(value: int, fits: Iterable[int]) -> int:
    """The number that lies closest to a value, the smaller one of two."""
    return min(fits, key=lambda number: (abs(number - value), number))
