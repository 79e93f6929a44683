"""Messages of data parallelism: sharded weights gathered, gradients reduced, by layer and at the end of the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfmodel.costs.parameters import Held
from perfmodel.ops import ceil, maximum
from perfmodel.parallel import Parallel, groups
from perfmodel.work import Collective, Overlap, Repeat, Serial, Work
from perfmodel.workload import Precision

__all__ = ["joined", "reduction", "with_sharding"]

LEAST_BUCKET, BUCKET_A_RANK = 40e6, 1e6
"""Megatron-LM's buckets: so many parameters, or so many a rank where that is more [-]."""


def reduction(name: str, parameters: Any, layout: Parallel, formats: Precision, alike: str = "data") -> Work:
    """Gradients of some parameters, joined once over all ranks that share them.

    Each rank gets the part that it updates; with copies of the states (HSDP) it then joins that part with theirs.

    Parameters
    ----------
    name : what for
    parameters : on one rank [-]
    layout, formats : who shares what, in which format
    alike : the ranks that hold the same: data, or expert data

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
        return Collective(name, "all_reduce", size, alike)
    split = layout.state_axis(alike)
    scatter = Collective(name, "reduce_scatter", size, split)
    if layout.sharding != "hsdp":
        return scatter
    part = size / groups(layout)[split].ranks
    across = Collective(f"{name} of copies", "all_reduce", part, alike.replace("data", "replicate"))
    return Serial(name, (scatter, across))


def with_sharding(
    work: Serial,
    parameters: Held,
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
    parameters : of the layer on one rank, by the ranks that hold the same [-]
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
        gather = tuple(_gathered(size, layout, formats, alike) for alike, size in parameters.items())
    if backward and layout.reduces_every_pass:
        reduce = tuple(
            reduction(_named("reduce gradients", alike), size, layout, formats, alike)
            for alike, size in parameters.items()
        )
    if not gather and not reduce:
        return Repeat("layers", times, work)
    alone = () if layout.prefetch else gather
    inside = gather if layout.prefetch else ()
    last = reduce if backward else inside
    behind = () if not backward else inside

    def layer(hidden: tuple[Work, ...], exposed: tuple[Work, ...]) -> Work:
        messages: tuple[Work, ...] = hidden
        if hidden and "dp" in layout.overlap:
            messages = (Overlap("data messages", Serial("data", hidden), work),)
        return Serial(f"{work.name} sharded", (work, *messages, *exposed))

    return Serial(
        f"{work.name}s",
        (
            Repeat("layers", times - edges, layer((*inside, *reduce), alone)),
            Repeat("first of their stage", edges, layer(behind, (*alone, *last))),
        ),
    )


def joined(
    parameters: Held, layout: Parallel, formats: Precision, *, forward: Work, backward: Work, taken: Work
) -> tuple[Work, ...]:
    """Once a step: gradients joined over the data-parallel ranks, and updated weights handed back.

    Both go bucket by bucket beside the layers; the first layer's bucket has nothing to hide behind.

    Parameters
    ----------
    parameters : of the fullest stage on one rank, by the ranks that hold the same [-]
    layout, formats : who shares what, in which format
    forward, backward : what a stage does while others of its layers have their turn
    taken : messages that hide behind either, and come first

    Returns
    -------
    the messages

    References
    ----------
    Li et al. (2020), PyTorch Distributed, arXiv:2006.15704, section 3.2.3; Megatron-LM,
    DistributedDataParallelConfig: bucket_size, overlap_grad_reduce, overlap_param_gather
    """
    counts = {alike: maximum(ceil(size / _bucket(layout)), 1.0) for alike, size in parameters.items()}
    found: tuple[Work, ...] = ()
    if not layout.reduces_every_pass:
        reduced = [
            (
                count,
                reduction(_named("join gradients", alike), parameters[alike] / count, layout, formats, alike),
            )
            for alike, count in counts.items()
        ]
        found = (_in_buckets("dp gradients", reduced, layout, backward, taken),)
    if layout.sharded and "weights" not in layout.sharded:
        gathered = [
            (count, _gathered(parameters[alike] / count, layout, formats, alike))
            for alike, count in counts.items()
        ]
        found = (*found, _in_buckets("dp weights", gathered, layout, forward, taken))
    return found


def _bucket(layout: Parallel) -> Any:
    """Parameters whose gradients are joined together [-]."""
    if layout.bucket is not None:
        return layout.bucket
    ranks = layout.cp * layout.dp  # type: ignore[operator]  # dp is set
    return maximum(LEAST_BUCKET, BUCKET_A_RANK * ranks)


def _named(name: str, alike: str) -> str:
    return name if alike == "data" else f"{name} of experts"


def _gathered(size: Any, layout: Parallel, formats: Precision, alike: str) -> Collective:
    name, payload = _named("gather weights", alike), size * formats.weight_bytes
    return Collective(name, "all_gather", payload, layout.state_axis(alike))


def _in_buckets(
    name: str, buckets: Sequence[tuple[Any, Work]], layout: Parallel, behind: Work, taken: Work
) -> Work:
    """So many equal buckets of each kind; the last of each stands alone, the others hide behind the same work."""
    alone = tuple(bucket for _, bucket in buckets)
    others: Work = Serial(
        "other buckets", tuple(Repeat("other buckets", count - 1, bucket) for count, bucket in buckets)
    )
    if "dp" in layout.overlap:
        others = Overlap(name, others, behind, taken)
    return Serial(name, (*alone, others))
