"""The answer to a batch of inference: prefill, decode, what fits, and what limits each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from perfmodel.costs.inference import InferenceCosts
from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.estimation.answer import Answer, Limiter, limiter_of
from perfmodel.estimation.recipes import as_served, recipe_of
from perfmodel.estimation.timed import Timed
from perfmodel.formulas.inference import model_bandwidth_utilisation
from perfmodel.formulas.training import model_flops_utilisation
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.ops import at_least, floor, maximum
from perfmodel.parallel import Parallel
from perfmodel.workload import Inference

__all__ = ["InferenceEstimate", "InferenceMemory", "band"]


class InferenceMemory(NamedTuple):
    """Memory of one device on the fullest pipeline stage, by kind.

    Parameters
    ----------
    stage : the fullest stage: first, middle or last
    weights : in their stored formats, exact [B]
    cache : keys and values, and recurrent states, of all sequences at their longest [B]
    activations : alive for a moment in the largest pass [B]
    context, communication : driver, libraries and workspaces, and buffers of the collectives, as declared [B]
    capacity : of the device [B]
    share : of it, what the engine takes [-]
    cache_share : of what is left of that beside the model, what the cache may take [-]
    sequences : in the cache of one replica [-]
    per_sequence, per_token : of the cache, for one sequence, and for one more token of it [B]
    """

    stage: Any
    weights: Any
    cache: Any
    activations: Any
    context: Any
    communication: Any
    capacity: Any
    share: Any
    cache_share: Any
    sequences: Any
    per_sequence: Any
    per_token: Any

    @property
    def overhead(self) -> Any:
        """Context and buffers of the collectives [B]."""
        return self.context + self.communication

    @property
    def total(self) -> Any:
        """Everything on the device [B]."""
        return self.weights + self.cache + self.activations + self.overhead

    @property
    def available(self) -> Any:
        """What the engine may take of the device, less what it leaves free beside a cache of this size [B]."""
        return self.share * self.capacity - self.cache * (1 / self.cache_share - 1)

    @property
    def room(self) -> Any:
        """What the engine gives its cache; below 0, what is missing without any [B]."""
        return self.cache_share * (self.share * self.capacity - (self.total - self.cache))

    @property
    def fits(self) -> Any:
        """Within what the engine may take."""
        return at_least(self.available, self.total)

    @property
    def free(self) -> Any:
        """What is left for a larger cache; below 0, what is missing [B]."""
        return self.room - self.cache

    @property
    def most_sequences(self) -> Any:
        """Sequences of this length for which one replica's cache has room [-]."""
        return floor(maximum(self.room, 0.0) / maximum(self.per_sequence, 1.0))

    @property
    def more_tokens(self) -> Any:
        """Tokens by which each sequence may still grow; below 0, by which it is too long [-]."""
        return floor(self.free / maximum(self.sequences * self.per_token, 1e-9))

    @property
    def by_kind(self) -> dict[str, Any]:
        """Every kind with its bytes; they add up to the total [B]."""
        return {kind: getattr(self, kind) for kind in ("weights", "cache", "activations", "overhead")}


def band(efficiency: Efficiency, seconds: Any, level: float) -> tuple[Any, Any]:
    """Where the measured time lies, so many times out of all, by the errors on comparable runs.

    Parameters
    ----------
    efficiency : the set in force, with its errors
    seconds : predicted [s]
    level : share of runs inside, between 0 and 1 [-]

    Raises
    ------
    UnsupportedError
        the efficiency set in force has no errors of whole runs
    InputError
        the level is none
    """
    if not 0 < level < 1:
        raise InputError(f"level = {level} must lie between 0 and 1, such as 0.8")
    spread = efficiency.spread
    if spread is None:
        raise UnsupportedError(
            f"the efficiency set {efficiency.id} has no errors of whole runs; name a software"
        )
    low, high = (spread.quantile(0.5 + sign * level / 2) for sign in (1, -1))
    return seconds * math.exp(-low), seconds * math.exp(-high)


