"""What a job asks for, before any hardware: a tree of work, memory by kind, and counted FLOPs."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.layers import Pass
from perfmodel.parallel import Ranks
from perfmodel.work import Work

__all__ = ["MEMORY_KINDS", "Costs", "StageMemory"]

MEMORY_KINDS = ("weights", "gradients", "optimizer", "activations", "buffers")


class StageMemory(NamedTuple):
    """Bytes that one device of a pipeline stage holds at its peak, by kind.

    Parameters
    ----------
    stage : which stage
    weights, gradients, optimizer : model states, exact [B]
    activations : kept for backward, all live micro-batches [B]
    buffers : gathered weights, logits and the like, alive for a moment [B]
    reused : gradients that come into being where activations have been, once backward has freed them [B]
    offloaded : of states and activations, outside the device [B]
    """

    stage: str
    weights: Any
    gradients: Any
    optimizer: Any
    activations: Any
    buffers: Any
    reused: Any = 0
    offloaded: Any = 0

    @property
    def total(self) -> Any:
        """All kinds together, on the device [B]."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers - self.reused


class Costs(NamedTuple):
    """Demands of one optimizer step, per device.

    Parameters
    ----------
    tree : the work
    memory : one entry for each kind of pipeline stage: first, middle, last
    model_flops : of the whole job's step, without recomputation, causal attention counted once [FLOP]
    hardware_flops : of the whole job's step, recomputation counted [FLOP]
    samples : sequences, images or rows of the whole job's step [-]
    tokens : of the whole job's step; None where samples are no sequences of tokens [-]
    entered : one micro-batch as it enters the model
    groups : the ranks of each axis
    dtype : number format of the linear layers, whose peak utilisation is measured against
    core_dtype : number format of attention and head
    """

    tree: Work
    memory: tuple[StageMemory, ...]
    model_flops: Any
    hardware_flops: Any
    samples: Any
    tokens: Any
    entered: Pass
    groups: dict[str, Ranks]
    dtype: str
    core_dtype: str
