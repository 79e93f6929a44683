"""Degrees of parallelism and what goes with them, as they are given."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from perfmodel.errors import Faults, InputError
from perfmodel.layers.context import Context
from perfmodel.ops import greater, maximum, where
from perfmodel.parallel.axes import AXES, Axis
from perfmodel.schedules import schedule_class
from perfmodel.schedules.zbv import Folded
from perfmodel.specs import Spec

__all__ = ["Degrees"]

Degree = Field(default=1, ge=1, le=10**7)
Hidden = Literal["tp", "cp", "ep", "dp", "pp"]

SHARDED = {
    "none": frozenset[str](),
    "zero1": frozenset({"optimizer"}),
    "zero2": frozenset({"optimizer", "gradients"}),
    "zero3": frozenset({"optimizer", "gradients", "weights"}),
    "hsdp": frozenset({"optimizer", "gradients", "weights"}),
}
"""States that each kind of sharding splits (Rajbhandari et al. 2020, arXiv:1910.02054, section 5; hsdp: Zhao et al.
2023, PyTorch FSDP, arXiv:2304.11277, section 3.2.2)."""


class Degrees(Spec):
    """Degrees of parallelism and what goes with them; `Parallel` adds what they are held against."""

    tp: int = Degree
    """Tensor-parallel degree: ranks that share every matrix [-]."""
    pp: int = Degree
    """Pipeline-parallel degree: stages [-]."""
    vpp: int = Degree
    """Model chunks a stage holds; more than 1 interleaves the pipeline [-]."""
    schedule: str = "auto"
    """Order in which micro-batches pass the stages: 1f1b, interleaved-1f1b, gpipe, looped-bfs, zbv, dualpipev or
    interleaved-zero-bubble; auto is 1f1b, interleaved where a stage holds several chunks."""
    first_stage_layers: int | None = Field(default=None, ge=0, le=10**5)
    """Layers of the first stage, where the others share the rest evenly (Megatron-LM's
    decoder-first-pipeline-num-layers); None deals all of them evenly [-]."""
    last_stage_layers: int | None = Field(default=None, ge=0, le=10**5)
    """Layers of the last stage, likewise [-]."""
    cp: int = Degree
    """Context-parallel degree: ranks that share a sequence [-]."""
    context: Context = "ring"
    """How attention sees the whole sequence: keys and values go round (ring), are gathered first (all_gather, as
    Llama 3 was trained), or tokens change places with heads (ulysses)."""
    kv_split: int = Degree
    """Tensor-parallel ranks that split each sequence's cache in decode, where they would else hold copies of the same
    keys and values (decode context parallelism) [-]."""
    ep: int = Degree
    """Expert-parallel degree: ranks of one stage that share its routed experts, carved out of tp · cp · dp [-]."""
    expert_tp: int | None = Field(default=None, ge=1, le=10**7)
    """Tensor-parallel degree inside a routed expert; None is tp where ep = 1, else 1, as recipes of fine-grained
    experts have it (DeepSeek, NeMo; Megatron-LM itself takes tp) [-]."""
    dp: int | None = Field(default=None, ge=1, le=10**7)
    """Data-parallel degree; None follows from the devices [-]."""
    micro_batch: int = Degree
    """Sequences of one pass on one device [-]."""
    sharding: Literal["none", "zero1", "zero2", "zero3", "hsdp"] = "zero1"
    """What the data-parallel ranks split: nothing, optimizer states, gradients too, weights too (zero3, FSDP), or all
    of it among `shards` ranks, with copies that join their gradients (hsdp)."""
    shards: int | None = Field(default=None, ge=1, le=10**7)
    """Ranks that split one copy of the states, neighbours; of hsdp alone [-]."""
    reshard: bool = True
    """Gathered weights are dropped after forward and gathered again (FSDP2's reshard_after_forward, FULL_SHARD); else
    they stay until backward (SHARD_GRAD_OP)."""
    prefetch: bool = True
    """Weights of the next layer are gathered while this one computes; else after it."""
    gradient_sync: Literal["every", "last", None] = None
    """Gradients are reduced after every micro-batch or after the last one only (no_sync); None is what frameworks do:
    every one where the gradients are split (zero2, zero3, hsdp), else the last."""
    bucket: int | None = Field(default=None, ge=1, le=10**12)
    """Parameters whose gradients are reduced together; None is Megatron-LM's 40 million, or 1 million a rank where that
    is more; DDP's 25 MiB are 6.5 million [-]."""
    packing: Literal["none", "flat", "rows"] = "none"
    """Copies of sharded weights and gradients: none where messages lie in place (XLA), gradients joined and divided
    (flat: FSDP's flat parameters), or weights copied out of their message and gradients into theirs (rows: FSDP2)."""
    sequence_parallel: bool = False
    """Norms and residuals are split over the tensor-parallel ranks."""
    overlap: tuple[Hidden, ...] = ("dp", "pp", "cp")
    """Axes whose messages run beside compute where the schedule allows; those of ep beside another micro-batch
    (Megatron-LM's --overlap-moe-expert-parallel-comm, DualPipe)."""
    dispatch: Literal["all_to_all", "deduplicated"] = "all_to_all"
    """How tokens travel to routed experts: a copy for each expert, or one for each node or rack with any of a token's
    experts, which spreads it there (DeepEP, HybridEP)."""
    tp_overlap: Literal["none", "ring", "pipelined", "userbuffers", None] = None
    """How tensor-parallel messages run beside the product next to them: cut into pieces that all ranks pass on (ring)
    or gather and scatter (pipelined), or each in the way that suits it (userbuffers: NeMo's and Megatron-LM's
    --tp-comm-overlap); None is pipelined where overlap has tp, else none."""
    order: tuple[Axis, ...] = AXES
    """Placement of the axes, innermost first: neighbours of the first are next to each other."""
    overlap_shared: bool = False
    """Tokens travel to and from routed experts while shared experts compute (--moe-shared-expert-overlap)."""

    @model_validator(mode="after")
    def _told_once(self) -> Self:
        faults = Faults("Parallel")
        if self.sharding == "hsdp" and self.shards is None:
            faults.add(
                "sharding = 'hsdp' needs shards, the ranks that split the states: usually the devices of a node, or "
                "of a slice; nearest: shards = 8, or sharding = 'zero3'"
            )
        if self.sharding != "hsdp" and self.shards is not None:
            faults.add(
                f"shards = {self.shards} are those of sharding = 'hsdp', which is {self.sharding!r}; nearest: "
                f"sharding = 'hsdp', or shards = None"
            )
        faults.raise_if_any()
        return self

    @field_validator("order")
    @classmethod
    def _every_axis_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(value) != sorted(AXES):
            raise InputError(
                f"order = {', '.join(value)} must name each of {', '.join(AXES)} once; nearest: {', '.join(AXES)}"
            )
        return value

    @model_validator(mode="after")
    def _one_tensor_overlap(self) -> Self:
        if "tp" in self.overlap and self.tp_overlap == "none":
            raise InputError("overlap has tp, and tp_overlap = 'none' hides nothing; leave one of them out")
        return self

    @property
    def tensor_overlap(self) -> str:
        """How tensor-parallel messages run beside products: none, ring, pipelined or userbuffers."""
        return self.tp_overlap or ("pipelined" if "tp" in self.overlap else "none")

    @property
    def replica(self) -> int:
        """Devices that hold one copy of the model and one sequence [-]."""
        return self.tp * self.pp * self.cp

    @property
    def tp_in_experts(self) -> Any:
        """Ranks that share the columns of a routed expert [-].

        Examples
        --------
        >>> [Degrees(tp=2, ep=ep, expert_tp=given).tp_in_experts for ep, given in ((1, None), (8, None), (8, 2))]
        [2, 1, 2]
        """
        return where(greater(self.ep, 1), 1, self.tp) if self.expert_tp is None else self.expert_tp

    @model_validator(mode="after")
    def _hidden_once(self) -> Self:
        if self.overlap_shared and "ep" in self.overlap:
            raise InputError(
                "overlap_shared hides messages of ep behind shared experts, and overlap hides them behind another "
                "micro-batch; leave one of them out"
            )
        return self

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return value if value == "auto" else schedule_class(value).name

    @property
    def pipeline_schedule(self) -> str:
        """The schedule in force, by name; both closed forms that auto stands for are those of 1f1b."""
        return "1f1b" if self.schedule == "auto" else self.schedule

    @property
    def folded(self) -> bool:
        """The model is folded like a V: its first and its last chunk are on the same rank."""
        return issubclass(schedule_class(self.pipeline_schedule), Folded)

    @property
    def sharded(self) -> frozenset[str]:
        """Which states are split: weights, gradients, optimizer."""
        return SHARDED[self.sharding]

    @property
    def state_ranks(self) -> Any:
        """Ranks that split one copy of what is split [-]."""
        return self.cp * self.dp if self.shards is None else self.shards  # type: ignore[operator]  # dp is set

    def ranks_that_split(self, alike: str) -> Any:
        """Ranks that split one copy of the states: those of the group `state_axis` [-].

        Parameters
        ----------
        alike : the ranks that hold the same: data, or expert data

        Examples
        --------
        >>> Degrees(dp=8, ep=4).ranks_that_split("expert data")
        2.0
        """
        if alike == "data":
            return self.state_ranks
        ranks = self.state_ranks * self.tp / (self.ep * self.tp_in_experts)
        return ranks if self.shards is None else maximum(ranks, 1.0)

    def state_axis(self, alike: str = "data") -> str:
        """The group that splits one copy of what is split, as `groups` names it.

        Parameters
        ----------
        alike : the ranks that hold the same: data, or expert data
        """
        return alike if self.shards is None else alike.replace("data", "shard")

    @property
    def reduces_every_pass(self) -> bool:
        """Gradients are reduced after every micro-batch."""
        split = "gradients" in self.sharded
        return split if self.gradient_sync is None else self.gradient_sync == "every"

    def micro_batches(self, global_batch: Any) -> Any:
        """Passes of one optimizer step on each device [-]."""
        return global_batch / (self.dp * self.micro_batch)  # type: ignore[operator]  # dp is set by `on`
