"""Requests on a machine: passes timed, the running batch solved for, waits added."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from perfmodel.costs.serving import ServingCosts
from perfmodel.efficiency import Efficiency, EngineRecipe
from perfmodel.errors import InputError
from perfmodel.estimation.inference import check_formats, fullest, timed_pass
from perfmodel.estimation.inference_result import InferenceMemory
from perfmodel.estimation.machine import machine
from perfmodel.estimation.recipes import as_served, recipe_of
from perfmodel.estimation.serving_result import ServingEstimate, SteadyState
from perfmodel.estimation.timed import Timed, repeated, series
from perfmodel.estimation.timing import Clock
from perfmodel.formulas.queueing import (
    closed_loop_batch,
    gated_wait,
    mean_burst_wait,
    open_loop_batch,
    sakasegawa_wait,
)
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.ops import certain, exp, greater, maximum, minimum, where
from perfmodel.parallel import Parallel
from perfmodel.units import show
from perfmodel.workload import Serving

__all__ = ["estimate_serving"]

HALVINGS = 24
"""Of the interval in which the running batch of a closed loop lies [-]."""
ROUNDS = 3
"""Times that the line through a step's time is drawn anew around the batch found with the last one [-]."""


def estimate_serving(
    model: Model, work: Serving, layout: Parallel, cluster: Cluster, efficiency: Efficiency
) -> ServingEstimate:
    """Predict how requests are served.

    Parameters
    ----------
    model, work, layout : what is run, dp set and rules checked
    cluster : on what
    efficiency : the fits in force

    Returns
    -------
    the estimate

    Raises
    ------
    InputError
        more requests arrive than can be answered, or no replica is left to decode
    """
    replica = _Replica.of(model, work, layout, cluster, efficiency)
    state = replica.steady_state()
    room = replica.memory
    cache = minimum(state.batch, room.most_sequences) * room.per_sequence
    return ServingEstimate(
        model=model,
        work=work,
        layout=layout,
        cluster=cluster,
        efficiency=efficiency,
        costs=replica.costs,
        tree=replica.request(state),
        state=state,
        memory=room._replace(cache=cache, sequences=state.batch),
        peak=replica.clock.rates.peak[replica.costs.prompt.dtype],
    )


class _Line(NamedTuple):
    """A step's time as a straight line in the batch: fixed and slope [s], and what a prompt takes from others [s]."""

    fixed: Any
    slope: Any
    prompt: Any


