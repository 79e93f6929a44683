"""The answer: times, memory, what limits it, and everything it was made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from perfmodel.costs import Costs, full_attention_flops
from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError, UnsupportedError, unknown
from perfmodel.estimation.answer import Answer
from perfmodel.estimation.timed import Timed
from perfmodel.formulas.training import model_flops_utilisation
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.ops import at_least
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["MEMORY_METRICS", "Memory", "TrainingEstimate"]


class Memory(NamedTuple):
    """Peak memory of one device on the worst pipeline stage, by kind.

    Parameters
    ----------
    stage : the worst stage: first, middle or last
    weights, gradients, optimizer : model states, exact [B]
    activations : kept for backward [B]
    buffers : alive for a moment [B]
    reused : gradients that come into being in the place of activations, and are not there at the peak [B]
    fragmentation : what the allocator holds beyond its tensors, as the efficiency declares it, as long as there is room
        for it [B]
    context, communication : driver and libraries, and buffers of the collectives, as declared [B]
    capacity : of the device [B]
    host, storage : what is offloaded to the host's memory, and to its storage [B]
    host_capacity : the share of one device in its host's memory; None is unknown [B]
    """

    stage: Any
    weights: Any
    gradients: Any
    optimizer: Any
    activations: Any
    buffers: Any
    reused: Any
    fragmentation: Any
    context: Any
    communication: Any
    capacity: Any
    host: Any = 0
    storage: Any = 0
    host_capacity: Any = None

    @property
    def states(self) -> Any:
        """Weights, gradients and optimizer: the exact part [B]."""
        return self.weights + self.gradients + self.optimizer

    @property
    def overhead(self) -> Any:
        """Context, buffers of the collectives and fragmentation, as the efficiency declares them [B]."""
        return self.context + self.communication + self.fragmentation

    @property
    def allocated(self) -> Any:
        """Tensors at the peak: what torch.cuda.max_memory_allocated tells [B]."""
        return self.states + self.activations + self.buffers - self.reused

    @property
    def reserved(self) -> Any:
        """What the caching allocator holds for them: what torch.cuda.max_memory_reserved tells [B]."""
        return self.allocated + self.fragmentation

    @property
    def device(self) -> Any:
        """What the process takes of the device: what nvidia-smi tells [B]."""
        return self.reserved + self.context + self.communication

    @property
    def total(self) -> Any:
        """Everything on the device [B]."""
        return self.device

    def measured_as(self, metric: str) -> Any:
        """The peak as a tool tells it.

        Parameters
        ----------
        metric : allocated, reserved or device

        Returns
        -------
        bytes [B]

        Raises
        ------
        UnknownNameError
            no such metric
        """
        if metric not in MEMORY_METRICS:
            raise unknown("memory metric", metric, MEMORY_METRICS)
        return getattr(self, metric)

    @property
    def fits(self) -> Any:
        """Within the device, and what is offloaded within the host where its size is known."""
        inside = at_least(self.capacity, self.total)
        return inside if self.host_capacity is None else inside & at_least(self.host_capacity, self.host)

    @property
    def by_kind(self) -> dict[str, Any]:
        """Every kind with its bytes at the peak; they add up to the total [B]."""
        kinds = ("weights", "gradients", "optimizer", "activations", "buffers", "overhead")
        return {kind: getattr(self, kind) for kind in kinds} | {"activations": self.activations - self.reused}


MEMORY_METRICS = ("allocated", "reserved", "device")
"""Ways in which tools tell the peak."""


@dataclass(frozen=True, repr=False)
class TrainingEstimate(Answer):
    """How long one optimizer step takes, what it needs, and what limits it."""

    kind: ClassVar[str] = "training"

    model: Model
    """What is trained."""
    work: Training
    """The step."""
    layout: Parallel
    """Degrees of parallelism, dp filled in."""
    cluster: Cluster
    """The machine."""
    efficiency: Efficiency
    """The fits in force."""
    costs: Costs
    """What was counted."""
    tree: Timed
    """The step as a tree of work with seconds."""
    memory: Memory
    """Peak memory of the worst stage."""
    peak: Any
    """Dense peak of one device in the number format of the products [FLOP/s]."""

    @property
    def step_time(self) -> Any:
        """Time of one optimizer step [s]."""
        return self.tree.seconds

    def step_time_range(self, level: float = 0.8) -> tuple[Any, Any]:
        """Where the measured time of such a step lies, so many times out of all.

        The band is that of the errors on comparable runs, which the constants were not fitted to: of the same
        software, or of all where the software is not known.

        Parameters
        ----------
        level : share of runs inside, between 0 and 1 [-]

        Returns
        -------
        lower and upper bound [s]

        Raises
        ------
        UnsupportedError
            the efficiency set in force has no errors of whole steps
        InputError
            the level is none

        Examples
        --------
        >>> import perfmodel as pm
        >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
        ...                   pm.Parallel(), pm.Cluster.load("dgx-h100"), software="nemo")
        >>> low, high = est.step_time_range(0.8)
        >>> low < est.step_time < high
        True
        """
        if not 0 < level < 1:
            raise InputError(f"level = {level} must lie between 0 and 1, such as 0.8")
        spread = self.efficiency.spread
        if spread is None:
            raise UnsupportedError(
                f"the efficiency set {self.efficiency.id} has no errors of whole steps; name a software"
            )
        low, high = (spread.quantile(0.5 + sign * level / 2) for sign in (1, -1))
        return self.step_time * math.exp(-low), self.step_time * math.exp(-high)

    @property
    def samples_per_second(self) -> Any:
        """Samples the whole job trains on each second: sequences, images, rows of a table [1/s]."""
        return self.costs.samples / self.step_time

    @property
    def samples_per_second_per_device(self) -> Any:
        """The same for one device [1/s]."""
        return self.samples_per_second / self.cluster.devices

    @property
    def tokens_per_second(self) -> Any:
        """Tokens of its own sequences that the whole job trains on each second; None for a model without [1/s]."""
        return None if self.costs.tokens is None else self.costs.tokens / self.step_time

    @property
    def tokens_per_second_per_device(self) -> Any:
        """The same for one device [1/s]."""
        return None if self.costs.tokens is None else self.tokens_per_second / self.cluster.devices

    def utilisation(self, convention: str = "causal") -> Any:
        """Model or hardware FLOPs over what the dense peak could do.

        Parameters
        ----------
        convention : "causal" (MFU, causal attention counted once), "palm" (MFU, full attention) or "hardware" (HFU,
            recomputation counted)

        Returns
        -------
        utilisation [-]
        """
        counted: dict[str, Callable[[], Any]] = {
            "causal": lambda: self.costs.model_flops,
            "palm": lambda: full_attention_flops(self.model, self.work, self.layout),
            "hardware": lambda: self.costs.hardware_flops,
        }
        if convention not in counted:
            raise UnsupportedError(f"convention = {convention!r} is not known; valid: {', '.join(counted)}")
        return model_flops_utilisation(
            flops=counted[convention](),
            devices=self.cluster.devices,
            peak=self.peak,
            step_time=self.step_time,
        )

    @property
    def mfu(self) -> Any:
        """Model FLOPs utilisation, causal attention counted once, recomputation not counted [-]."""
        return self.utilisation("causal")

    @property
    def hfu(self) -> Any:
        """Hardware FLOPs utilisation: recomputation counted [-]."""
        return self.utilisation("hardware")

    @property
    def fits(self) -> Any:
        """The worst stage fits into the device, and what is offloaded into its host."""
        return self.memory.fits
