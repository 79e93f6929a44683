"""Each number of an estimate with its formula, what went in, and where that comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perfmodel.costs.states import mean_state_bytes
from perfmodel.estimation import Timed, TrainingEstimate
from perfmodel.estimation.answer import view
from perfmodel.estimation.pipeline import CLOSED
from perfmodel.estimation.timed import leaf_times
from perfmodel.formulas.all_reduce import (
    hierarchical_all_reduce,
    nvls_all_reduce,
    sharp_all_reduce,
    tree_all_reduce,
)
from perfmodel.formulas.collectives import (
    ring_all_gather,
    ring_all_reduce,
    send,
    smooth_alpha_beta,
    torus_all_gather,
)
from perfmodel.formulas.exchange import dispatch_factor, pairwise_all_to_all, rail_aligned_all_to_all
from perfmodel.formulas.memory import copy_time, sharded
from perfmodel.formulas.pipeline import live_micro_batches, pipeline_time
from perfmodel.formulas.roofline import flash_attention_flops, operator_time
from perfmodel.formulas.training import model_flops_utilisation
from perfmodel.report.tables import TERMS, describe
from perfmodel.schedules import schedule_class
from perfmodel.schedules.timing import timing
from perfmodel.units import show
from perfmodel.work import Attention, Collective, Leaf, Matmul, Transfer, flops, memory_bytes

__all__ = ["Entry", "cited", "entries", "explain"]


ALGORITHMS: dict[str, Callable[..., Any]] = {
    "ring": ring_all_gather, "torus": torus_all_gather, "tree": tree_all_reduce, "nvls": nvls_all_reduce,
    "nvls tree": tree_all_reduce, "sharp": sharp_all_reduce, "hierarchical": hierarchical_all_reduce,
    "pairwise": pairwise_all_to_all, "rail-aligned": rail_aligned_all_to_all, "dispatch": dispatch_factor, "send": send,
}  # fmt: skip
"""The published formula of each algorithm; times are joined by `smooth_alpha_beta`."""


class Entry(NamedTuple):
    """One explained number.

    Parameters
    ----------
    quantity : what it is
    value : the number, printed
    formula : in LaTeX, or a sentence
    inputs : what went in, by symbol or name, printed
    source : of the formula or the numbers
    """

    quantity: str
    value: str
    formula: str
    inputs: dict[str, str]
    source: str


def cited(formula: Callable[..., Any]) -> tuple[str, str]:
    """Equation and references of a formula, read from its docstring, so that they can't differ from it.

    Parameters
    ----------
    formula : a function of `perfmodel.formulas`

    Returns
    -------
    LaTeX, references

    Examples
    --------
    >>> cited(sharded)[0]
    'n / p'
    """
    text = inspect.getdoc(formula) or ""
    maths = re.search(r"\.\. math:: (.*?)\n\n", text, re.DOTALL)
    references = re.search(r"References\n-+\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
    equation, source = (" ".join(found[1].split()) if found else "" for found in (maths, references))
    return equation, f"{formula.__module__}.{formula.__name__}; {source}"


def entries(est: TrainingEstimate) -> Iterator[Entry]:
    """Everything there is to explain, the answers first.

    Parameters
    ----------
    est : the estimate

    Yields
    ------
    one entry a number
    """
    yield from _answers(est)
    yield from _operators(est)
    yield from _algorithms(est)
    yield from _memory(est)
    yield from _sources(est)


def _answers(est: TrainingEstimate) -> Iterator[Entry]:
    pipeline = next(part for part in est.tree.parts if part.name == "micro-batches")
    busy, bubble = pipeline.parts
    work, layout, fit = est.work, est.layout, est.efficiency.overlap
    passes = layout.micro_batches(work.global_batch)
    yield Entry(
        "step time",
        show(est.step_time, "s"),
        "sum over the tree of work: micro-batches + what sticks out of gradient "
        "and weight messages + optimizer + waiting for the host",
        {part.name: show(part.seconds, "s") for part in est.tree.parts if part.seconds > 0},
        "perfmodel.estimation.timing",
    )
    maths, source = _schedule(layout.pipeline_schedule)
    inputs = {
        "m": f"{passes:g} micro-batches",
        "t_max": show(busy.parts[0].seconds, "s"),
        "v": str(layout.vpp),
        "bubble": show(bubble.seconds, "s"),
        "stages": str(layout.pp),
        "schedule": layout.schedule,
    }
    yield Entry("micro-batches", show(pipeline.seconds, "s"), maths, inputs, source)
    for axis, (hidden, exposed) in est.overlap.items():
        told = {"hidden": show(hidden, "s"), "exposed": show(exposed, "s")}
        yield Entry(
            f"overlap: {TERMS[axis].removesuffix(', exposed')}",
            show(hidden + exposed, "s"),
            "hidden = achieved x min(messages, compute that no other message runs beside), for which compute loses "
            "slowdown x hidden",
            told | {"achieved": f"{fit.achieved:g}", "slowdown": f"{fit.slowdown:g}"},
            f"efficiency {est.efficiency.id}",
        )
    maths, source = cited(model_flops_utilisation)
    inputs = {
        "F": f"{est.costs.model_flops:.6g} FLOP",
        "n": str(est.cluster.devices),
        "P": show(est.peak, "FLOP/s"),
        "t": show(est.step_time, "s"),
    }
    yield Entry("MFU", f"{est.mfu:.2%}", maths, inputs, source)
    inputs["F"] = f"{est.costs.hardware_flops:.6g} FLOP, recomputation counted"
    yield Entry("HFU", f"{est.hfu:.2%}", maths, inputs, source)


def _schedule(name: str) -> tuple[str, str]:
    """Formula and source of a schedule's time."""
    maths, source = cited(pipeline_time if name in CLOSED else timing)
    return maths, f"{source}; {schedule_class(name).reference}"


