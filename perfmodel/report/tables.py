"""An estimate as text, table, JSON, HTML and explanation."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from perfmodel.errors import MissingExtraError
from perfmodel.estimation import Memory, TrainingEstimate
from perfmodel.estimation.answer import view
from perfmodel.parallel import AXES, Parallel
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

__all__ = [
    "RESOURCES",
    "TERMS",
    "describe",
    "headline",
    "to_dict",
    "to_frame",
    "to_html",
    "to_text",
]

TERMS = {
    "matmul": "matrix products",
    "attention": "attention kernels",
    "memory-bound": "norms, activations, optimizer and other streams",
    "tp": "tensor-parallel messages, exposed",
    "cp": "context-parallel messages, exposed",
    "ep": "expert-parallel messages, exposed",
    "pp": "pipeline sends, exposed",
    "dp": "data-parallel messages, exposed",
    "offload": "copies to and from the host, exposed",
    "contention": "compute slowed by messages beside it",
    "bubble": "pipeline bubble",
    "host": "waiting for the host",
    "stragglers": "waiting for the slowest device",
    "input": "waiting for samples",
}
"""Kinds of work, as printed."""

RESOURCES = {
    "compute": "matrix units",
    "memory_bandwidth": "memory bandwidth",
    "kernel_latency": "kernel start-up",
    "network_latency": "network latency",
    "scale_up": "scale-up network",
    "node": "network inside the node",
    "fabric": "network between nodes",
    "host_link": "link to the host",
    "host_memory": "memory of the host",
    "storage": "storage of the host",
    "spine": "spine of the network between nodes",
    "pipeline_bubble": "pipeline bubble",
    "host_launch": "host",
    "stragglers": "slowest device",
    "input_pipeline": "input pipeline",
}
"""Resources, as printed."""


def describe(est: TrainingEstimate) -> str:
    """The question in one line: model, machine, layout, batch; what is not as usual is named."""
    layout, work = est.layout, est.work
    return (
        f"{est.model.name} on {est.cluster.devices} x {est.cluster.device.name}: {', '.join(_spread(layout))}, "
        f"micro batch {layout.micro_batch}, global batch {work.global_batch} x "
        f"{_sample(est)}, {work.precision}, recompute {work.policy}"
        + (f", offload {work.offload.words}" if work.offload.words else "")
    )


def _spread(layout: Parallel) -> Iterator[str]:
    """How the model is spread, in words: degrees, then what goes with them."""
    yield from (
        f"{axis} {getattr(layout, axis)}"
        for axis in ("tp", "cp", "ep", "pp", "vpp", "dp")
        if getattr(layout, axis) > 1 or axis == "dp"
    )
    if layout.expert_tp is not None:
        yield f"expert tp {layout.expert_tp}"
    if layout.cp > 1 and layout.context != "ring":
        yield f"context by {layout.context}"
    if layout.schedule != "auto":
        yield f"schedule {layout.schedule}"
    if layout.order != AXES:
        yield f"order {' '.join(layout.order)}"
    yield layout.sharding if layout.shards is None else f"{layout.sharding} of {layout.shards}"


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
    """Tokens and samples a second, as far as the model has them."""
    what = "images" if est.model.input == "image" else "samples"
    rates = [(what, est.samples_per_second, est.samples_per_second_per_device)]
    if est.costs.tokens is not None:
        rates = [("tokens", est.tokens_per_second, est.tokens_per_second_per_device)]
    return ", ".join(f"{all_:,.0f} {what}/s, {one:,.0f} per device" for what, all_, one in rates)


def headline(est: TrainingEstimate) -> dict[str, str]:
    """The answers that come first, printed."""
    memory, limiter = est.memory, est.limiter
    verdict = "fits" if est.fits else f"does NOT fit ({_over(memory)})"
    return {
        "step time": show(est.step_time, "s") + _band(est),
        "throughput": _throughput(est),
        "MFU": f"{est.mfu:.1%}{_convention(est)}, HFU {est.hfu:.1%}",
        "memory": f"{show(memory.total, 'B')} of {show(memory.capacity, 'B')}{_where(est)}: {verdict}",
        **({"offloaded": _outside(memory)} if est.work.offload.words else {}),
        "limited by": f"{RESOURCES[limiter.name]} ({limiter.share:.0%}), then {RESOURCES[limiter.runner_up]} "
        f"({limiter.runner_up_share:.0%})",
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
    if est.efficiency.spread is None:
        return ""
    low, high = est.step_time_range(0.8)
    return f" (eight in ten such steps: {show(low, 's', 3)} to {show(high, 's', 3)})"


def _where(est: TrainingEstimate) -> str:
    """Which pipeline stage the memory is that of; nothing to say without a pipeline."""
    return f" on the {est.memory.stage} stage" if est.layout.pp > 1 else ""


def _time_rows(est: TrainingEstimate) -> list[tuple[str, float, float]]:
    rows = [
        (TERMS.get(name, name), value, value / est.step_time)
        for name, value in est.terms.items()
        if value > 0
    ]
    return sorted(rows, key=lambda row: -row[1])


def _memory_rows(est: TrainingEstimate) -> list[tuple[str, float, float]]:
    kinds = est.memory.by_kind
    return [(name, value, value / est.memory.total) for name, value in kinds.items() if value > 0]


def _overlap_lines(est: TrainingEstimate) -> list[str]:
    """Messages that run beside compute, and of those of each axis the part that does."""
    lines = [f"    {'hidden behind compute':<50}{show(est.tree.hidden, 's'):>11}"]
    for axis, (hidden, exposed) in est.overlap.items():
        if hidden > 0:
            name = TERMS[axis].removesuffix(", exposed")
            lines.append(
                f"      {name:<48}{show(hidden, 's'):>11}{hidden / (hidden + exposed):>8.1%} of them"
            )
    return lines


@view("text")
def to_text(est: TrainingEstimate) -> str:
    """The estimate on one screen.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    plain text
    """
    lines = [describe(est), ""]
    lines += [f"  {name:<12}{value}" for name, value in headline(est).items()]
    lines += ["", "  time"]
    lines += [f"    {name:<50}{show(value, 's'):>11}{share:>8.1%}" for name, value, share in _time_rows(est)]
    lines += _overlap_lines(est)
    lines += ["", f"  memory of one device{_where(est)}"]
    lines += [
        f"    {name:<50}{show(value, 'B'):>11}{share:>8.1%}" for name, value, share in _memory_rows(est)
    ]
    return "\n".join(lines)


@view("html")
def to_html(est: TrainingEstimate) -> str:
    """The estimate for a notebook: tables with bars, no scripts.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    HTML
    """
    answers = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>"
        f"{escape(value)}</td></tr>"
        for name, value in headline(est).items()
    )
    times = _bars("time", [(name, show(value, "s"), share) for name, value, share in _time_rows(est)])
    kinds = _bars("memory", [(name, show(value, "B"), share) for name, value, share in _memory_rows(est)])
    return f"<div><p><b>{escape(describe(est))}</b></p><table>{answers}</table>{times}{kinds}</div>"


def _bars(title: str, rows: list[tuple[str, str, float]]) -> str:
    cells = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td><td>{escape(value)}</td><td>{share:.1%}</td>"
        f"<td style='min-width:12em'>{_bar(share)}</td></tr>"
        for name, value, share in rows
    )
    return f"<table><thead><tr><th style='text-align:left' colspan='4'>{escape(title)}</th></tr></thead>{cells}</table>"


def _bar(share: float) -> str:
    return f"<div style='background:#4c78a8;height:0.8em;width:{100 * share:.1f}%'></div>"


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


@view("frame")
def to_frame(est: TrainingEstimate) -> pandas.DataFrame:
    """The breakdown as a table: one row a term of time and a kind of memory.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    columns quantity, name, value (s or B), share

    Raises
    ------
    MissingExtraError
        pandas is not installed
    """
    rows = [("time", *row) for row in _time_rows(est)] + [("memory", *row) for row in _memory_rows(est)]
    frame: pandas.DataFrame = _pandas().DataFrame(rows, columns=["quantity", "name", "value", "share"])
    return frame


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("pandas", "frame") from None
    return pandas
