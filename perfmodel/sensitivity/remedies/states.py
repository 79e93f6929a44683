"""Remedies of what lies on the device: split over replicas, in fewer bits, computed again, or sent to the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.sensitivity.remedies.table import Changes, remedy

__all__ = ["kept_weights", "lighter_optimizer", "offload", "recompute", "sharding"]


@remedy(
    "split states over the replicas another way",
    relieves=("memory", "fabric", "scale_up", "network_latency"),
    costs="the more is split, the more travels: zero2 and zero3 send gradients, zero3 weights, too, with every pass",
)
def sharding(est: Any) -> Iterator[Changes]:
    """Every other kind; copies within a node, with hsdp."""
    if est.layout.dp * est.layout.cp == 1:
        return
    yield from (
        {"sharding": kind} for kind in ("none", "zero1", "zero2", "zero3") if kind != est.layout.sharding
    )
    inside = est.cluster.devices_per_node // est.layout.tp
    for shards in dict.fromkeys((inside, 2 * inside, 4 * inside)):
        if 1 < shards < est.layout.dp * est.layout.cp:
            yield {"sharding": "hsdp", "shards": shards}


@remedy(
    "keep gathered weights until backward",
    relieves=("fabric", "scale_up", "network_latency"),
    costs="whole weights of all layers lie on every device for the length of a pass",
)
def kept_weights(est: Any) -> Iterator[Changes]:
    """One gathering a pass instead of two."""
    if "weights" in est.layout.sharded and est.layout.reshard:
        yield {"reshard": False}


@remedy(
    "recompute other activations, or none",
    relieves=("memory", "compute"),
    costs="what is not kept is computed again in backward",
)
def recompute(est: Any) -> Iterator[Changes]:
    """None, the attention core, activation functions, whole layers, and some of the layers."""
    if est.work.recompute != "none":
        yield {"recompute": "none"}
    yield {"recompute": "selective", "recompute_modules": ("attention core",)}
    yield {"recompute": "selective", "recompute_modules": ("norm", "activation")}
    yield {"recompute": "selective", "recompute_modules": ("mlp",)}
    for every in (1, 2, 4):
        yield {"recompute": "full", "recompute_every": every}


@remedy(
    "put states or activations into the host's memory",
    relieves=("memory",),
    costs="they travel over the host's link; a host that updates weights is slow",
)
def offload(est: Any) -> Iterator[Changes]:
    """Optimizer states, gradients with them, weights, or all activations."""
    if est.work.offload.anything:
        yield {"offload": {}}
        return
    if est.cluster.device.host_link is not None:
        yield {"offload": {"optimizer": 1}}
        yield {"offload": {"optimizer": 0.5}}
        yield {"offload": {"optimizer": 1, "gradients": 1}}
        yield {"offload": {"activations": ("everything",)}}


@remedy(
    "an optimizer with fewer or shorter states",
    relieves=("memory", "memory_bandwidth"),
    costs="another optimizer: learning rates have to be found anew",
    scope="job",
)
def lighter_optimizer(est: Any) -> Iterator[Changes]:
    """8-bit Adam, Adam without a 32-bit copy, Lion."""
    if est.work.optimizer == "adamw":
        yield from ({"optimizer": name} for name in ("adamw_8bit", "adamw_pure", "lion"))