def _operators(est: TrainingEstimate) -> Iterator[Entry]:
    """The operator that takes longest of each kind of work."""
    longest: dict[str, tuple[float, Timed]] = {}
    for share, leaf in leaf_times(est.tree):
        if leaf.seconds * share > longest.get(leaf.kind, (0.0, leaf))[0]:
            longest[leaf.kind] = (leaf.seconds * share, leaf)
    for kind, (total, leaf) in longest.items():
        if leaf.work is not None:
            maths, source = cited(_formula(leaf))
            name = f"{TERMS.get(kind, kind)}: the longest, {leaf.name}"
            value = f"{show(leaf.seconds, 's')} each, {show(total, 's')} of the step"
            yield Entry(name, value, maths, _route(leaf) | _demands(leaf.work, est), source)


def _algorithms(est: TrainingEstimate) -> Iterator[Entry]:
    """How each message travels."""
    if est.algorithms:
        maths, source = cited(smooth_alpha_beta)
        routes = {name: f"{algorithm} over {tier}" for name, (algorithm, tier) in est.algorithms.items()}
        yield Entry("algorithms", "the fastest that each network tier offers", maths, routes, source)


def _route(leaf: Timed) -> dict[str, str]:
    return {} if leaf.route is None else {"algorithm": str(leaf.route)}


def _formula(leaf: Timed) -> Callable[..., Any]:
    work = leaf.work
    if isinstance(work, Collective):
        name = leaf.route.algorithm.name if leaf.route else ""
        if (name, work.kind) == ("ring", "all_reduce"):
            return ring_all_reduce
        return ALGORITHMS.get(name, smooth_alpha_beta)
    if isinstance(work, Transfer):
        return copy_time
    return flash_attention_flops if isinstance(work, Attention) else operator_time


def _demands(work: Leaf, est: TrainingEstimate) -> dict[str, str]:
    if isinstance(work, Collective):
        group = est.costs.groups[work.axis]
        return {
            "kind": work.kind,
            "payload": show(work.payload, "B"),
            "ranks": str(group.ranks),
            "stride": str(group.stride),
        }
    if isinstance(work, Transfer):
        return {"n": show(work.bytes, "B"), "link": work.link.replace("_", " ")} | _link(work.link, est)
    found = {"F": f"{flops(work):.6g} FLOP", "B": show(memory_bytes(work), "B")}
    if isinstance(work, Matmul):
        fit = est.efficiency.matmul_for(work.dtype)
        shape = {"m x n x k": f"{work.m:g} x {work.n:g} x {work.k:g}", "P": show(est.peak, "FLOP/s")}
        fits = {
            "e_c": f"{fit.compute:g} x {fit.sustained:g} sustained",
            "e_m": f"{fit.memory:g}",
            "t_0": show(fit.latency, "s"),
            "p": f"{fit.exponent:g}",
        }
        return shape | found | fits
    if isinstance(work, Attention):
        fused = est.efficiency.attention
        return found | {
            "d": str(work.head_dim),
            "d_0": f"{fused.softmax_dims:g}",
            "e_c": f"{fused.compute:g}",
        }
    stream = est.efficiency.stream
    fraction = stream.memory.get(work.kind, stream.memory["copy"])
    return {"B": found["B"], "e_m": f"{fraction:g} ({work.kind})", "t_0": show(stream.latency, "s")}


