"""Messages of tensor parallelism as torch's DTensor sends them, with and without sequence parallelism."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from perfmodel.costs.messages.base import Job, Message
from perfmodel.errors import UnsupportedError
from perfmodel.layers import Embedding, Head, Layer, Mlp, SelfAttention
from perfmodel.ops import added

__all__ = ["tensor", "whole_gradients"]


class _Region(NamedTuple):
    """Where activations enter and leave what a layer splits over the tensor ranks.

    Parameters
    ----------
    width : of the activations [-]
    columns : matrices split by columns that read the input [-]
    exits : sums of partial results [-]
    times : how often the layer stands in the model [-]
    """

    width: int
    columns: int
    exits: int
    times: int


def _region(layer: Layer, times: int, *, merged: bool) -> _Region:
    match layer:
        case SelfAttention():
            return _Region(layer.hidden, 1 if merged else 3, 1, times)
        case Mlp():
            return _Region(layer.hidden, 2 if layer.gated and not merged else 1, 1, times)
        case Embedding():
            return _Region(layer.width, 0, 1, times)
        case Head():
            return _Region(layer.width, 1, 0, times)
    if any(weight.split == "tp" for weight in layer.weights()):
        known = "attention, feed-forward blocks, embeddings and heads"
        raise UnsupportedError(
            f"messages of tensor parallelism are known for {known}, not for {type(layer).__name__}"
        )
    return _Region(0, 0, 0, 0)


def tensor(job: Job, *, merged: bool = False, sequence: bool = False) -> Iterator[Message]:
    """Activations are joined where a layer's split part ends, their gradients where it begins, and the logits gathered.

    DTensor reduces the gradient of the input once for every matrix that reads it: queries, keys and values apart, gate
    and up apart, unless they are merged. With sequence parallelism an input is gathered once a module and kept for
    backward, where Megatron-LM gathers it again.

    Parameters
    ----------
    job : the job
    merged : query, key and value are one matrix, and so are gate and up
    sequence : activations outside the split parts are sharded along the sequence

    References
    ----------
    Shoeybi et al. (2019), Megatron-LM, arXiv:1909.08053, section 3; Korthikanti et al. (2022), arXiv:2205.05198,
    section 4.2.2; torch.distributed.tensor.parallel: ColwiseParallel, RowwiseParallel, PrepareModuleInput
    """
    each = job.micro_batches * job.p.tokens * job.p.element_bytes
    regions = [_region(layer, times, merged=merged) for layer, times in job.model.layers()]
    exits = [(region.times * region.exits, region.width) for region in regions]
    columns = [(region.times * region.columns, region.width) for region in regions]
    modules = [(region.times * min(region.columns, 1), region.width) for region in regions]

    def sent(phase: Any, kind: str, parts: list[tuple[int, int]]) -> Message:
        count = added(times for times, _ in parts)
        size = added(times * width for times, width in parts)
        return Message(phase, kind, "tp", count * job.micro_batches, size * each)

    logits = [(1, job.model.head.vocabulary)] if job.model.head is not None else []
    if sequence:
        yield sent("forward", "reduce_scatter", exits)
        yield sent("forward", "all_gather", [*modules, *logits])
        yield sent("backward", "reduce_scatter", modules)
        yield sent("backward", "all_gather", exits)
    else:
        yield sent("forward", "all_reduce", exits)
        yield sent("forward", "all_gather", logits)
        yield sent("backward", "all_reduce", columns)


def whole_gradients(job: Job) -> Iterator[Message]:
    """Gradients of norms and other tensors that every tensor rank holds, from each rank's part of the sequence.

    FSDP2 wants them whole before it scatters them, and sends each alone.
    """
    whole = [(times, weight.size) for weight, times in job.model.weights() if weight.split is None]
    count, size = added(times for times, _ in whole), added(times * size for times, size in whole)
    each = job.micro_batches * job.formats.weight_bytes
    yield Message("backward", "all_reduce", "tp", count * job.micro_batches, size * each)
