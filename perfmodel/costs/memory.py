"""Memory of training, by kind and by pipeline stage."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.costs.base import StageMemory
from perfmodel.costs.parameters import Held, held, own, summed
from perfmodel.costs.parts import Part, Parts
from perfmodel.costs.recompute import Again, recomputed, recomputed_share
from perfmodel.costs.stages import alive
from perfmodel.costs.states import optimizer_bytes
from perfmodel.layers import Layer, Pass
from perfmodel.layers.embedding import Head
from perfmodel.model import Model
from perfmodel.ops import added, at_least, maximum, minimum, where
from perfmodel.parallel import Parallel
from perfmodel.work import Stage, Stages
from perfmodel.workload import Training

__all__ = ["block_activations", "stage_memories"]


def block_activations(block: Part, work: Training, share: Any = 1) -> Any:
    """Bytes one repetition of a block keeps for backward, under the recomputation in force.

    Parameters
    ----------
    block : the repeated layers
    work : says what is recomputed
    share : of the repetitions that it applies to [-]

    Returns
    -------
    bytes kept [B]

    References
    ----------
    Korthikanti et al. (2022), arXiv:2205.05198, table 2
    """
    return block.saved() - share * recomputed(block, work).spared


class _Held(NamedTuple):
    """What the parts of the model hold on one rank, counted once for all stages.

    Parameters
    ----------
    entry, body, exit : parameters before the layers, of all layers, after them, by the ranks that hold the same [-]
    states_entry, states_body, states_exit : optimizer states of these parameters [B]
    head_copy, states_head : parameters of a tied head, held again where the embedding is not [-], and its states [B]
    saved_entry, saved_body, saved_exit : activations that one micro-batch leaves there [B]
    moved : of those of the body, outside the device; moved_once, of its largest repetition [B]
    recomputed, logits : alive for a moment: a recomputed block, the gradient of the logits [B]
    layer : parameters of the largest repetition of a block [-]
    """

    entry: Held
    body: Held
    exit: Held
    states_entry: Held
    states_body: Held
    states_exit: Held
    head_copy: Held
    states_head: Held
    saved_entry: Any
    saved_body: Any
    saved_exit: Any
    moved: Any
    moved_once: Any
    recomputed: Any
    logits: Any
    layer: Any


def _saved_once(blocks: tuple[Part, ...], work: Training) -> Any:
    """What the layers share, such as rotary tables; counted where the model begins."""
    most: Any = 0
    for layer, p in dict(pair for block in blocks for pair in block.layers).items():
        most = maximum(most, layer.saved_once(p, checkpointed=work.recomputation.keep is not None))
    return most


def _held(model: Model, work: Training, p: Pass, found: Parts, again: tuple[Again, ...]) -> _Held:
    copy = _head_copy(model)
    largest: Any = 0
    moment: Any = 0
    saved: Any = 0
    moved: Any = 0
    once: Any = 0
    share = recomputed_share(model, work)
    for block, repeated in zip(found.blocks, again, strict=True):
        largest = maximum(largest, added(block.parameters.values()))
        moment = maximum(moment, repeated.moment)
        saved = saved + block.repeat * (block.saved() - share * repeated.spared)
        moved, once = moved + block.repeat * share * repeated.moved, maximum(once, repeated.moved)
    return _Held(
        entry=found.entry.parameters,
        body=found.body_parameters(),
        exit=found.exit.parameters,
        states_entry=optimizer_bytes(found.entry.plain, work, p),
        states_body=summed((block.copies, optimizer_bytes(block.plain, work, p)) for block in found.blocks),
        states_exit=optimizer_bytes(found.exit.plain, work, p),
        head_copy=held(copy, p),
        states_head=optimizer_bytes(copy, work, p),
        saved_entry=found.entry.saved() + _saved_once(found.blocks, work),
        saved_body=saved,
        saved_exit=found.exit.saved(),
        moved=moved,
        moved_once=once,
        recomputed=moment,
        logits=added(layer.loss_bytes(seen) for layer, seen in found.exit.layers if isinstance(layer, Head)),
        layer=largest,
    )


def _head_copy(model: Model) -> tuple[Layer, ...]:
    """A tied head with a matrix of its own, as the last of several stages has it."""
    head = model.head
    return (head.replace(tied=False, bias=False),) if head is not None and head.tied else ()


def stage_memories(
    model: Model,
    work: Training,
    layout: Parallel,
    p: Pass,
    *,
    found: Parts,
    again: tuple[Again, ...],
    stages: Stages,
) -> tuple[StageMemory, ...]:
    """Peak memory of the first, a middle and the last pipeline stage.

    Parameters
    ----------
    model, work, layout : the job
    p : one micro-batch as one device sees it
    found : the parts of the model
    again : what each of its blocks computes again
    stages : what each stage holds

    Returns
    -------
    three entries; with one stage each of them is the whole model
    """
    parts = _held(model, work, p, found, again)
    return tuple(_stage(parts, work, layout, stage) for stage in stages)


def _stage(parts: _Held, work: Training, layout: Parallel, stage: Stage) -> StageMemory:
    """One stage: its share of the layers, and the ends of the model that it holds."""
    _, share, opens, closes, index = stage
    formats, again = work.formats, maximum(closes - opens, 0.0)
    times = (share, opens, closes, again)
    sizes = zip(times, (parts.body, parts.entry, parts.exit, parts.head_copy), strict=True)
    kept = zip(
        times, (parts.states_body, parts.states_entry, parts.states_exit, parts.states_head), strict=True
    )
    parameters, states = summed(sizes), summed(kept)
    live = alive(layout, layout.micro_batches(work.global_batch), index)

    def split(amounts: Held, each: Any, what: str) -> Any:
        return own(amounts, layout, split=what in layout.sharded) * each

    everything = added(parameters.values())
    moved = live * share * parts.moved
    here = StageMemory(
        stage.name,
        weights=split(parameters, formats.held_bytes, "weights"),
        gradients=split(
            parameters,
            formats.gradient_bytes + formats.pass_gradient_bytes,
            "gradients" if layout.reduces_every_pass else "nothing",
        ),
        optimizer=split(states, 1, "optimizer"),
        activations=live * (share * parts.saved_body + opens * parts.saved_entry)
        + closes * parts.saved_exit
        - moved,
        buffers=_buffers(
            parts,
            work,
            layout,
            parameters=everything,
            ends=everything - share * added(parts.body.values()),
            closes=closes,
        ),
        offloaded=moved,
    )
    return _reusing(_offloaded(here, parts, work, layout), work, layout)


def _reusing(stage: StageMemory, work: Training, layout: Parallel) -> StageMemory:
    """The stage with what gradients and activations never hold at once.

    Split gradients come into being one layer after the other (FSDP; the step before has dropped its own), while the
    activations of that layer go; with several micro-batches they are there from the second on. Others fill a buffer
    that is always there (Megatron-LM, DDP).
    """
    if "weights" not in layout.sharded:
        return stage
    once = where(at_least(1, layout.micro_batches(work.global_batch)), 1.0, 0.0)
    return stage._replace(reused=once * minimum(stage.gradients, stage.activations))


def _offloaded(stage: StageMemory, parts: _Held, work: Training, layout: Parallel) -> StageMemory:
    """The stage with what lies outside taken off; two layers' copies are on their way, one out, one in."""
    offload, formats = work.offload, work.formats
    if not offload.anything:
        return stage
    away = {
        kind: getattr(offload, kind) * getattr(stage, kind) for kind in ("weights", "gradients", "optimizer")
    }
    passing = 2 * parts.moved_once
    if "weights" not in layout.sharded:  # those that are gathered have their place among the buffers
        passing = passing + 2 * offload.weights * parts.layer * formats.weight_bytes
    left = {kind: getattr(stage, kind) - size for kind, size in away.items()}
    return stage._replace(
        **left, buffers=stage.buffers + passing, offloaded=stage.offloaded + added(away.values())
    )


def _buffers(
    parts: _Held, work: Training, layout: Parallel, *, parameters: Any, ends: Any, closes: Any
) -> Any:
    """What lives for a moment: a recomputed block or the logits' gradient, and weights in the products' format.

    ZeRO-3 gathers two layers, one without prefetch, and has the gradient of one. Where the loss begins its way back it
    has gathered one layer ahead, and what stands before and after the layers is one group that stays gathered (torch's
    FSDP2, fully_shard on each layer and on the model). Weights that are cast when used, or not dropped after forward,
    stay until backward.
    """
    formats = work.formats
    moment = maximum(parts.recomputed * 1.0, closes * parts.logits)
    if "weights" in layout.sharded:
        if not layout.reshard:
            return moment + parameters * formats.weight_bytes + parts.layer * formats.reduce_bytes
        gathered = 2 if layout.prefetch else 1
        inside = moment + parts.layer * (gathered * formats.weight_bytes + formats.reduce_bytes)
        return maximum(inside, closes * parts.logits + (parts.layer + ends) * formats.weight_bytes)
    cast = formats.weight_bytes if formats.held_bytes > formats.weight_bytes else 0
    return moment + parameters * cast
