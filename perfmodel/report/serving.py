"""Requests served together, as text, table, JSON and HTML."""

from __future__ import annotations

from typing import Any

from perfmodel.estimation import ServingEstimate
from perfmodel.estimation.answer import view
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
from perfmodel.workload import Serving

__all__ = ["describe", "headline", "to_dict"]

PERCENTS = (50, 90, 99)
"""Percentiles that are printed."""


def describe(est: ServingEstimate) -> str:
    """The question in one line: model, machine, layout, load, formats; what is not as usual is named.

    Parameters
    ----------
    est : the estimate
    """
    work = est.work
    told = [*spread(est.layout), f"{_load(work)} x ({tokens(work)})", *served_words(work, est.model)]
    if work.prefill_replicas:
        told.append(f"{work.prefill_replicas} replicas for prompts alone")
    return f"{est.model.name} on {est.cluster.devices} x {est.cluster.device.name}: {', '.join(told)}"


def _load(work: Serving) -> str:
    if work.concurrency is not None:
        return f"{work.concurrency} users"
    return "as many as fit" if work.request_rate is None else f"{work.request_rate:g} requests/s"


def headline(est: ServingEstimate) -> dict[str, str]:
    """The answers that come first, printed.

    Parameters
    ----------
    est : the estimate
    """
    state = est.state
    return {
        "time to first token": f"{show(est.ttft, 's')} on average{_tail(est, est.ttft_percentile)}",
        "time per output token": f"{show(est.tpot, 's')} on average{_tail(est, est.tpot_percentile)}",
        "latency": show(est.latency, "s") + _band(est),
        "throughput": throughput([("tokens", est.output_tokens_per_second)], est.cluster.devices)
        + f"; {est.requests_per_second:,.4g} requests/s",
        "running batch": f"{state.batch:,.4g} of at most {state.most:,.0f} sequences on each replica",
        "max concurrency": f"{est.max_concurrency:,.0f} requests decoded together on all replicas",
        **memory_lines(est),
        "limited by": limits(est.limiter),
        "efficiency": f"{est.efficiency.id} ({est.efficiency.confidence})",
    }


def _tail(est: ServingEstimate, percentile: Any) -> str:
    """The slowest one in ten and in a hundred, where they differ."""
    if percentile(PERCENTS[-1]) == percentile(PERCENTS[0]):
        return ""
    return ", " + ", ".join(
        f"at most {show(percentile(percent), 's')} in {percent} of 100" for percent in PERCENTS[1:]
    )


def _band(est: ServingEstimate) -> str:
    """Where eight in ten such loads lie, as far as runs were measured."""
    return "" if est.efficiency.spread is None else band_told("loads", est.latency_range(0.8))


def _tables(est: ServingEstimate) -> dict[str, Table]:
    """Where the time of a request goes, and the memory."""
    rows = term_rows(est.terms, est.latency, SERVED_TERMS)
    return {
        "request": Table(f"a request, {show(est.latency, 's')}", "s", rows),
        "memory": memory_table(est),
    }


@view("dict", "serving")
def to_dict(est: ServingEstimate) -> dict[str, Any]:
    """Every input and every number in SI units; keys stay stable.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    nested mapping, ready for JSON
    """
    return {
        **inputs_dict(est),
        "load": est.work.load,
        "ttft": est.ttft,
        "ttft_percentiles": {str(percent): est.ttft_percentile(percent) for percent in PERCENTS},
        "tpot": est.tpot,
        "tpot_percentiles": {str(percent): est.tpot_percentile(percent) for percent in PERCENTS},
        "latency": est.latency,
        "latency_range": list(est.latency_range(0.8)) if est.efficiency.spread else None,
        "requests_per_second": est.requests_per_second,
        "output_tokens_per_second": est.output_tokens_per_second,
        "output_tokens_per_second_per_device": est.output_tokens_per_second_per_device,
        "total_tokens_per_second": est.total_tokens_per_second,
        "replicas": est.replicas,
        "batch": est.batch,
        "max_concurrency": est.max_concurrency,
        "state": est.state._asdict(),
        **memory_dict(est),
        "limiter": est.limiter._asdict(),
        "terms": est.terms,
        "resources": est.resources,
        "algorithms": {
            name: {"algorithm": algorithm, "tier": tier} for name, (algorithm, tier) in est.algorithms.items()
        },
    }


shown_by("serving", describe, headline, _tables)
