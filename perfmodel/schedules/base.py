"""What every schedule is: an order of actions that is found by name, timed, and asked what it keeps alive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from perfmodel.ops import Number
from perfmodel.schedules.critical import CriticalPath, critical_path
from perfmodel.schedules.live import live_chunks, peak_saved
from perfmodel.schedules.order import Order
from perfmodel.schedules.timing import Costs, PerChunk, Timing, timing

__all__ = ["Schedule"]


class Schedule(Order):
    """A pipeline schedule of a given shape; a subclass says `order` and `rules`, its `name` puts it into the table."""

    known: ClassVar[dict[str, type[Schedule]]] = {}
    """Every schedule by its name."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if cls.name:
            Schedule.known[cls.name] = cls

    def timing(
        self,
        *,
        forward: PerChunk = 1.0,
        backward: PerChunk = 2.0,
        weight: PerChunk | None = None,
        send: Number = 0.0,
        overlapped: PerChunk | None = None,
    ) -> Timing:
        """How long a step takes on this order of actions, to the last event.

        Parameters
        ----------
        forward, backward : one micro-batch through one chunk; backward in full [s]
        weight : the part of backward that computes gradients of weights, where a schedule splits it; None is half [s]
        send : handing a micro-batch to another rank; it delays the receiver, and keeps no rank busy [s]
        overlapped : a forward and a backward that the schedule runs as one, by the chunk of the forward; None runs them
            one after the other [s]

        Returns
        -------
        makespan, idle times and bubble fractions; of the shape of the configurations, where arrays are given

        Examples
        --------
        >>> from perfmodel.schedules import schedule
        >>> schedule("1f1b", stages=4, micro_batches=8).timing(forward=1.0, backward=2.0).makespan
        33.0
        >>> import numpy as np
        >>> schedule("zbv", stages=2, micro_batches=4).timing(backward=np.array([2.0, 3.0])).makespan
        array([25. , 33.5])
        """
        given = {
            "forward": forward,
            "backward": backward,
            "weight": weight,
            "send": send,
            "overlapped": overlapped,
        }
        return timing(self, Costs.of(self, given))

    def critical_path(
        self, *, forward: PerChunk, backward: PerChunk, weight: PerChunk, send: Number
    ) -> CriticalPath:
        """The chain of passes and messages that takes as long as the step.

        Parameters
        ----------
        forward, backward, weight, send : as in `timing` [s]

        Returns
        -------
        how often each cost stands on it

        Examples
        --------
        >>> from perfmodel.schedules import schedule
        >>> plan = schedule("gpipe", stages=2, micro_batches=4)
        >>> plan.critical_path(forward=1.0, backward=2.0, weight=1.0, send=0.0).forward
        (1.0, 4.0)
        """
        return critical_path(self, forward=forward, backward=backward, weight=weight, send=send)

    @classmethod
    def live(cls, *, rank: Number, stages: Number, micro_batches: Number, chunks: Number) -> Any:
        """Passes that a rank holds at its peak, in closed form for any kind of number; None where only the order tells.

        Parameters
        ----------
        rank : counted from 0 [-]
        stages, micro_batches, chunks : the shape [-]

        Returns
        -------
        passes alive at the rank's peak [-]
        """
        return None

    @property
    def live_chunks(self) -> tuple[int, ...]:
        """Passes (micro-batch × chunk) whose activations each rank holds at its peak, from F to the end of B or W [-].

        Examples
        --------
        >>> from perfmodel.schedules import schedule
        >>> schedule("1f1b", stages=4, micro_batches=8).live_chunks
        (4, 3, 2, 1)
        """
        shape = {"stages": self.stages, "micro_batches": self.micro_batches, "chunks": self.chunks}
        found = [self.live(rank=rank, **shape) for rank in self.ranks]
        return live_chunks(self) if None in found else tuple(int(each) for each in found)

    @property
    def live_micro_batches(self) -> tuple[float, ...]:
        """The same in micro-batches of a whole rank: a chunk counts 1 / chunks [-]."""
        return tuple(live / self.chunks for live in self.live_chunks)

    def peak_saved(self, saved: Sequence[Number]) -> tuple[Any, ...]:
        """The most that each rank keeps for backward at once.

        Parameters
        ----------
        saved : what one micro-batch leaves in each chunk of the model, numbers or arrays [B]

        Returns
        -------
        one number a rank [B]
        """
        return peak_saved(self, saved)
