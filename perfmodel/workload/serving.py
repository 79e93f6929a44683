"""Requests that come and go: continuous batching at a concurrency, a request rate, or as many as fit."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from perfmodel.errors import Faults
from perfmodel.workload.inference import Served

__all__ = ["Serving"]


class Serving(Served):
    """Requests of like length, served together; new ones join as others end.

    Neither `concurrency` nor `request_rate` is offline: as many as fit are always there.

    Examples
    --------
    >>> work = Serving(input_length=1024, output_length=256, concurrency=64)
    >>> work.steps, work.context, work.load
    (255, 1152.0, 'closed loop')
    """

    concurrency: int | None = Field(default=None, ge=1, le=10**9)
    """Users on all replicas, each of whom sends the next request when the last one is answered (closed loop) [-]."""
    request_rate: float | None = Field(default=None, gt=0, le=10**9)
    """Requests that arrive at random each second, on all replicas (open loop) [1/s]."""
    requests_per_user: float | None = Field(default=None, ge=1, le=10**9)
    """Requests that each user of a closed loop sends, where all begin at once, as benchmarks do; None never ends
    [-]."""
    prefill_tokens: int | None = Field(default=None, ge=1, le=10**9)
    """Most tokens of one pass; None is what the engine takes (max_num_batched_tokens) [-]."""
    most_sequences: int | None = Field(default=None, ge=1, le=10**9)
    """Most sequences that decode together on a replica; None is what the engine takes (max_num_seqs) [-]."""
    chunked: bool | None = None
    """Prompts share passes with decode, cut to the room there is; else passes are for prompts alone; None is what the
    engine does."""
    prefill_replicas: int = Field(default=0, ge=0, le=10**7)
    """Of the dp replicas, so many read prompts alone and hand their caches to the others (disaggregated); 0 is
    none [-]."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = Faults("Serving")
        self._told(faults)
        if self.concurrency is not None and self.request_rate is not None:
            faults.add(
                f"concurrency = {self.concurrency} and request_rate = {self.request_rate:g} are two kinds of load; "
                "leave one of them out"
            )
        if self.requests_per_user is not None and self.concurrency is None:
            faults.add(
                f"requests_per_user = {self.requests_per_user:g} are those of a concurrency; nearest: concurrency = 1"
            )
        if self.input_length == 0:
            faults.add("input_length = 0: a request has a prompt; nearest: input_length = 1")
        if self.output_length < 1:
            faults.add("output_length = 0: a request is answered; nearest: output_length = 1")
        faults.raise_if_any()
        return self

    @property
    def load(self) -> str:
        """Kind of load: closed loop, open loop or offline."""
        if self.concurrency is not None:
            return "closed loop"
        return "offline" if self.request_rate is None else "open loop"

    @property
    def steps(self) -> Any:
        """Steps of decode of a request: one a token but for the first; fewer where drafts stand [-]."""
        return self.decoded / self.tokens_per_step if self.draft_tokens else self.decoded

    @property
    def decoded(self) -> int:
        """Tokens of a request that decode brings [-]."""
        return self.output_length - 1

    @property
    def context(self) -> Any:
        """Mean context of a sequence that decodes [-]."""
        return (self.input_length or 0) + (self.decoded + 1) / 2

    @property
    def longest(self) -> Any:
        """Context of its last step [-]."""
        return (self.input_length or 0) + self.decoded
