"""What reports of inference and serving share: the job in words, its memory, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.estimation import InferenceMemory
from perfmodel.model import Model
from perfmodel.report.fitting import fitting_changes
from perfmodel.report.tables import Table, kind_rows
from perfmodel.units import show
from perfmodel.workload import Served

__all__ = ["inputs_dict", "memory_dict", "memory_lines", "memory_table", "served_words", "tokens"]


def tokens(work: Served) -> str:
    """Lengths of a request, in words.

    Parameters
    ----------
    work : the job
    """
    cached = f", {work.cached_length} of them cached" if work.cached_length else ""
    return f"{work.input_length} tokens in{cached}, {work.output_length} out"


def served_words(work: Served, model: Model) -> Iterator[str]:
    """Formats of a job, and what else is not as usual.

    Parameters
    ----------
    work : the job
    model : what is run
    """
    formats = work.formats
    yield f"weights {work.weight_dtype}"
    if formats.core_dtype not in (work.weight_dtype, "bf16"):
        yield f"activations {formats.core_dtype}"
    if model.generates:
        yield f"cache {work.kv_dtype or formats.core_dtype}"
    if work.draft_tokens:
        yield f"{work.draft_tokens} drafted tokens a step, {work.acceptance:.0%} accepted"
    if work.adapters:
        yield f"{work.adapters} adapters of rank {work.adapter_rank}"


def memory_lines(est: Any) -> dict[str, str]:
    """What a device holds, whether it fits, for how much more there is room, and what would make it fit.

    Parameters
    ----------
    est : of inference or serving
    """
    memory: InferenceMemory = est.memory
    share = f" ({memory.share:.0%} of {show(memory.capacity, 'B')})" if memory.share < 1 else ""
    if memory.cache_share < 1:
        share += f", {memory.cache_share:.0%} of what is free for the cache"
    stage = f" on the {memory.stage} stage" if est.layout.pp > 1 else ""
    line = f"{show(memory.total, 'B')} of {show(memory.available, 'B')}{share}{stage}: "
    if est.fits:
        return {"memory": f"{line}fits{_room(est)}"}
    over = max(memory.cache, memory.per_sequence) - memory.room
    told = "; or ".join(str(change) for change in fitting_changes(est)) or "no single change that was tried"
    return {"memory": f"{line}does NOT fit ({show(over, 'B')} over)", "would fit with": told}


def _room(est: Any) -> str:
    memory = est.memory
    if est.kind == "serving" or not memory.per_sequence > 0:
        return ""
    return f", room for {memory.most_sequences:,.0f} such sequences on each replica"


def memory_table(est: Any) -> Table:
    """Memory of one device by kind.

    Parameters
    ----------
    est : of inference or serving
    """
    stage = f" on the {est.memory.stage} stage" if est.layout.pp > 1 else ""
    return Table(f"memory of one device{stage}", "B", kind_rows(est.memory.by_kind, est.memory.total))


def inputs_dict(est: Any) -> dict[str, Any]:
    """What was asked, as plain values.

    Parameters
    ----------
    est : of inference or serving
    """
    return {
        "model": {"name": est.model.name, "family": est.model.family, "parameters": est.model.parameters},
        "workload": est.work.model_dump(mode="json"),
        "layout": est.layout.model_dump(mode="json"),
        "cluster": {
            "name": est.cluster.name,
            "device": est.cluster.device.id,
            "devices": est.cluster.devices,
        },
        "efficiency": est.efficiency.id,
    }


def memory_dict(est: Any) -> dict[str, Any]:
    """Memory of one device as plain values, and what would make it fit.

    Parameters
    ----------
    est : of inference or serving
    """
    memory: InferenceMemory = est.memory
    caches = memory.per_sequence > 0
    grows = caches and memory.per_token > 0 and memory.sequences > 0
    return {
        "fits": bool(est.fits),
        "memory": {
            **memory.by_kind,
            "total": memory.total,
            "capacity": memory.capacity,
            "share": memory.share,
            "cache_share": memory.cache_share,
            "cache_room": memory.room,
            "available": memory.available,
            "stage": memory.stage,
            "cache_per_sequence": memory.per_sequence,
            "cache_per_token": memory.per_token,
            "most_sequences": float(memory.most_sequences) if caches else None,
            "more_tokens": float(memory.more_tokens) if grows else None,
        },
        "would_fit_with": [
            {"change": change.change, "total": change.total} for change in fitting_changes(est)
        ],
    }
