"""A training step as text, table, JSON and HTML."""

from __future__ import annotations

from typing import Any

from perfmodel.estimation import Memory, TrainingEstimate
from perfmodel.estimation.answer import view
from perfmodel.report.tables import (
    TERMS,
    Table,
    band_told,
    kind_rows,
    limits,
    shown_by,
    spread,
    term_rows,
    throughput,
)
from perfmodel.units import show

__all__ = ["describe", "headline", "to_dict"]


def describe(est: TrainingEstimate) -> str:
    """The question in one line: model, machine, layout, batch; what is not as usual is named."""
    layout, work = est.layout, est.work
    sharded = layout.sharding if layout.shards is None else f"{layout.sharding} of {layout.shards}"
    return (
        f"{est.model.name} on {est.cluster.devices} x {est.cluster.device.name}: {', '.join(spread(layout))}, "
        f"{sharded}, micro batch {layout.micro_batch}, global batch {work.global_batch} x "
        f"{_sample(est)}, {work.precision}, recompute {work.policy}"
        + (f", offload {work.offload.words}" if work.offload.words else "")
    )


def _sample(est: TrainingEstimate) -> str:
    """What one sample is, and how large."""
    tokens = f"{est.work.sequence_length} tokens"
    entered, source = est.costs.entered, est.model.source
    if entered.extent:
        sides = " x ".join(f"{size:.0f}" for size in entered.extent)
        what = f"one image of {sides}" if len(entered.extent) == 2 else f"a signal of {sides}"
        return what if est.costs.tokens is None else f"{tokens} and {what}"
    if est.costs.tokens is None:
        return "one sample" if est.model.fixed_length == 1 else f"{est.model.fixed_length} tokens"
    return tokens if source is None else f"{entered.source:.0f} tokens read and {tokens}"


def _throughput(est: TrainingEstimate) -> str:
    """Tokens or samples a second, as the model has them."""
    if est.costs.tokens is not None:
        return throughput([("tokens", est.tokens_per_second)], est.cluster.devices)
    what = "images" if est.model.input == "image" else "samples"
    return throughput([(what, est.samples_per_second)], est.cluster.devices)


def headline(est: TrainingEstimate) -> dict[str, str]:
    """The answers that come first, printed."""
    memory = est.memory
    verdict = "fits" if est.fits else f"does NOT fit ({_over(memory)})"
    return {
        "step time": show(est.step_time, "s") + _band(est),
        "throughput": _throughput(est),
        "MFU": f"{est.mfu:.1%}{_convention(est)}, HFU {est.hfu:.1%}",
        "memory": f"{show(memory.total, 'B')} of {show(memory.capacity, 'B')}{_where(est)}: {verdict}",
        **({"offloaded": _outside(memory)} if est.work.offload.words else {}),
        "limited by": limits(est.limiter),
        "efficiency": f"{est.efficiency.id} ({est.efficiency.confidence})",
    }


def _convention(est: TrainingEstimate) -> str:
    """How attention is counted; nothing to say where none is causal."""
    causal = any(getattr(layer, "causal", False) for layer, _ in est.model.layers())
    return " (causal attention counted once)" if causal else ""


def _over(memory: Memory) -> str:
    if memory.total > memory.capacity:
        return f"{show(memory.total - memory.capacity, 'B')} over"
    return f"{show(memory.host - memory.host_capacity, 'B')} over in the host"


def _outside(memory: Memory) -> str:
    share = "" if memory.host_capacity is None else f" of {show(memory.host_capacity, 'B')}"
    there = f"{show(memory.host, 'B')}{share} in the host's memory"
    return f"{show(memory.storage, 'B')} on its storage" if memory.storage > 0 else there


def _band(est: TrainingEstimate) -> str:
    """Where eight in ten such steps lie, as far as runs were measured."""
    return "" if est.efficiency.spread is None else band_told("steps", est.step_time_range(0.8))


def _where(est: TrainingEstimate) -> str:
    """Which pipeline stage the memory is that of; nothing to say without a pipeline."""
    return f" on the {est.memory.stage} stage" if est.layout.pp > 1 else ""


def _overlap_lines(est: TrainingEstimate) -> tuple[str, ...]:
    """Messages that run beside compute, and of those of each axis the part that does."""
    lines = [f"    {'hidden behind compute':<50}{show(est.tree.hidden, 's'):>11}"]
    for axis, (hidden, exposed) in est.overlap.items():
        if hidden > 0:
            name = TERMS[axis].removesuffix(", exposed")
            lines.append(
                f"      {name:<48}{show(hidden, 's'):>11}{hidden / (hidden + exposed):>8.1%} of them"
            )
    return tuple(lines)


def _tables(est: TrainingEstimate) -> dict[str, Table]:
    memory = est.memory
    return {
        "time": Table("time", "s", term_rows(est.terms, est.step_time), _overlap_lines(est)),
        "memory": Table(f"memory of one device{_where(est)}", "B", kind_rows(memory.by_kind, memory.total)),
    }


@view("dict")
def to_dict(est: TrainingEstimate) -> dict[str, Any]:
    """Every input and every number in SI units; keys stay stable.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    nested mapping, ready for JSON
    """
    limiter, memory = est.limiter, est.memory
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
        "step_time": est.step_time,
        "step_time_range": list(est.step_time_range(0.8)) if est.efficiency.spread else None,
        "samples_per_second": est.samples_per_second,
        "samples_per_second_per_device": est.samples_per_second_per_device,
        "tokens_per_second": est.tokens_per_second,
        "tokens_per_second_per_device": est.tokens_per_second_per_device,
        "mfu": est.mfu,
        "mfu_convention": "causal attention counted once, recomputation not counted",
        "hfu": est.hfu,
        "fits": bool(est.fits),
        "memory": {
            **memory.by_kind,
            "total": memory.total,
            "allocated": memory.allocated,
            "reserved": memory.reserved,
            "host": memory.host,
            "host_capacity": memory.host_capacity,
            "storage": memory.storage,
            "capacity": memory.capacity,
            "stage": memory.stage,
        },
        "limiter": limiter._asdict(),
        "terms": est.terms,
        "algorithms": {
            name: {"algorithm": algorithm, "tier": tier} for name, (algorithm, tier) in est.algorithms.items()
        },
        "resources": est.resources,
        "hidden": est.tree.hidden,
        "overlap": {axis: seconds._asdict() for axis, seconds in est.overlap.items()},
        "model_flops": est.costs.model_flops,
        "hardware_flops": est.costs.hardware_flops,
    }


shown_by("training", describe, headline, _tables)
