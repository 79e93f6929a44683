"""Memory of training, by kind and by pipeline stage."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.costs.base import StageMemory
from perfmodel.costs.parts import Part, parts
from perfmodel.costs.recompute import recomputed, recomputed_share
from perfmodel.costs.stages import shares
from perfmodel.costs.states import optimizer_bytes
from perfmodel.formulas.memory import sharded
from perfmodel.formulas.pipeline import live_micro_batches
from perfmodel.layers import Layer, Pass
from perfmodel.layers.embedding import Head
from perfmodel.model import Model
from perfmodel.ops import maximum, where
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["block_activations", "local_parameters", "stage_memories"]


def local_parameters(layers: tuple[Layer, ...], tp: Any) -> Any:
    """Parameters of some layers on one tensor-parallel rank [-]."""
    return sum(layer.local_parameters(tp) for layer in layers)


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
    """What the parts of the model hold on one tensor-parallel rank, counted once for all stages.

    Parameters
    ----------
    entry, body, exit : parameters before the layers, of all layers, after them [-]
    states_entry, states_body, states_exit : optimizer states of these parameters [B]
    head_copy, states_head : parameters of a tied head, held again where the embedding is not [-], and its states [B]
    saved_entry, saved_body, saved_exit : activations that one micro-batch leaves there [B]
    recomputed, logits : alive for a moment: a recomputed block, the gradient of the logits [B]
    layer : parameters of the largest repetition of a block [-]
    """

    entry: Any
    body: Any
    exit: Any
    states_entry: Any
    states_body: Any
    states_exit: Any
    head_copy: Any
    states_head: Any
    saved_entry: Any
    saved_body: Any
    saved_exit: Any
    recomputed: Any
    logits: Any
    layer: Any


def _saved_once(blocks: tuple[Part, ...], work: Training) -> Any:
    """What the layers share, such as rotary tables; counted where the model begins."""
    most: Any = 0
    for layer, p in dict(pair for block in blocks for pair in block.layers).items():
        most = maximum(most, layer.saved_once(p, checkpointed=work.recomputation.keep is not None))
    return most


def _held(model: Model, work: Training, layout: Parallel, p: Pass) -> _Held:
    copy, found = _head_copy(model), parts(model, p)
    largest: Any = 0
    moment: Any = 0
    saved: Any = 0
    share = recomputed_share(model, work)
    for block in found.blocks:
        again = recomputed(block, work)
        largest = maximum(largest, block.parameters())
        moment = maximum(moment, again.moment)
        saved = saved + block.repeat * (block.saved() - share * again.spared)
    bodies = [(block.copies, *_states(block.plain, work, p)) for block in found.blocks]
    entry, leave, head = (_states(part, work, p) for part in (found.entry.plain, found.exit.plain, copy))
    return _Held(
        entry=entry[0],
        body=sum(times * parameters for times, parameters, _ in bodies),
        exit=leave[0],
        states_entry=entry[1],
        states_body=sum(times * states for times, _, states in bodies),
        states_exit=leave[1],
        head_copy=head[0],
        states_head=head[1],
        saved_entry=found.entry.saved() + _saved_once(found.blocks, work),
        saved_body=saved,
        saved_exit=found.exit.saved(),
        recomputed=moment,
        logits=sum(layer.loss_bytes(seen) for layer, seen in found.exit.layers if isinstance(layer, Head)),
        layer=largest,
    )


def _states(layers: tuple[Layer, ...], work: Training, p: Pass) -> tuple[Any, Any]:
    """Parameters [-] and optimizer states [B] of some layers on one tensor-parallel rank."""
    parameters = local_parameters(layers, p.tp)
    return parameters, optimizer_bytes(layers, work, parameters, p.tp)


def _head_copy(model: Model) -> tuple[Layer, ...]:
    """A tied head with a matrix of its own, as the last of several stages has it."""
    head = model.head
    return (head.replace(tied=False, bias=False),) if head is not None and head.tied else ()


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
    formats, again = work.formats, maximum(closes - opens, 0.0)
    parameters = share * held.body + opens * held.entry + closes * held.exit
    parameters = parameters + held.head_copy * again
    states = share * held.states_body + opens * held.states_entry + closes * held.states_exit
    states = states + held.states_head * again
    live = live_micro_batches(
        stage=index,
        stages=layout.pp,
        chunks=layout.vpp,
        micro_batches=layout.micro_batches(work.global_batch),
    )

    def split(size: Any, what: str) -> Any:
        return sharded(size=size, ranks=layout.state_ranks if what in layout.sharded else 1)

    gradients = parameters * formats.gradient_bytes

    return StageMemory(
        name,
        weights=split(parameters * formats.held_bytes, "weights"),
        gradients=split(gradients, "gradients") if layout.reduces_every_pass else gradients,
        optimizer=split(states, "optimizer"),
        activations=live * (share * held.saved_body + opens * held.saved_entry) + closes * held.saved_exit,
        buffers=_buffers(
            held, work, layout, parameters=parameters, ends=parameters - share * held.body, closes=closes
        ),
    )


def _buffers(
    held: _Held, work: Training, layout: Parallel, *, parameters: Any, ends: Any, closes: Any
) -> Any:
    """What lives for a moment: a recomputed block or the logits' gradient, and weights in the products' format.

    ZeRO-3 gathers two layers, one without prefetch, and has the gradient of one. Where the loss begins its way back it
    has gathered one layer ahead, and what stands before and after the layers is one group that stays gathered (torch's
    FSDP2, fully_shard on each layer and on the model). Weights that are cast when used, or not dropped after forward,
    stay until backward.
    """
    formats = work.formats
    moment = maximum(held.recomputed * 1.0, closes * held.logits)
    if "weights" in layout.sharded:
        if not layout.reshard:
            return moment + parameters * formats.weight_bytes + held.layer * formats.reduce_bytes
        gathered = 2 if layout.prefetch else 1
        inside = moment + held.layer * (gathered * formats.weight_bytes + formats.reduce_bytes)
        return maximum(inside, closes * held.logits + (held.layer + ends) * formats.weight_bytes)
    cast = formats.weight_bytes if formats.held_bytes > formats.weight_bytes else 0
    return moment + parameters * cast
