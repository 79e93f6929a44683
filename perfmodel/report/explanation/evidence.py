"""What every explanation shows: the longest operators, how messages travel, and the sources of facts and fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perfmodel.efficiency import MatmulFit
from perfmodel.estimation import Answer, Timed
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
from perfmodel.formulas.memory import copy_time
from perfmodel.formulas.roofline import flash_attention_flops, operator_time, split_walk_time
from perfmodel.report.explanation.entry import Entry, cited
from perfmodel.report.tables import SERVED_TERMS, TERMS
from perfmodel.units import show
from perfmodel.work import Attention, Collective, Leaf, Matmul, Transfer, flops, memory_bytes

__all__ = ["algorithms", "operators", "sources"]

ALGORITHMS: dict[str, Callable[..., Any]] = {
    "ring": ring_all_gather, "torus": torus_all_gather, "tree": tree_all_reduce, "nvls": nvls_all_reduce,
    "nvls tree": tree_all_reduce, "sharp": sharp_all_reduce, "hierarchical": hierarchical_all_reduce,
    "pairwise": pairwise_all_to_all, "rail-aligned": rail_aligned_all_to_all, "dispatch": dispatch_factor, "send": send,
}  # fmt: skip
"""The published formula of each algorithm; times are joined by `smooth_alpha_beta`."""


def operators(est: Answer, node: Timed, of: str) -> Iterator[Entry]:
    """The operator that takes longest of each kind of work.

    Parameters
    ----------
    est : the estimate
    node : part of its tree
    of : what that part is

    Yields
    ------
    one entry a kind
    """
    longest: dict[str, tuple[float, Timed]] = {}
    for share, leaf in leaf_times(node):
        if leaf.seconds * share > longest.get(leaf.kind, (0.0, leaf))[0]:
            longest[leaf.kind] = (leaf.seconds * share, leaf)
    for kind, (total, leaf) in longest.items():
        if leaf.work is not None:
            maths, source = cited(_formula(leaf))
            words = TERMS if est.kind == "training" else SERVED_TERMS
            name = f"{words.get(kind, kind)}: the longest, {leaf.name}"
            value = f"{show(leaf.seconds, 's')} each, {show(total, 's')} of the {of}"
            yield Entry(name, value, maths, _route(leaf) | _demands(leaf.work, est), source)


def algorithms(est: Answer) -> Iterator[Entry]:
    """How each message travels.

    Parameters
    ----------
    est : the estimate
    """
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
    prompts = isinstance(work, Attention) and not work.decode
    return flash_attention_flops if prompts else operator_time


def _walk(work: Matmul, fit: MatmulFit) -> float:
    """Time of a tile along the inner length, as far as no other tiles hide it [s]."""
    alone = split_walk_time(length=work.k, step=fit.inner_step, split=fit.inner_split)
    return float(alone / (1.0 + work.batch * max(work.m, fit.tile) * work.n / fit.wave))


def _demands(work: Leaf, est: Answer) -> dict[str, str]:
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
        fit = est.efficiency.matmul_for(work.dtype, work.kernel)
        shape = {
            "m x n x k": f"{work.m:g} x {work.n:g} x {work.k:g}",
            "P": show(est.cluster.device.peak_for(work.dtype), "FLOP/s"),
        }
        fits = {
            "e_c": f"{fit.compute:g} x {fit.sustained:g} sustained",
            "e_m": f"{fit.memory:g}",
            "t_0": show(fit.latency, "s"),
            "walk": show(_walk(work, fit), "s"),
            "p": f"{fit.exponent:g}",
        }
        return shape | found | fits
    if isinstance(work, Attention):
        fused = est.efficiency.attention
        if work.decode:
            reached = fused.memory if fused.decode_memory is None else fused.decode_memory
            return found | {"keys": f"{work.keys:g} of {work.sequences:g} sequences", "e_m": f"{reached:g}"}
        return found | {
            "d": str(work.head_dim),
            "d_0": f"{fused.softmax_dims:g}",
            "e_c": f"{fused.compute:g}",
        }
    stream = est.efficiency.stream
    fraction = stream.memory.get(work.kind, stream.memory["copy"])
    return {"B": found["B"], "e_m": f"{fraction:g} ({work.kind})", "t_0": show(stream.latency, "s")}


def _link(name: str, est: Answer) -> dict[str, str]:
    """What a copy's rate is made of."""
    fit, cluster = est.efficiency.offload, est.cluster
    if name == "host_memory":
        return {"B": f"{show(fit.host_memory, 'B/s')} a node of {cluster.devices_per_node}"}
    port = cluster.device.host_link
    nominal = cluster.storage if name == "storage" else port and port.bandwidth
    return {"B": f"{getattr(fit, name):g} x {show(nominal or 0, 'B/s')}"}


def sources(est: Answer) -> Iterator[Entry]:
    """Where facts, fits and dimensions come from.

    Parameters
    ----------
    est : the estimate
    """
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
