"""Memory of training, by kind and by pipeline stage."""

from __future__ import annotations

from typing import Any

from perfmodel.costs.base import StageMemory
from perfmodel.costs.stages import shares
from perfmodel.formulas.memory import sharded
from perfmodel.formulas.pipeline import live_micro_batches
from perfmodel.layers import Layer, Pass
from perfmodel.layers.embedding import Head
from perfmodel.model import Block, Model
from perfmodel.ops import maximum, where
from perfmodel.parallel import Parallel, groups
from perfmodel.workload import OPTIMIZERS, Training

__all__ = ["block_activations", "local_parameters", "stage_memories"]


def local_parameters(layers: tuple[Layer, ...], tp: Any) -> Any:
    """Parameters of some layers on one tensor-parallel rank [-]."""
    return sum(layer.local_parameters(tp) for layer in layers)


def block_activations(block: Block, work: Training, p: Pass) -> Any:
    """Bytes one repetition of a block keeps for backward, under the recomputation in force.

    Parameters
    ----------
    block : the repeated layers
    work : says what is recomputed
    p : the pass

    Returns
    -------
    bytes kept [B]

    References
    ----------
    Korthikanti et al. (2022), arXiv:2205.05198, table 2
    """
    everything = sum(layer.saved(p) for layer in block.layers)
    match work.recompute:
        case "full":
            return p.shard_tokens * _width(block) * p.element_bytes
        case "selective":
            return everything - sum(layer.saved_core(p) for layer in block.layers)
        case _:
            return everything


def _width(block: Block) -> int:
    return max((getattr(layer, "hidden", 0) for layer in block.layers), default=0)


def stage_memories(model: Model, work: Training, layout: Parallel, p: Pass) -> tuple[StageMemory, ...]:
    """Peak memory of the first, a middle and the last pipeline stage.

    Parameters
    ----------
    model, work, layout : the job
    p : one micro-batch as one device sees it

    Returns
    -------
    three entries; with one stage each of them is the whole model
    """
    return tuple(_Stage(model, work, layout, p, index).memory() for index in ("first", "middle", "last"))


class _Stage:
    """One pipeline stage, and what it holds."""

    def __init__(self, model: Model, work: Training, layout: Parallel, p: Pass, name: str) -> None:
        self.model, self.work, self.layout, self.pass_, self.name = model, work, layout, p, name
        self.share = getattr(shares(model.depth, layout.pp, layout.vpp), name)
        alone = layout.pp <= 1
        self.entry = 1.0 if name == "first" else where(alone, 1.0, 0.0)
        self.exit = 1.0 if name == "last" else where(alone, 1.0, 0.0)
        self.index = {"first": 0, "middle": minimum_stage(layout.pp), "last": layout.pp - 1}[name]

    def parameters(self) -> Any:
        """On one tensor-parallel rank; a tied head is held again where the embedding is not [-]."""
        tp, model = self.layout.tp, self.model
        body = sum(block.repeat * local_parameters(block.layers, tp) for block in model.blocks)
        ends = self.entry * local_parameters(model.entry, tp) + self.exit * local_parameters(model.exit, tp)
        head = model.head
        copy = head.vocabulary * head.width / tp if head is not None and head.tied else 0
        return self.share * body + ends + copy * maximum(self.exit - self.entry, 0.0)

    def memory(self) -> StageMemory:
        """All kinds at the peak."""
        formats, optimizer = self.work.formats, OPTIMIZERS[self.work.optimizer]
        parameters, sharding = self.parameters(), self.layout.sharding
        ranks = groups(self.layout)["data"].ranks

        def split(size: Any, *stages: str) -> Any:
            return sharded(size=size, ranks=ranks if sharding in stages else 1)

        return StageMemory(
            self.name,
            weights=split(parameters * formats.weight_bytes, "zero3"),
            gradients=split(parameters * formats.gradient_bytes, "zero2", "zero3"),
            optimizer=split(parameters * (optimizer.state_bytes + formats.master_bytes), "zero1", "zero2", "zero3"),
            activations=self._activations(),
            buffers=self._buffers(),
        )

    def _activations(self) -> Any:
        p, layout = self.pass_, self.layout
        live = live_micro_batches(
            stage=self.index, stages=layout.pp, chunks=layout.vpp,
            micro_batches=layout.micro_batches(self.work.global_batch),
        )  # fmt: skip
        body = sum(block.repeat * block_activations(block, self.work, p) for block in self.model.blocks)
        entry = sum(layer.saved(p) for layer in self.model.entry)
        leave = sum(layer.saved(p) for layer in self.model.exit)
        return live * (self.share * body + self.entry * entry) + self.exit * leave

    def _buffers(self) -> Any:
        """Alive for a moment: a recomputed block, the gradient of the logits, two gathered layers of ZeRO-3."""
        p, work = self.pass_, self.work
        largest = self.model.blocks[0]
        recomputed = sum(layer.saved(p) for layer in largest.layers) if work.recompute == "full" else 0
        logits = sum(layer.logits_bytes(p) for layer in self.model.exit if isinstance(layer, Head))
        gathered = 0
        if self.layout.sharding == "zero3":
            formats = work.formats
            layer = local_parameters(largest.layers, self.layout.tp)
            gathered = layer * (2 * formats.weight_bytes + formats.reduce_bytes)
        return maximum(recomputed * 1.0, self.exit * logits) + gathered


def minimum_stage(stages: Any) -> Any:
    """Index of the fullest stage that is neither first nor last [-]."""
    return where(stages > 2, 1.0, 0.0)