@dataclass(frozen=True, repr=False)
class InferenceEstimate(Answer):
    """How long a batch takes from its prompts to its last tokens, what it needs, and what limits it."""

    kind: ClassVar[str] = "inference"

    model: Model
    """What is run."""
    work: Inference
    """The batch."""
    layout: Parallel
    """Degrees of parallelism, dp filled in."""
    cluster: Cluster
    """The machine."""
    efficiency: Efficiency
    """The fits in force."""
    costs: InferenceCosts
    """What was counted."""
    tree: Timed
    """Prefill and all steps of decode, as often as there are waves, as a tree of work with seconds."""
    prefill: Timed | None
    """The prompts that run together; None where decode begins with an empty context."""
    decode: Timed | None
    """One step at the mean context; None where no token follows."""
    waves: Any
    """Parts of the batch that run one after the other, as large as the cache has room for; 1 where all of it runs
    together [-]."""
    memory: InferenceMemory
    """Memory of the fullest stage, with the sequences that run together."""
    peak: Any
    """Dense peak of one device in the number format of the products [FLOP/s]."""

    @property
    def as_run(self) -> Inference:
        """The batch as the engine runs it: what it leaves open, such as kernels and chunks of prompts, is filled in."""
        return as_served(self.model, self.work, self.cluster.device, recipe_of(self.efficiency))

    @property
    def sequences_together(self) -> Any:
        """Sequences that run together on one replica [-]."""
        return self.memory.sequences

    @property
    def prefill_time(self) -> Any:
        """Time until every sequence of those that run together has its first token [s]."""
        return 0.0 if self.prefill is None else self.prefill.seconds

    @property
    def ttft(self) -> Any:
        """Mean time to the first token of a batch that begins at once: `prefill_time`, after earlier waves [s]."""
        return self.prefill_time + (self.waves - 1) / 2 * (self.latency / self.waves)

    @property
    def decode_time(self) -> Any:
        """Time of one step of decode, one token a sequence, mean over the output [s]."""
        return 0.0 if self.decode is None else self.decode.seconds

    @property
    def tpot(self) -> Any:
        """Time of each further token of a sequence: `decode_time`, over the tokens that a step brings [s]."""
        return self.decode_time / self.work.tokens_per_step

    @property
    def latency(self) -> Any:
        """Time from the prompts to the last tokens [s]."""
        return self.tree.seconds

    @property
    def output_tokens_per_second(self) -> Any:
        """Tokens that all replicas generate each second [1/s]."""
        return self.work.batch * self.work.output_length / self.latency

    @property
    def output_tokens_per_second_per_device(self) -> Any:
        """The same for one device [1/s]."""
        return self.output_tokens_per_second / self.cluster.devices

    @property
    def total_tokens_per_second(self) -> Any:
        """Tokens read and generated each second [1/s]."""
        return self.work.batch * ((self.work.input_length or 0) + self.work.output_length) / self.latency

    @property
    def samples_per_second(self) -> Any:
        """Sequences or images each second [1/s]."""
        return self.work.batch / self.latency

    @property
    def mfu(self) -> Any:
        """Model FLOPs of the whole batch over what the dense peak could do [-]."""
        done = self.costs.prefill_flops + self.costs.steps * self.costs.decode_flops
        return self._utilisation(self.waves * done, self.latency)

    @property
    def prefill_mfu(self) -> Any:
        """Model FLOPs of prefill over what the dense peak could do in its time [-]."""
        return 0.0 if self.prefill is None else self._utilisation(self.costs.prefill_flops, self.prefill_time)

    def _utilisation(self, done: Any, time: Any) -> Any:
        return model_flops_utilisation(
            flops=done, devices=self.cluster.devices, peak=self.peak, step_time=time
        )

    @property
    def mbu(self) -> Any:
        """Weights and cache that a step of decode reads over what the memory could deliver meanwhile [-]."""
        if self.decode is None:
            return 0.0
        bandwidth = self.cluster.device.memory_bandwidth
        return model_bandwidth_utilisation(held=self.costs.held, bandwidth=bandwidth, time=self.decode_time)

    @property
    def fits(self) -> Any:
        """The fullest stage fits into what the engine may take of a device."""
        return self.memory.fits

    @cached_property
    def limiters(self) -> dict[str, Limiter]:
        """What limits prefill, and a step of decode."""
        phases = {"prefill": self.prefill, "decode": self.decode}
        return {name: limiter_of(phase) for name, phase in phases.items() if phase is not None}

    def latency_range(self, level: float = 0.8) -> tuple[Any, Any]:
        """Where the measured latency of such a batch lies, so many times out of all.

        Parameters
        ----------
        level : share of runs inside, between 0 and 1 [-]

        Returns
        -------
        lower and upper bound [s]
        """
        return band(self.efficiency, self.latency, level)
