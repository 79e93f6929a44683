"""Each number of a load of requests with its formula, what went in, and where that comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perfmodel.estimation import ServingEstimate
from perfmodel.formulas.queueing import closed_loop_batch, open_loop_batch
from perfmodel.report.explanation.entry import Entry, cited
from perfmodel.report.explanation.evidence import algorithms, operators, sources
from perfmodel.report.explanation.served import as_run, served_memory
from perfmodel.report.explanation.written import explained_by
from perfmodel.report.serving import describe
from perfmodel.units import show

__all__ = ["serving_entries"]

BATCHES: dict[str, Callable[..., Any]] = {"closed loop": closed_loop_batch, "open loop": open_loop_batch}
"""How many sequences run together, by the kind of load."""


def serving_entries(est: ServingEstimate) -> Iterator[Entry]:
    """Everything there is to explain, the answers first.

    Parameters
    ----------
    est : the estimate

    Yields
    ------
    one entry a number
    """
    yield from _batch(est)
    yield from _times(est)
    yield from operators(est, est.tree, "request")
    yield from algorithms(est)
    yield from as_run(est)
    yield from served_memory(est)
    yield from sources(est)


def _batch(est: ServingEstimate) -> Iterator[Entry]:
    state, load = est.state, est.work.load
    as_many = ("as many as there is room for, by memory and scheduler", "perfmodel.estimation.serving")
    maths, source = cited(BATCHES[load]) if load in BATCHES else as_many
    inputs = {
        "load": load,
        "steps": f"{est.work.steps:,.6g}",
        "fixed": show(state.fixed, "s"),
        "slope": f"{show(state.slope, 's')} a sequence, prompts of others included",
        "most": f"{state.most:,.0f}",
    }
    yield Entry("running batch", f"{state.batch:,.4g} sequences on each replica", maths, inputs, source)


def _times(est: ServingEstimate) -> Iterator[Entry]:
    state, work, source = est.state, est.work, "perfmodel.estimation.serving"
    yield Entry(
        "time to first token",
        show(est.ttft, "s"),
        "wait for the pass that runs, for room and for others' prompts + the request's own prompt",
        {"waits": show(state.waits, "s"), "prefill": show(state.prefill, "s"), "busy": f"{state.busy:.1%}"},
        source,
    )
    yield Entry(
        "time per output token",
        show(est.tpot, "s"),
        "(fixed + slope x running batch) / tokens a step",
        {"step": show(state.step, "s"), "tokens a step": f"{work.tokens_per_step:.4g}"},
        source,
    )
    yield Entry(
        "requests a second",
        f"{est.requests_per_second:,.6g}",
        "replicas x running batch / (steps x step), by Little's law; of an open loop, what arrives",
        {"replicas": f"{est.replicas:g}", "of one": f"{state.rate:.4g} a second"},
        source,
    )
    yield Entry(
        "output tokens a second",
        f"{est.output_tokens_per_second:,.6g}",
        "requests a second x output tokens",
        {"output tokens": f"{work.output_length:,}"},
        source,
    )


explained_by("serving", describe, serving_entries)
