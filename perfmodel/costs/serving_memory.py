"""Memory of inference on one device: weights in their stored formats, the cache, and what lives for a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from perfmodel.costs.adapters import adapter_parameters
from perfmodel.costs.parts import Part, Parts, parts
from perfmodel.costs.stages import deal
from perfmodel.layers import Layer, Pass
from perfmodel.layers.embedding import Embedding, Head
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.model import Model
from perfmodel.ops import added, maximum
from perfmodel.parallel import Parallel
from perfmodel.work import Stage
from perfmodel.workload import Served
from perfmodel.workload.quantisation import Formats

__all__ = ["Footprint", "cache_bytes", "footprints", "weight_bytes"]


class Footprint(NamedTuple):
    """Bytes that one device of a pipeline stage holds.

    Parameters
    ----------
    stage : which stage
    weights : in their stored formats, exact [B]
    cache : keys and values, and recurrent states, of all its sequences at their longest [B]
    activations : alive for a moment in the largest pass, logits among them [B]
    per_sequence : of the cache, one sequence's part [B]
    per_token : the same of one further token [B]
    """

    stage: str
    weights: Any
    cache: Any
    activations: Any
    per_sequence: Any
    per_token: Any

    @property
    def total(self) -> Any:
        """All kinds together [B]."""
        return self.weights + self.cache + self.activations


def weight_bytes(layers: Iterable[Layer], p: Pass, formats: Formats) -> Any:
    """Weights of some layers on one rank, each in its stored format.

    Matrices are quantised; norms, biases and tables stay in the activations' format, and so do the token table and the
    head unless the format takes everything.

    Parameters
    ----------
    layers : the layers
    p : a pass, which says how they are split
    formats : the formats

    Returns
    -------
    bytes [B]

    Examples
    --------
    >>> from perfmodel.layers import Mlp
    >>> formats = Formats.of("fp8", None, None)
    >>> weight_bytes([Mlp(hidden=64, inner=256, bias=True)], Pass(1, 1, 1, tp=2), formats)
    25216.0
    """
    found: Any = 0.0
    for layer in layers:
        matrices, others = _split(layer, p)
        stored = _stored(layer, formats)
        copies = layer.local_dense(p.tp) - matrices - others  # key-value heads that several ranks hold
        found = found + (matrices + copies) * stored + others * formats.element_bytes
        if layer.routes:
            found = found + layer.local_experts(p.ep, p.tp_in_experts) * formats.expert_bytes
    return found


def _stored(layer: Layer, formats: Formats) -> float:
    """Of an element of a layer's matrices [B]."""
    if isinstance(layer, Embedding | Head):
        return formats.head_bytes
    if isinstance(layer, LatentAttention) and formats.plain_latent:
        return formats.element_bytes
    return formats.weight_bytes


def _split(layer: Layer, p: Pass) -> tuple[Any, Any]:
    """Matrices and all other weights of a layer on one rank, routed experts apart [-]."""
    matrices: Any = 0.0
    others: Any = 0.0
    for weight in layer.weights():
        if weight.split == "ep":
            continue
        size = weight.size / p.tp if weight.split == "tp" else weight.size
        if weight.kind in ("matrix", "embedding", "head"):
            matrices = matrices + size
        else:
            others = others + size
    return matrices, others


def cache_bytes(layers: Iterable[tuple[Layer, Any]], p: Pass, context: Any, *, reserved: bool) -> Any:
    """Keys, values and states of one sequence on one rank.

    Parameters
    ----------
    layers : each with how often it stands there
    p : a pass, which says how they are split and in which format the cache is
    context : tokens of the sequence [-]
    reserved : every position is kept, also those that a window has passed

    Returns
    -------
    bytes [B]
    """
    size = p.core_element if p.kv_bytes is None else p.kv_bytes
    found: Any = 0.0
    for layer, times in layers:
        keys = layer.kv_bytes_reserved(context, size) if reserved else layer.kv_bytes(context, size)
        crossed = layer.source_bytes(p.source, size)
        states = layer.state_bytes(p.element_bytes) / p.tp
        found = found + times * ((keys / p.kv_split + crossed) * layer.cached_share(p.tp) + states)
    return found


def footprints(
    model: Model, work: Served, layout: Parallel, p: Pass, *, sequences: Any, context: Any, reserved: bool
) -> tuple[Footprint, ...]:
    """What the first, a middle and the last stage hold.

    Parameters
    ----------
    model, work, layout : the job
    p : the largest pass
    sequences : in the cache of a replica [-]
    context : of each, at its longest [-]
    reserved : every position is kept

    Returns
    -------
    three entries; with one stage each of them is the whole model
    """
    found, formats = parts(model, p), work.formats
    entry, leave = (weight_bytes(end.plain, p, formats) for end in (found.entry, found.exit))
    body = added(
        block.copies * (weight_bytes(block.plain, p, formats) + _adapters(block, p, work))
        for block in found.blocks
    )
    kept = found.blocks if model.generates else ()
    layers = [(layer, block.repeat) for block in kept for layer in block.plain]
    each = cache_bytes(layers, p, context, reserved=reserved)
    more = cache_bytes(layers, p, context + 1, reserved=reserved) - each
    alive = _alive(found, p)

    def held(stage: Stage) -> Footprint:
        tied = maximum(stage.closes - stage.opens, 0.0) * _tied(model, p, formats)
        return Footprint(
            stage.name,
            weights=stage.of(entry, body, leave) + tied,
            cache=sequences * stage.share * each,
            activations=alive,
            per_sequence=stage.share * each,
            per_token=stage.share * more,
        )

    return tuple(held(stage) for stage in deal(model.depth, layout))


def _adapters(block: Part, p: Pass, work: Served) -> Any:
    """All adapters of a block, which lie on the device [B]."""
    if not work.adapters:
        return 0.0
    return work.adapters * adapter_parameters(block, work.adapter_rank, p.tp)[0] * p.element_bytes


def _tied(model: Model, p: Pass, formats: Formats) -> Any:
    """A tied head's own copy of the table, where the last stage is not the first [B]."""
    head = model.head
    if head is None or not head.tied:
        return 0.0
    return weight_bytes([head.replace(tied=False, bias=False)], p, formats)


def _alive(found: Parts, p: Pass) -> Any:
    """Tensors of the largest layer with what enters and leaves it, or the logits [B].

    A layer keeps for backward what its operators hand to each other; without backward that is what is alive.
    """
    most: Any = 0.0
    for part in (found.entry, *found.blocks, found.exit):
        for layer, seen in part.layers:
            if isinstance(layer, Head):
                rows = seen.sequences if seen.last_logits else seen.tokens
                most = maximum(most, rows * layer.vocabulary * (seen.element_bytes / seen.tp + 4))
            else:
                stream = 2 * seen.shard_tokens * part.width * seen.element_bytes
                most = maximum(most, layer.saved(seen) + stream)
    return most
