"""Messages of data parallelism: sharded weights gathered, gradients reduced, by layer and at the end of the step."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import ceil, maximum
from perfmodel.parallel import Parallel
from perfmodel.work import Collective, Overlap, Repeat, Serial, Work
from perfmodel.workload import Precision

__all__ = ["beside", "joined", "reduction", "with_sharding"]


def beside(layout: Parallel, name: str, messages: Work, behind: Work, axis: str = "dp") -> Work:
    """Messages that run beside other work, where the layout lets those of the axis."""
    return Overlap(name, messages, behind) if axis in layout.overlap else messages


def reduction(name: str, parameters: Any, layout: Parallel, formats: Precision) -> Work:
    """Gradients of some parameters, joined once over all ranks that share them.

    Each rank gets the part that it updates; with copies of the states (HSDP) it then joins that part with theirs.

    Parameters
    ----------
    name : what for
    parameters : on one tensor-parallel rank [-]
    layout, formats : who shares what, in which format

    Returns
    -------
    the messages

    References
    ----------
    Rajbhandari et al. (2020), arXiv:1910.02054, section 7; Zhao et al. (2023), PyTorch FSDP, arXiv:2304.11277,
    section 3.2.2

    Examples
    --------
    >>> from perfmodel.workload import PRECISIONS
    >>> both = reduction("join", 1e9, Parallel(dp=64, sharding="hsdp", shards=8), PRECISIONS["bf16"])
    >>> [(part.kind, part.axis, part.payload / 1e9) for part in both.parts]
    [('reduce_scatter', 'shard', 4.0), ('all_reduce', 'replicate', 0.5)]
    """
    size = parameters * formats.reduce_bytes
    if not layout.sharded:
        return Collective(name, "all_reduce", size, "data")
    scatter = Collective(name, "reduce_scatter", size, layout.state_axis)
    if layout.sharding != "hsdp":
        return scatter
    across = Collective(f"{name} of copies", "all_reduce", size / layout.state_ranks, "replicate")
    return Serial(name, (scatter, across))


def with_sharding(
    work: Serial,
    parameters: Any,
    layout: Parallel,
    formats: Precision,
    *,
    times: Any = 1,
    edges: Any = 0,
    backward: bool = False,
) -> Work:
    """Layers with the messages of their sharded weights and gradients beside them, for each micro-batch.

    Weights of a layer come while the layer before computes, its gradients go while the next one does. Forward, nothing
    computes before a stage's first layer; backward, nothing is left after it: there the message stands alone.

    Parameters
    ----------
    work : forward or backward of one layer
    parameters : of the layer on one tensor-parallel rank [-]
    layout, formats : who shares what, in which format
    times : layers [-]
    edges : of them, first of their stage [-]
    backward : gradients come out of this work, and weights may still be there from forward

    Returns
    -------
    the layers, with messages where there are any

    References
    ----------
    Zhao et al. (2023), PyTorch FSDP, arXiv:2304.11277, sections 3.3.1 and 3.3.2 (overlap and prefetching)
    """
    gather: tuple[Work, ...] = ()
    reduce: tuple[Work, ...] = ()
    if "weights" in layout.sharded and not (backward and not layout.reshard):
        size = parameters * formats.weight_bytes
        gather = (Collective("gather weights", "all_gather", size, layout.state_axis),)
    if backward and layout.reduces_every_pass:
        reduce = (reduction("reduce gradients", parameters, layout, formats),)
    if not gather and not reduce:
        return Repeat("layers", times, work)
    alone = () if layout.prefetch else gather
    inside = gather if layout.prefetch else ()
    last = reduce if backward else inside
    behind = () if not backward else inside

    def layer(hidden: tuple[Work, ...], exposed: tuple[Work, ...]) -> Work:
        messages = (beside(layout, "data messages", Serial("data", hidden), work),) if hidden else ()
        return Serial(f"{work.name} sharded", (work, *messages, *exposed))

    return Serial(
        f"{work.name}s",
        (
            Repeat("layers", times - edges, layer((*inside, *reduce), alone)),
            Repeat("first of their stage", edges, layer(behind, (*alone, *last))),
        ),
    )


def joined(
    parameters: Any, layout: Parallel, formats: Precision, *, forward: Work, backward: Work
) -> tuple[Work, ...]:
    """Once a step: gradients joined over the data-parallel ranks, and updated weights handed back.

    Both go bucket by bucket beside the layers; the first layer's bucket has nothing to hide behind.

    Parameters
    ----------
    parameters : of the fullest stage on one tensor-parallel rank [-]
    layout, formats : who shares what, in which format
    forward, backward : what a stage does while others of its layers have their turn

    Returns
    -------
    the messages

    References
    ----------
    Li et al. (2020), PyTorch Distributed, arXiv:2006.15704, section 3.2.3; Megatron-LM,
    DistributedDataParallelConfig: bucket_size, overlap_grad_reduce, overlap_param_gather
    """
    count = maximum(ceil(parameters / layout.bucket), 1.0)
    found: tuple[Work, ...] = ()
    if not layout.reduces_every_pass:
        bucket = reduction("join gradients", parameters / count, layout, formats)
        found = _in_buckets("dp gradients", bucket, count, layout, backward)
    if layout.sharded and "weights" not in layout.sharded:
        size = parameters / count * formats.weight_bytes
        bucket = Collective("gather weights", "all_gather", size, layout.state_axis)
        found = (*found, *_in_buckets("dp weights", bucket, count, layout, forward))
    return found


def _in_buckets(name: str, bucket: Work, count: Any, layout: Parallel, behind: Work) -> tuple[Work, ...]:
    others = Repeat("other buckets", count - 1, bucket)
    return (Serial(name, (bucket, beside(layout, name, others, behind))),)
