"""Remedies of routed experts: how they are shared, and how tokens reach them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.sensitivity.remedies.table import Changes, others, remedy

__all__ = ["balanced", "deduplicated", "expert_degree", "hidden_experts"]


def _routes(est: Any) -> bool:
    return any(layer.routes for layer, _ in est.model.layers())


@remedy(
    "another expert-parallel degree",
    relieves=("fabric", "scale_up", "network_latency", "memory", "memory_bandwidth"),
    costs="fewer ranks hold more experts each; more ranks send more tokens, farther",
    kinds=("training", "inference", "serving"),
)
def expert_degree(est: Any) -> Iterator[Changes]:
    """Halves and doubles of ep, one rank an expert or as many as share its columns."""
    if not _routes(est):
        return
    for ep in others(est.layout.ep, est.cluster.devices // est.layout.pp):
        yield {"ep": ep}
        if est.layout.tp > 1:
            yield {"ep": ep, "expert_tp": est.layout.tp if est.layout.tp_in_experts == 1 else 1}


@remedy(
    "send a token once to each node or rack that has any of its experts",
    relieves=("fabric", "scale_up"),
    costs="kernels of their own (DeepEP, HybridEP)",
    kinds=("training", "inference", "serving"),
)
def deduplicated(est: Any) -> Iterator[Changes]:
    """The other way of dispatching."""
    if _routes(est) and est.layout.ep > 1 and est.layout.dispatch == "all_to_all":
        yield {"dispatch": "deduplicated"}


@remedy(
    "hide tokens on their way behind other compute",
    relieves=("fabric", "scale_up", "network_latency"),
    costs="two micro-batches are in flight at once, or shared experts are there to compute",
)
def hidden_experts(est: Any) -> Iterator[Changes]:
    """Behind another micro-batch, or behind shared experts."""
    if _routes(est) and est.layout.ep > 1 and "ep" not in est.layout.overlap:
        yield {"overlap": (*est.layout.overlap, "ep"), "overlap_shared": False}
        if not est.layout.overlap_shared:
            yield {"overlap_shared": True}


@remedy(
    "balance the load of the experts",
    relieves=("compute", "memory_bandwidth", "fabric"),
    costs="a loss that balances, or tokens that are dropped",
    scope="job",
    kinds=("training", "inference", "serving"),
)
def balanced(est: Any) -> Iterator[Changes]:
    """As many tokens for every rank."""
    if _routes(est) and est.work.expert_imbalance > 1:
        yield {"expert_imbalance": 1}
