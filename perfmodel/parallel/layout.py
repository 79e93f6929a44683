"""How a model is spread over devices: the degrees, and what goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from perfmodel.errors import Faults
from perfmodel.parallel.rules import RULES
from perfmodel.specs import Spec

if TYPE_CHECKING:
    from perfmodel.model import Model
    from perfmodel.workload import Training

__all__ = ["Parallel"]

Degree = Field(default=1, ge=1, le=10**7)
Hidden = Literal["tp", "cp", "dp", "pp"]


class Parallel(Spec):
    """Degrees of parallelism and what goes with them.

    Examples
    --------
    >>> Parallel(tp=8, pp=4, vpp=5).replica
    32
    """

    tp: int = Degree
    """Tensor-parallel degree: ranks that share every matrix [-]."""
    pp: int = Degree
    """Pipeline-parallel degree: stages [-]."""
    vpp: int = Degree
    """Model chunks a stage holds; more than 1 interleaves the pipeline [-]."""
    cp: int = Degree
    """Context-parallel degree: ranks that share a sequence [-]."""
    dp: int | None = Field(default=None, ge=1, le=10**7)
    """Data-parallel degree; None follows from the devices [-]."""
    micro_batch: int = Degree
    """Sequences of one pass on one device [-]."""
    sharding: Literal["none", "zero1", "zero2", "zero3"] = "zero1"
    """What the data-parallel ranks split: nothing, optimizer states, gradients too, weights too (FSDP)."""
    sequence_parallel: bool = False
    """Norms and residuals are split over the tensor-parallel ranks."""
    overlap: tuple[Hidden, ...] = ("dp", "pp", "cp")
    """Axes whose messages run beside compute where the schedule allows."""

    @property
    def replica(self) -> int:
        """Devices that hold one copy of the model and one sequence [-]."""
        return self.tp * self.pp * self.cp

    def on(self, devices: int) -> Parallel:
        """The layout on so many devices: dp follows.

        Parameters
        ----------
        devices : of the cluster [-]

        Returns
        -------
        the layout with dp set

        Raises
        ------
        InputError
            the degrees do not multiply to the devices
        """
        faults = Faults("Parallel")
        if devices % self.replica:
            near = max(devices // self.replica, 1) * self.replica
            faults.add(
                f"tp · pp · cp = {self.tp} · {self.pp} · {self.cp} = {self.replica} does not divide {devices} devices; "
                f"nearest: {near} devices"
            )
        elif self.dp is not None and self.dp != devices // self.replica:
            faults.add(
                f"tp · pp · cp · dp = {self.replica} · {self.dp} = {self.replica * self.dp}, but the cluster has "
                f"{devices} devices; dp = {devices // self.replica} fits, or leave dp out and it follows"
            )
        faults.raise_if_any()
        return self.replace(dp=devices // self.replica) if self.dp is None else self

    def check(self, model: Model, work: Training) -> None:
        """Refuse a layout that the model or the batch cannot be split by, all broken rules at once.

        Parameters
        ----------
        model, work : what is split

        Raises
        ------
        InputError
            one sentence a broken rule: the numbers, the valid choices, the nearest one
        """
        faults = Faults("Parallel")
        for rule in RULES:
            for sentence in rule(self, model, work):
                faults.add(sentence)
        faults.raise_if_any()

    def micro_batches(self, global_batch: Any) -> Any:
        """Passes of one optimizer step on each device [-]."""
        return global_batch / (self.dp * self.micro_batch)  # type: ignore[operator]  # dp is set by `on`
