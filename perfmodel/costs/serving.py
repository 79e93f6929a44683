"""Work of continuous batching: passes of prompts and steps of decode, whatever the number of sequences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perfmodel.costs.inference import decode_pass, decode_step, prefill_pass, prompts
from perfmodel.costs.serving_memory import Footprint, footprints
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.parallel import Parallel, Ranks, groups
from perfmodel.work import Work
from perfmodel.workload import Serving

__all__ = ["ServingCosts"]


@dataclass(frozen=True)
class ServingCosts:
    """Demands of one replica's passes, per device."""

    model: Model
    """What is run."""
    work: Serving
    """The requests."""
    layout: Parallel
    """Degrees of parallelism, dp set."""
    in_flight: Any = 1
    """Parts of the running batch in a pipeline at once [-]."""

    @cached_property
    def prompt(self) -> Pass:
        """One prompt as a device sees it when it enters the model."""
        return prefill_pass(self.model, self.work, self.layout, sequences=1.0)

    @cached_property
    def groups(self) -> dict[str, Ranks]:
        """The ranks of each axis."""
        return groups(self.layout)

    @property
    def computed(self) -> Any:
        """Tokens of a prompt that are not in the cache already [-]."""
        return self.prompt.queries

    def prompts(self, number: Any) -> Work:
        """So many prompts in one pass.

        Parameters
        ----------
        number : of prompts [-]
        """
        p = self.prompt._replace(sequences=number * 1.0)
        return prompts(self.model, self.work, p, self.layout, passes=1)

    def step(self, sequences: Any, context: Any = None) -> Work:
        """One step of decode of so many sequences.

        Parameters
        ----------
        sequences : that decode together [-]
        context : tokens of each; None is the mean of a request [-]
        """
        length = self.work.context if context is None else context
        token = decode_pass(self.work, self.prompt, sequences=sequences / self.in_flight, context=length)
        return decode_step(self.model, self.work, token, self.layout)

    def memory(self, *, tokens: Any, context: Any, reserved: bool) -> tuple[Footprint, ...]:
        """What each kind of stage holds beside the cache, and one sequence's part of it.

        Parameters
        ----------
        tokens : of the largest pass [-]
        context : of a sequence in the cache [-]
        reserved : every position is kept, also those that a window has passed
        """
        p = self.prompt._replace(sequences=tokens / self.computed)
        return footprints(
            self.model, self.work, self.layout, p, sequences=0.0, context=context, reserved=reserved
        )