def _link(name: str, est: TrainingEstimate) -> dict[str, str]:
    """What a copy's rate is made of."""
    fit, cluster = est.efficiency.offload, est.cluster
    if name == "host_memory":
        return {"B": f"{show(fit.host_memory, 'B/s')} a node of {cluster.devices_per_node}"}
    port = cluster.device.host_link
    nominal = cluster.storage if name == "storage" else port and port.bandwidth
    return {"B": f"{getattr(fit, name):g} x {show(nominal or 0, 'B/s')}"}


def _memory(est: TrainingEstimate) -> Iterator[Entry]:
    memory, formats, layout = est.memory, est.work.formats, est.layout
    maths, source = cited(sharded)
    states = mean_state_bytes(est.model, est.work, est.costs.entered)
    ranks = {
        "data ranks": str(est.costs.groups["data"].ranks),
        "sharding": layout.sharding,
        "tp": str(layout.tp),
    }
    sizes = {
        "weights": f"{formats.held_bytes:g} B a parameter",
        "gradients": f"{formats.gradient_bytes:g} B a parameter",
        "optimizer": f"{states:g} B of moments + {formats.master_bytes:g} B of master copy a parameter",
    }
    for kind, size in sizes.items():
        value = show(memory.by_kind[kind], "B")
        yield Entry(f"memory: {kind}", value, maths, {"n": size, "stage": memory.stage} | ranks, source)
    maths, source = cited(live_micro_batches)
    yield Entry(
        "memory: activations",
        show(memory.activations, "B"),
        f"bytes each layer saves x layers of the stage x micro-batches alive, {maths}",
        {"stages": str(layout.pp), "v": str(layout.vpp), "recompute": est.work.policy},
        source,
    )
    declared = est.efficiency.overhead
    yield Entry(
        "memory: overhead",
        show(memory.overhead, "B"),
        "context + communication x axes of more than one rank + tensors x fragmentation / (1 - fragmentation), "
        "the last as long as there is room",
        {
            "context": show(declared.context, "B"),
            "communication": show(declared.communication, "B"),
            "fragmentation": f"{declared.fragmentation:.0%}",
        },
        f"efficiency {est.efficiency.id}, declared",
    )


def _sources(est: TrainingEstimate) -> Iterator[Entry]:
    device, fits = est.cluster.device, est.efficiency
    facts = {"peak": show(est.peak, "FLOP/s"), "memory": show(device.memory_bandwidth, "B/s")}
    facts |= {tier.name: show(tier.bandwidth, "B/s") for tier in est.cluster.tiers}
    unverified = f"; unverified: {', '.join(device.unverified)}" if device.unverified else ""
    yield Entry(
        "facts",
        device.id,
        f"datasheet, confidence {device.confidence}{unverified}",
        facts,
        "; ".join(device.sources),
    )
    loose = {"unverified": ", ".join(fits.unverified)} if fits.unverified else {}
    yield Entry(
        "fits", fits.id, f"{fits.residual} Confidence {fits.confidence}.", loose, "; ".join(fits.sources)
    )
    if est.model.sources:
        yield Entry(
            "model", est.model.name, f"{est.model.parameters:,} parameters", {}, "; ".join(est.model.sources)
        )


@view("explain")
def explain(est: TrainingEstimate) -> str:
    """The explanation as text.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    a paragraph a number
    """
    lines = [f"How {describe(est)} was predicted", ""]
    for entry in entries(est):
        lines += [f"{entry.quantity} = {entry.value}", f"    {entry.formula}"]
        if entry.inputs:
            lines.append("    with " + ", ".join(f"{name} = {value}" for name, value in entry.inputs.items()))
        lines += [f"    source: {entry.source}", ""]
    return "\n".join(lines).rstrip()
