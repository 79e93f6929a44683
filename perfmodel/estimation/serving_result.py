"""The answer to a load of requests: how long users wait, how much is served, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, NamedTuple

from perfmodel.costs.serving import ServingCosts
from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError
from perfmodel.estimation.answer import Answer
from perfmodel.estimation.inference_result import InferenceMemory, band
from perfmodel.estimation.recipes import as_served, recipe_of
from perfmodel.estimation.timed import Timed
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.ops import at_least, log, maximum, minimum, sqrt
from perfmodel.parallel import Parallel
from perfmodel.workload import Serving

__all__ = ["ServingEstimate", "SteadyState"]


class SteadyState(NamedTuple):
    """A replica in its steady state.

    Parameters
    ----------
    batch : sequences that decode together, on average [-]
    most : that can, by memory and scheduler [-]
    rate : requests answered each second [1/s]
    step : time of a step of decode, what prompts of others add to it included [s]
    fixed, slope : of that time, what does not depend on the batch, and what each sequence adds [s]
    prompt : time that each prompt takes from the others [s]
    prefill : time of a request's own prompt [s]
    waits : before it, for others' prompts, for room, or for its turn in the first burst [s]
    burst : mean wait of those requests that begin at once [s]
    busy : share of the time that prompts take [-]
    """

    batch: Any
    most: Any
    rate: Any
    step: Any
    fixed: Any
    slope: Any
    prompt: Any
    prefill: Any
    waits: Any
    burst: Any
    busy: Any


@dataclass(frozen=True, repr=False)
class ServingEstimate(Answer):
    """How requests are served: time to the first token, time of each further one, throughput, and what limits them."""

    kind: ClassVar[str] = "serving"

    model: Model
    """What is run."""
    work: Serving
    """The requests."""
    layout: Parallel
    """Degrees of parallelism, dp filled in."""
    cluster: Cluster
    """The machine."""
    efficiency: Efficiency
    """The fits in force."""
    costs: ServingCosts
    """What was counted."""
    tree: Timed
    """One request from its arrival to its last token, as a tree of work with seconds."""
    state: SteadyState
    """One replica in its steady state."""
    memory: InferenceMemory
    """Memory of the fullest stage, its cache as full as it gets."""
    peak: Any
    """Dense peak of one device in the number format of the products [FLOP/s]."""

    @property
    def as_run(self) -> Serving:
        """The load as the engine runs it: what it leaves open, such as kernels and chunks of prompts, is filled in."""
        return as_served(self.model, self.work, self.cluster.device, recipe_of(self.efficiency))

    @property
    def replicas(self) -> Any:
        """Replicas that decode [-]."""
        return self.layout.dp - self.work.prefill_replicas  # type: ignore[operator]  # dp is set

    @property
    def ttft(self) -> Any:
        """Mean time to the first token [s]."""
        return self.state.waits + self.state.prefill

    @property
    def tpot(self) -> Any:
        """Mean time of each further token of a request [s]."""
        return self.state.step / self.work.tokens_per_step if self.work.decoded else 0.0

    @property
    def latency(self) -> Any:
        """Mean time from a request's arrival to its last token [s]."""
        return self.tree.seconds

    @property
    def requests_per_second(self) -> Any:
        """Requests that all replicas answer each second [1/s]."""
        return self.state.rate * self.replicas

    @property
    def output_tokens_per_second(self) -> Any:
        """Tokens that all replicas generate each second [1/s]."""
        return self.requests_per_second * self.work.output_length

    @property
    def total_tokens_per_second(self) -> Any:
        """Tokens of prompts and answers each second [1/s]."""
        return self.requests_per_second * ((self.work.input_length or 0) + self.work.output_length)

    @property
    def samples_per_second(self) -> Any:
        """Requests each second: `requests_per_second` [1/s]."""
        return self.requests_per_second

    @property
    def output_tokens_per_second_per_device(self) -> Any:
        """The same for one device [1/s]."""
        return self.output_tokens_per_second / self.cluster.devices

    @property
    def batch(self) -> Any:
        """Sequences that decode together on one replica, on average [-]."""
        return self.state.batch

    @property
    def max_concurrency(self) -> Any:
        """Sequences for which all replicas have room, by memory and scheduler [-]."""
        return self.state.most * self.replicas

    @property
    def fits(self) -> Any:
        """There is room for the model and at least one sequence on every replica."""
        return at_least(self.memory.room, self.memory.per_sequence)

    def ttft_percentile(self, percent: float) -> Any:
        """Time to the first token that so many requests in a hundred do not exceed.

        Waits of random arrivals fall off exponentially; those of a first burst are spread evenly.

        Parameters
        ----------
        percent : between 0 and 100, such as 99

        Returns
        -------
        time [s]
        """
        beyond, state = 1 - _share(percent), self.state
        if self.work.load == "open loop":
            tail = state.waits / maximum(state.busy, 1e-9) * log(maximum(state.busy / beyond, 1.0))
            return state.prefill + tail
        if self.work.requests_per_user is None:
            return self.ttft
        steady = self.ttft - state.burst / self.work.requests_per_user
        late = minimum(1 - beyond * self.work.requests_per_user, 1.0)
        return steady + maximum(late, 0.0) * 2 * state.burst

    def tpot_percentile(self, percent: float) -> Any:
        """Time of a token that so many steps in a hundred do not exceed.

        Under random arrivals the running batch is Poisson distributed; in a closed loop it is always the same.

        Parameters
        ----------
        percent : between 0 and 100, such as 99

        Returns
        -------
        time [s]
        """
        share = _share(percent)
        if self.work.load != "open loop":
            return self.tpot
        more = NormalDist().inv_cdf(share) * sqrt(self.state.batch)
        longest = self.state.step + more * self.state.slope
        return maximum(longest, self.state.fixed) / self.work.tokens_per_step

    def latency_range(self, level: float = 0.8) -> tuple[Any, Any]:
        """Where the measured mean latency lies, so many times out of all.

        Parameters
        ----------
        level : share of runs inside, between 0 and 1 [-]

        Returns
        -------
        lower and upper bound [s]
        """
        return band(self.efficiency, self.latency, level)


def _share(percent: float) -> float:
    if not 0 < percent < 100:
        raise InputError(f"percent = {percent} must lie between 0 and 100, such as 99")
    return percent / 100
