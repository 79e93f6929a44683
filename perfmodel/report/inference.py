"""A batch of inference as text, table, JSON and HTML."""

from __future__ import annotations

from typing import Any

from perfmodel.estimation import InferenceEstimate
from perfmodel.estimation.answer import view
from perfmodel.estimation.timed import by_kind
from perfmodel.report.served import (
    inputs_dict,
    memory_dict,
    memory_lines,
    memory_table,
    served_words,
    tokens,
)
from perfmodel.report.tables import (
    SERVED_TERMS,
    Table,
    band_told,
    limits,
    shown_by,
    spread,
    term_rows,
    throughput,
)
from perfmodel.units import show

__all__ = ["describe", "headline", "to_dict"]


def describe(est: InferenceEstimate) -> str:
    """The question in one line: model, machine, layout, batch, formats; what is not as usual is named.

    Parameters
    ----------
    est : the estimate
    """
    told = [
        *spread(est.layout),
        f"batch {est.work.batch} x {_sample(est)}",
        *served_words(est.work, est.model),
    ]
    return f"{est.model.name} on {est.cluster.devices} x {est.cluster.device.name}: {', '.join(told)}"


def _sample(est: InferenceEstimate) -> str:
    """What one sample is, and how large."""
    entered, work = est.costs.entered, est.work
    if entered.extent:
        sides = " x ".join(f"{size:.0f}" for size in entered.extent)
        seen = f"an image of {sides}" if len(entered.extent) == 2 else f"a signal of {sides}"
        return seen if work.input_length is None else f"({seen}, {tokens(work)})"
    if work.input_length is None:
        return "a sample" if est.model.fixed_length == 1 else f"{est.model.fixed_length} tokens"
    if est.model.source is not None:
        return f"({entered.source:.0f} tokens read, {tokens(work)})"
    return f"({tokens(work)})" if est.model.generates else f"{work.input_length} tokens"


def headline(est: InferenceEstimate) -> dict[str, str]:
    """The answers that come first, printed.

    Parameters
    ----------
    est : the estimate
    """
    generates = est.model.generates and est.work.output_length > 0
    return {
        **(_token_times(est) if generates else {}),
        "latency": show(est.latency, "s") + _band(est),
        "throughput": _rates(est, generates=generates),
        **_utilisation(est),
        **_waves(est),
        **memory_lines(est),
        **_limited(est),
        "efficiency": f"{est.efficiency.id} ({est.efficiency.confidence})",
    }


def _limited(est: InferenceEstimate) -> dict[str, str]:
    several = len(est.limiters) > 1
    return {
        f"{name} limited by" if several else "limited by": limits(limiter)
        for name, limiter in est.limiters.items()
    }


def _token_times(est: InferenceEstimate) -> dict[str, str]:
    found = {}
    if est.prefill is not None:
        found["time to first token"] = show(est.ttft, "s")
    if est.decode is not None:
        found["time per output token"] = (
            f"{show(est.tpot, 's')}, {1 / est.tpot:,.4g} tokens/s for each sequence"
        )
    return found


def _waves(est: InferenceEstimate) -> dict[str, str]:
    """How a batch that is larger than the cache is run."""
    if not est.waves > 1:
        return {}
    together = (
        f"{est.sequences_together:,.4g} of {est.work.batch / (est.layout.dp or 1):,.6g} sequences together"
    )
    return {"waves": f"{est.waves:,.4g}, one after the other: {together} on each replica"}


def _band(est: InferenceEstimate) -> str:
    """Where eight in ten such batches lie, as far as runs were measured."""
    return "" if est.efficiency.spread is None else band_told("batches", est.latency_range(0.8))


def _rates(est: InferenceEstimate, *, generates: bool) -> str:
    devices = est.cluster.devices
    if generates:
        return throughput([("tokens", est.output_tokens_per_second)], devices)
    what = {"image": "images", "signal": "signals"}.get(est.model.input, "samples")
    return throughput([(what, est.samples_per_second)], devices)


def _utilisation(est: InferenceEstimate) -> dict[str, str]:
    found = {}
    if est.prefill is not None:
        found["MFU of prefill" if est.decode is not None else "MFU"] = f"{est.prefill_mfu:.1%}"
    if est.decode is not None:
        found["MBU of decode"] = f"{est.mbu:.1%} (weights and cache read)"
    return found


def _tables(est: InferenceEstimate) -> dict[str, Table]:
    """Where the time of each phase goes, and the memory."""
    titles = {"prefill": "prefill" if est.decode is not None else "time", "decode": "a step of decode"}
    found = {}
    for name, phase in (("prefill", est.prefill), ("decode", est.decode)):
        if phase is not None:
            each = " in each wave" if est.waves > 1 else ""
            times = f" ({est.work.steps:,.4g} of them{each})" if name == "decode" else ""
            title = f"{titles[name]}, {show(phase.seconds, 's')}{times}"
            found[name] = Table(title, "s", term_rows(by_kind(phase), phase.seconds, SERVED_TERMS))
    return {**found, "memory": memory_table(est)}


@view("dict", "inference")
def to_dict(est: InferenceEstimate) -> dict[str, Any]:
    """Every input and every number in SI units; keys stay stable.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    nested mapping, ready for JSON
    """
    phases = {"prefill": est.prefill, "decode": est.decode}
    return {
        **inputs_dict(est),
        "prefill_time": est.prefill_time,
        "decode_time": est.decode_time,
        "steps": est.work.steps,
        "waves": est.waves,
        "sequences_together": est.sequences_together,
        "ttft": est.ttft,
        "tpot": est.tpot,
        "latency": est.latency,
        "latency_range": list(est.latency_range(0.8)) if est.efficiency.spread else None,
        "output_tokens_per_second": est.output_tokens_per_second,
        "output_tokens_per_second_per_device": est.output_tokens_per_second_per_device,
        "total_tokens_per_second": est.total_tokens_per_second,
        "samples_per_second": est.samples_per_second,
        "mfu": est.mfu,
        "prefill_mfu": est.prefill_mfu,
        "mbu": est.mbu,
        **memory_dict(est),
        "limiter": est.limiter._asdict(),
        "limiters": {name: limiter._asdict() for name, limiter in est.limiters.items()},
        "terms": est.terms,
        "resources": est.resources,
        "phases": {
            name: {"seconds": phase.seconds, "terms": by_kind(phase), "resources": phase.resources}
            for name, phase in phases.items()
            if phase is not None
        },
        "algorithms": {
            name: {"algorithm": algorithm, "tier": tier} for name, (algorithm, tier) in est.algorithms.items()
        },
        "prefill_flops": est.costs.prefill_flops,
        "decode_flops": est.costs.decode_flops,
        "held_bytes": est.costs.held,
    }


shown_by("inference", describe, headline, _tables)
