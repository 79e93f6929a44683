"""Remedies of the layout: other degrees of parallelism, micro-batches and pipeline schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.schedules import schedules
from perfmodel.sensitivity.remedies.table import Changes, others, remedy

__all__ = ["context_degree", "interleaving", "micro_batch", "pipeline_degree", "schedule", "tensor_degree"]

MOST_CHUNKS = 16
"""Chunks of a stage beyond which a pipeline is hardly ever cut [-]."""


@remedy(
    "another tensor-parallel degree",
    relieves=("scale_up", "fabric", "network_latency", "memory"),
    costs="a smaller degree holds more of every matrix; a larger one sends more, and its products are smaller",
    kinds=("training", "inference", "serving"),
)
def tensor_degree(est: Any) -> Iterator[Changes]:
    """Halves and doubles of tp, up to a node's fast links."""
    most = max(est.cluster.scale_up_domain, est.cluster.devices_per_node)
    for tp in others(est.layout.tp, most):
        parallel = {"sequence_parallel": True} if est.layout.sequence_parallel and tp > 1 else {}
        yield {"tp": tp} | parallel


@remedy(
    "another pipeline degree",
    relieves=("pipeline_bubble", "fabric", "memory"),
    costs="fewer stages hold more layers each; more stages wait for each other longer",
    kinds=("training", "inference", "serving"),
)
def pipeline_degree(est: Any) -> Iterator[Changes]:
    """Halves and doubles of pp, with as many chunks a stage, and with one."""
    for pp in others(est.layout.pp, est.model.depth):
        yield {"pp": pp}
        if est.layout.vpp > 1 and pp > 1:
            yield {"pp": pp, "vpp": 1}


@remedy(
    "interleave the pipeline: so many chunks a stage",
    relieves=("pipeline_bubble",),
    costs="so many times the sends between stages, and activations of more micro-batches on the first stage",
)
def interleaving(est: Any) -> Iterator[Changes]:
    """Every number of chunks that the layers of a stage may be cut into."""
    if est.layout.pp > 1 and est.layout.schedule in ("auto", "1f1b", "interleaved-1f1b"):
        most = min(-(-est.model.depth // est.layout.pp), MOST_CHUNKS)
        yield from ({"vpp": vpp, "schedule": "auto"} for vpp in range(1, most + 1) if vpp != est.layout.vpp)


@remedy(
    "another pipeline schedule",
    relieves=("pipeline_bubble",),
    costs="zero-bubble schedules hold activations longer, and need a backward pass in two halves",
)
def schedule(est: Any) -> Iterator[Changes]:
    """Every other schedule, with the chunks it needs, or two."""
    if est.layout.pp == 1:
        return
    for name in schedules():
        if name != est.layout.schedule:
            yield {"schedule": name}
            if name.startswith(("interleaved", "looped")) and est.layout.vpp == 1:
                yield {"schedule": name, "vpp": 2}


@remedy(
    "another context-parallel degree",
    relieves=("memory", "compute", "scale_up", "fabric"),
    costs="keys and values travel among the ranks that share a sequence",
)
def context_degree(est: Any) -> Iterator[Changes]:
    """Halves and doubles of cp, and the other ways to see the whole sequence."""
    ways = [way for way in ("ring", "all_gather", "ulysses") if way != est.layout.context]
    for cp in others(est.layout.cp, est.cluster.devices // (est.layout.tp * est.layout.pp)):
        yield {"cp": cp}
    if est.layout.cp > 1:
        yield from ({"context": way} for way in ways)
    elif est.layout.tp > 1 and est.work.sequence_length:
        yield from ({"cp": est.layout.tp, "tp": 1, "context": way} for way in ("ring", *ways))


@remedy(
    "another micro batch",
    relieves=("kernel_latency", "host_launch", "fabric", "scale_up", "pipeline_bubble", "memory"),
    costs="a larger one keeps more activations and leaves fewer passes to fill a pipeline",
)
def micro_batch(est: Any) -> Iterator[Changes]:
    """Halves and doubles of the sequences in one pass."""
    passes = int(est.layout.micro_batches(est.work.global_batch))
    yield from (
        {"micro_batch": size}
        for size in others(est.layout.micro_batch, est.layout.micro_batch * passes, reach=64)
    )
