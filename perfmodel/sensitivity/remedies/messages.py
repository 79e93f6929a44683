"""Remedies of messages: hidden behind compute, joined into longer ones, sent in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.sensitivity.remedies.table import Changes, remedy

__all__ = [
    "hidden_data",
    "hidden_tensor",
    "longer_messages",
    "sequence_parallel",
    "shorter_gradients",
    "synced_once",
]

USUAL_BUCKET = 40_000_000
"""Parameters whose gradients are reduced together where nothing is said (Megatron-LM) [-]."""


@remedy(
    "hide messages between replicas, stages or parts of a sequence behind compute",
    relieves=("fabric", "scale_up", "network_latency"),
    costs="compute loses the cores that the messages hold",
)
def hidden_data(est: Any) -> Iterator[Changes]:
    """Axes whose messages do not run beside compute yet."""
    now = est.layout.overlap
    missing = [axis for axis in ("dp", "pp", "cp") if axis not in now and _ranks(est, axis) > 1]
    yield from ({"overlap": (*now, axis)} for axis in missing)
    if len(missing) > 1:
        yield {"overlap": (*now, *missing)}
    if not est.layout.prefetch:
        yield {"prefetch": True}


def _ranks(est: Any, axis: str) -> int:
    return int(getattr(est.layout, axis))


@remedy(
    "hide tensor-parallel messages behind the products next to them",
    relieves=("scale_up", "fabric"),
    costs="products are cut into pieces; the framework has to have it (Transformer Engine's user buffers, async TP)",
)
def hidden_tensor(est: Any) -> Iterator[Changes]:
    """Each way to overlap them, with sequence parallelism where it is off."""
    if est.layout.tp == 1:
        return
    for way in ("ring", "pipelined", "userbuffers"):
        if way != est.layout.tensor_overlap:
            yield {"tp_overlap": way}
            if not est.layout.sequence_parallel:
                yield {"tp_overlap": way, "sequence_parallel": True}


@remedy(
    "sequence parallelism: norms and residuals split over the tensor ranks",
    relieves=("memory", "memory_bandwidth"),
    costs="two messages in the place of one, of the same bytes together",
)
def sequence_parallel(est: Any) -> Iterator[Changes]:
    """Switched on where tensor ranks share matrices."""
    if est.layout.tp > 1 and not est.layout.sequence_parallel:
        yield {"sequence_parallel": True}


@remedy(
    "longer messages: larger buckets of gradients",
    relieves=("network_latency",),
    costs="the last bucket has less to hide behind",
)
def longer_messages(est: Any) -> Iterator[Changes]:
    """Buckets of other sizes."""
    now = est.layout.bucket or USUAL_BUCKET
    yield from ({"bucket": round(now * factor)} for factor in (0.25, 4, 16))


@remedy(
    "reduce gradients once a step instead of every pass",
    relieves=("fabric", "scale_up", "network_latency"),
    costs="every rank keeps whole gradients until then",
)
def synced_once(est: Any) -> Iterator[Changes]:
    """No synchronisation but in the last pass."""
    if est.layout.reduces_every_pass and est.layout.dp > 1:
        yield {"gradient_sync": "last"}


@remedy(
    "send gradients in 16 bits",
    relieves=("fabric", "scale_up", "memory"),
    costs="sums of gradients are rounded: watch the loss",
    scope="job",
)
def shorter_gradients(est: Any) -> Iterator[Changes]:
    """On the wire alone, and where they are accumulated, too."""
    formats = est.work.formats
    if formats.reduce_bytes > 2:
        yield {"reduce_dtype": "bf16"}
    if formats.gradient_bytes > 2 and est.work.gradient_copy != "update":
        yield {"gradient_dtype": "bf16"}