@dataclass(frozen=True)
class _Replica:
    """One replica: its passes as seconds, and how many sequences it has room for."""

    costs: ServingCosts
    clock: Clock
    recipe: EngineRecipe

    @classmethod
    def of(
        cls, model: Model, work: Serving, layout: Parallel, cluster: Cluster, efficiency: Efficiency
    ) -> _Replica:
        check_formats(work, cluster.device)
        recipe = recipe_of(efficiency)
        served = as_served(model, work, cluster.device, recipe)
        costs = ServingCosts(model, served, layout, layout.pp if recipe.pipelined else 1)
        p = costs.prompt
        rates = machine(cluster, efficiency, (p.dtype, p.core_dtype))
        if work.prefill_replicas >= layout.dp:  # type: ignore[operator]  # dp is set
            raise InputError(
                f"prefill_replicas = {work.prefill_replicas} of dp = {layout.dp} leave none to decode; nearest: "
                f"prefill_replicas = {max((layout.dp or 1) - 1, 0)}"
            )
        return cls(costs, Clock(rates, costs.groups), recipe)

    @property
    def work(self) -> Serving:
        """The requests."""
        return self.costs.work

    @cached_property
    def share_tokens(self) -> Any:
        """Most tokens of one pass [-]."""
        return self.work.prefill_tokens or self.recipe.prefill_tokens

    @cached_property
    def chunked(self) -> bool:
        """Prompts share passes with decode."""
        return self.recipe.chunked if self.work.chunked is None else self.work.chunked

    @cached_property
    def memory(self) -> InferenceMemory:
        """Of the fullest stage, with an empty cache."""
        context = self.work.longest if self.recipe.reserves_output else self.work.context
        whole = self.share_tokens if self.chunked else maximum(self.share_tokens, self.costs.computed)
        tokens = minimum(whole, self.costs.computed * self._most_allowed)
        stages = self.costs.memory(tokens=tokens, context=context, reserved=self.recipe.keeps_all)
        rates = self.clock.rates
        limits = (rates.capacity, rates.efficiency.overhead, self.recipe)
        return fullest(stages, self.clock.groups, *limits, sequences=0.0)

    @property
    def _most_allowed(self) -> Any:
        return self.work.most_sequences or self.recipe.most_sequences

    @cached_property
    def most(self) -> Any:
        """Sequences that can decode together; at least one, as if it fitted [-]."""
        return maximum(minimum(self.memory.most_sequences, self._most_allowed), 1.0)

    @property
    def stages(self) -> Any:
        """Pipeline stages that work at once [-]."""
        return self.costs.in_flight

    @property
    def captured(self) -> bool:
        """Steps of decode are launched as a whole."""
        return self.recipe.graphs if self.work.graphs is None else self.work.graphs

    @cached_property
    def steps(self) -> Any:
        """Steps of decode of a request, a trace where there are none [-]."""
        return maximum(self.work.steps, 1e-9)

    def slope(self, line: _Line) -> Any:
        """Time that each sequence adds to a step, its prompt shared out over its steps [s]."""
        return line.slope + line.prompt / self.steps

    def shared_step(self, line: _Line, batch: Any) -> Any:
        """A step of decode with what prompts of others add to it [s]."""
        return line.fixed + self.slope(line) * batch

    def step(self, sequences: Any) -> Timed:
        """A step of decode."""
        work = self.costs.step(sequences)
        return timed_pass(work, self.clock, captured=self.captured, hosts=self.stages, sequences=sequences)

    @cached_property
    def floor(self) -> Any:
        """A pass of next to nothing, whose weights and launches prompts share with a step of decode [s]."""
        empty = self.costs.step(1.0, 1.0)
        return timed_pass(empty, self.clock, captured=self.captured, hosts=self.stages).seconds

    def prompts(self, number: Any) -> Timed:
        """A pass of prompts alone; equal ones are timed once."""
        for known, timed in self._timed_prompts:
            if certain(known == number):
                return timed
        timed = timed_pass(
            self.costs.prompts(number), self.clock, captured=False, hosts=self.stages, sequences=number
        )
        self._timed_prompts.append((number, timed))
        return timed

    @cached_property
    def _timed_prompts(self) -> list[tuple[Any, Timed]]:
        return []

    @cached_property
    def most_together(self) -> Any:
        """Prompts that one pass has room for [-]."""
        return maximum(self.share_tokens / self.costs.computed, 1.0)

    def together(self, batch: Any) -> Any:
        """Prompts that share a pass: as many as come during a step, as far as the pass goes [-]."""
        return minimum(maximum(batch / maximum(self.work.steps, 1.0), 1.0), self.most_together)

    def line(self, batch: Any) -> _Line:
        """A step's time around a batch, and what each prompt takes from those that decode."""
        high, low = maximum(batch, 1.0), maximum(batch / 2, 0.5)
        longer, shorter = self.step(high).seconds, self.step(low).seconds
        slope = maximum((longer - shorter) / (high - low), 0.0)
        number = self.together(high)
        alone = self.prompts(number).seconds
        prompt = maximum(alone - self.floor, 0.0) / number if self.chunked else alone / number
        prompt = prompt / self.stages  # the other stages work on others meanwhile
        if self.work.prefill_replicas:
            prompt = prompt * 0.0
        return _Line(longer - slope * high, slope, prompt)

    def steady_state(self) -> SteadyState:
        """The batch that the load brings about, and what it means for everyone."""
        batch = self.most if self.users is None else minimum(self.users, self.most)
        for _ in range(ROUNDS):
            line = self.line(batch)
            batch = maximum(minimum(self.batch(line), self.fed(line)), 1e-6)
        slope, step = self.slope(line), self.shared_step(line, batch)
        rate = batch / (self.steps * step)
        if self.work.decoded == 0:
            rate = 1 / maximum(self.own(line, batch), 1e-300)
        if self.work.request_rate is not None:
            rate = self.work.request_rate / self.replicas
        waits, burst = self.waits(line, batch, rate)
        return SteadyState(
            batch=batch,
            most=self.most,
            rate=rate,
            step=step,
            fixed=line.fixed,
            slope=slope,
            prompt=line.prompt,
            prefill=self.own(line, batch),
            waits=waits,
            burst=burst,
            busy=rate * line.prompt,
        )

    @property
    def replicas(self) -> Any:
        """Replicas that decode [-]."""
        return self.costs.layout.dp - self.work.prefill_replicas  # type: ignore[operator]  # dp is set

    @cached_property
    def users(self) -> Any:
        """Users of one replica in a closed loop; None where there are none [-]."""
        return None if self.work.concurrency is None else self.work.concurrency / self.replicas

    def own(self, line: _Line, batch: Any) -> Any:
        """Time of a request's own prompt: a pass, and the decode that shares it [s]."""
        alone = self.prompts(1.0).seconds
        host = self.request_time + self.handed_over
        if not self.chunked or self.work.prefill_replicas:
            return alone + host
        beside = line.slope * batch * maximum(self.costs.computed / self.share_tokens, 1.0)
        return alone + beside + host

    @property
    def request_time(self) -> Any:
        """The host's time for each request [s]."""
        return self.clock.rates.efficiency.host.request

    @cached_property
    def handed_over(self) -> Any:
        """Time of a prompt's cache from a replica that prefills to one that decodes, over the outermost link [s]."""
        if not self.work.prefill_replicas:
            return 0.0
        tier = self.clock.rates.tiers[-1]
        sent = self.memory.per_token * self.costs.prompt.keys
        return tier.fit.start + sent / (tier.fit.send * tier.bandwidth)

    def batch(self, line: _Line) -> Any:
        """Sequences that decode together under the load."""
        steps, slope = self.steps, self.slope(line)
        if self.work.request_rate is not None:
            rate = self.work.request_rate / self.replicas
            self._refuse_overload(rate, steps, line.fixed, slope)
            return open_loop_batch(rate=rate, steps=steps, fixed=line.fixed, slope=slope)
        if self.users is None:
            return self.most
        low, high = 0.0, self.users  # the fuller the batch, the longer the wait, and the fewer who decode
        for _ in range(HALVINGS):
            tried = (low + high) / 2
            away = self.own(line, tried) + self.wait(line, tried)
            found = closed_loop_batch(users=self.users, away=away, steps=steps, fixed=line.fixed, slope=slope)
            more = greater(found, tried)
            low, high = where(more, tried, low), where(more, high, tried)
        return (low + high) / 2

    def _refuse_overload(self, rate: Any, steps: Any, fixed: Any, slope: Any) -> None:
        """Raise where more requests arrive than the replicas can answer."""
        decoded = self.most / (steps * (fixed + slope * self.most))
        if rate < minimum(decoded, self.delivered):
            return
        step, prompt = show(fixed + slope * self.most, "s"), show(self.prompts(1.0).seconds, "s")
        told = f"{self.replicas:g} replicas with {self.most:g} sequences and {step} a step"
        if self.delivered < decoded:
            told = f"{self.work.prefill_replicas} replicas that prefill, {prompt} a prompt"
        most = minimum(decoded, self.delivered) * self.replicas
        raise InputError(
            f"request_rate = {self.work.request_rate:g} exceeds the {most:.3g} requests a second that can be answered "
            f"by {told}; nearest: request_rate = {0.9 * most:.3g}, or more replicas"
        )

    @cached_property
    def delivered(self) -> Any:
        """Prompts that a pool of its own prefills each second, for each replica that decodes [1/s]."""
        if not self.work.prefill_replicas:
            return math.inf
        return self.work.prefill_replicas / self.prompts(1.0).seconds / self.replicas

    def fed(self, line: _Line) -> Any:
        """Sequences that decode together at most: by memory and scheduler, and by the prompts that a pool delivers."""
        if not self.work.prefill_replicas:
            return self.most
        busy = self.delivered * self.work.steps * line.slope
        bound = open_loop_batch(
            rate=self.delivered, steps=self.work.steps, fixed=line.fixed, slope=line.slope
        )
        return minimum(self.most, where(greater(1.0, busy), bound, self.most))

    def wait(self, line: _Line, batch: Any) -> Any:
        """Mean wait of a request before its own prompt, while nothing is full [s]."""
        step = self.shared_step(line, batch)
        rate = batch / (self.steps * step)
        if self.work.prefill_replicas:
            return sakasegawa_wait(
                rate=rate * self.replicas,
                service=self.prompts(1.0).seconds,
                servers=self.work.prefill_replicas,
                variation=0.0,
            )
        if self.work.decoded == 0:
            return step / 2
        if self.users is None:
            running = 1 - exp(-batch)  # of random arrivals, the share that finds somebody at work
            return gated_wait(
                rate=rate, service=line.prompt, passing=running * step, together=self.most_together
            )
        others = maximum(self.users - 1, 0.0)
        seen = others / maximum(self.users, 1.0)  # what a user finds is what the others are about
        wait = gated_wait(
            rate=seen * rate, service=line.prompt, passing=seen * step, together=self.most_together
        )
        return minimum(wait, seen * step + line.prompt * others)

    def waits(self, line: _Line, batch: Any, rate: Any) -> tuple[Any, Any]:
        """Mean wait of a request before its own prompt, and of those that begin at once [s]."""
        wait, users = self.wait(line, batch), self.users
        if self.work.load == "open loop":
            stay = self.work.steps * (line.fixed + line.slope * batch) + line.prompt * batch
            room = sakasegawa_wait(rate=rate, service=maximum(stay, 1e-9), servers=self.most, variation=0.0)
            return wait + room, 0.0
        if users is None:
            return wait, 0.0
        full = where(greater(users, self.fed(line)), 1.0, 0.0)
        queue = full * maximum((users - batch) / rate - self.own(line, batch), 0.0)
        number = minimum(self.most_together, maximum(users, 1.0))
        service = self.prompts(number).seconds / number
        burst = mean_burst_wait(requests=minimum(users, self.most), service=service)
        share = 0.0 if self.work.requests_per_user is None else 1 / self.work.requests_per_user
        return maximum(wait, queue) + burst * share, burst

    def request(self, state: SteadyState) -> Timed:
        """One request from its arrival to its last token."""
        prompts = self.prompts(1.0)
        own = prompts.seconds
        beside = state.prefill - own - self.request_time - self.handed_over
        step = self.step(state.batch)
        share = state.prompt * state.batch / self.steps
        drift = state.step - share - step.seconds
        parts = (
            Timed("waiting", "queue", state.waits, {"queue": state.waits}, {}),
            Timed("host, once a request", "host", self.request_time, {"host_launch": self.request_time}, {}),
            prompts,
            Timed("cache handed over", "queue", self.handed_over, {"network_latency": self.handed_over}, {}),
            repeated("decode of others beside the prompt", beside / maximum(step.seconds, 1e-300), step),
            repeated(
                "decode",
                self.work.steps,
                series(
                    "step",
                    (
                        repeated("own step", 1 + drift / maximum(step.seconds, 1e-300), step),
                        repeated("prompts of others", share / maximum(own, 1e-300), prompts),
                    ),
                ),
            ),
        )
        return series("request", parts)
