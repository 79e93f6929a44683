"""Memory of training, by kind and by pipeline stage."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.costs.base import StageMemory
from perfmodel.costs.stages import shares
from perfmodel.formulas.memory import sharded
from perfmodel.formulas.pipeline import live_micro_batches
from perfmodel.layers import Layer, Pass
from perfmodel.layers.embedding import Head
from perfmodel.model import Block, Model
from perfmodel.ops import maximum, where
from perfmodel.parallel import Parallel
from perfmodel.workload import OPTIMIZERS, Training

__all__ = ["block_activations", "local_parameters", "stage_memories"]


def local_parameters(layers: tuple[Layer, ...], tp: Any) -> Any:
    """Parameters of some layers on one tensor-parallel rank [-]."""
    return sum(layer.local_parameters(tp) for layer in layers)


def block_activations(block: Block, work: Training, p: Pass, hidden: int) -> Any:
    """Bytes one repetition of a block keeps for backward, under the recomputation in force.

    Parameters
    ----------
    block : the repeated layers
    work : says what is recomputed
    p : the pass
    hidden : width of the residual stream, which full recomputation keeps [-]

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
            return p.shard_tokens * hidden * p.element_bytes
        case "selective":
            return everything - sum(layer.saved_core(p) for layer in block.layers)
        case _:
            return everything


class _Held(NamedTuple):
    """What the parts of the model hold on one tensor-parallel rank, counted once for all stages.

    Parameters
    ----------
    entry, body, exit : parameters before the layers, of all layers, after them [-]
    head_copy : parameters of a tied head, held again where the embedding is not [-]
    saved_entry, saved_body, saved_exit : activations that one micro-batch leaves there [B]
    recomputed, logits, gathered : alive for a moment: a recomputed block, the gradient of the logits, two gathered
        layers of ZeRO-3 with the gradient of one [B]
    """

    entry: Any
    body: Any
    exit: Any
    head_copy: Any
    saved_entry: Any
    saved_body: Any
    saved_exit: Any
    recomputed: Any
    logits: Any
    gathered: Any


def _saved_once(model: Model, work: Training, p: Pass) -> Any:
    """What the layers share, such as rotary tables; counted where the model begins."""
    most: Any = 0
    for layer in dict.fromkeys(layer for block in model.blocks for layer in block.layers):
        most = maximum(most, layer.saved_once(p, checkpointed=work.recompute == "full"))
    return most


def _held(model: Model, work: Training, layout: Parallel, p: Pass) -> _Held:
    formats, head = work.formats, model.head
    largest: Any = 0
    recomputed: Any = 0
    for block in model.blocks:
        largest = maximum(largest, local_parameters(block.layers, p.tp))
        recomputed = maximum(recomputed, sum(layer.saved(p) for layer in block.layers))
    return _Held(
        entry=local_parameters(model.entry, p.tp),
        body=sum(block.repeat * local_parameters(block.layers, p.tp) for block in model.blocks),
        exit=local_parameters(model.exit, p.tp),
        head_copy=head.vocabulary * head.width / p.tp if head is not None and head.tied else 0,
        saved_entry=sum(layer.saved(p) for layer in model.entry) + _saved_once(model, work, p),
        saved_body=sum(
            block.repeat * block_activations(block, work, p, model.hidden) for block in model.blocks
        ),
        saved_exit=sum(layer.saved(p) for layer in model.exit),
        recomputed=recomputed if work.recompute == "full" else 0,
        logits=sum(layer.loss_bytes(p) for layer in model.exit if isinstance(layer, Head)),
        gathered=largest * (2 * formats.weight_bytes + formats.reduce_bytes)
        if layout.sharding == "zero3"
        else 0,
    )


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
    held, share = _held(model, work, layout, p), shares(model.depth, layout.pp, layout.vpp)
    alone = where(layout.pp <= 1, 1.0, 0.0)
    middle = where(layout.pp > 2, 1.0, 0.0)
    return (
        _stage("first", held, work, layout, share=share.first, index=0, opens=1.0, closes=alone),
        _stage("middle", held, work, layout, share=share.middle, index=middle, opens=alone, closes=alone),
        _stage("last", held, work, layout, share=share.last, index=layout.pp - 1, opens=alone, closes=1.0),
    )


def _stage(
    name: str,
    held: _Held,
    work: Training,
    layout: Parallel,
    *,
    share: Any,
    index: Any,
    opens: Any,
    closes: Any,
) -> StageMemory:
    """One stage: its share of the layers, and the ends of the model where `opens` and `closes` are 1."""
    formats, optimizer = work.formats, OPTIMIZERS[work.optimizer]
    parameters = share * held.body + opens * held.entry + closes * held.exit
    parameters = parameters + held.head_copy * maximum(closes - opens, 0.0)
    live = live_micro_batches(
        stage=index,
        stages=layout.pp,
        chunks=layout.vpp,
        micro_batches=layout.micro_batches(work.global_batch),
    )

    def split(bytes_each: Any, *stages: str) -> Any:
        ranks = layout.cp * layout.dp if layout.sharding in stages else 1  # type: ignore[operator]  # dp is set
        return sharded(size=parameters * bytes_each, ranks=ranks)

    return StageMemory(
        name,
        weights=split(formats.weight_bytes, "zero3"),
        gradients=split(formats.gradient_bytes, "zero2", "zero3"),
        optimizer=split(optimizer.state_bytes + formats.master_bytes, "zero1", "zero2", "zero3"),
        activations=live * (share * held.saved_body + opens * held.saved_entry) + closes * held.saved_exit,
        buffers=maximum(held.recomputed * 1.0, closes * held.logits) + held.gathered,
    )
