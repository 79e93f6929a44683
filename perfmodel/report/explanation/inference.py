"""Each number of a batch of inference with its formula, what went in, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator

from perfmodel.estimation import InferenceEstimate, Timed
from perfmodel.estimation.timed import by_kind
from perfmodel.formulas.inference import model_bandwidth_utilisation
from perfmodel.formulas.training import model_flops_utilisation
from perfmodel.report.explanation.entry import Entry, cited
from perfmodel.report.explanation.evidence import algorithms, operators, sources
from perfmodel.report.explanation.served import as_run, served_memory
from perfmodel.report.explanation.written import explained_by
from perfmodel.report.inference import describe
from perfmodel.report.tables import SERVED_TERMS
from perfmodel.units import show

__all__ = ["inference_entries"]


def inference_entries(est: InferenceEstimate) -> Iterator[Entry]:
    """Everything there is to explain, the answers first.

    Parameters
    ----------
    est : the estimate

    Yields
    ------
    one entry a number
    """
    yield from _phases(est)
    yield from _whole(est)
    yield from _utilisation(est)
    for phase, of in ((est.prefill, "prefill"), (est.decode, "step of decode")):
        if phase is not None:
            yield from operators(est, phase, of)
    yield from algorithms(est)
    yield from as_run(est)
    yield from served_memory(est)
    yield from sources(est)


def _phases(est: InferenceEstimate) -> Iterator[Entry]:
    layout, work = est.layout, est.work
    if est.prefill is not None:
        yield Entry(
            "prefill",
            show(est.prefill_time, "s"),
            "one pass of all prompts, through (parts + stages - 1) / stages of it where a pipeline is in the way",
            {"sequences": f"{est.sequences_together:g} a replica", "stages": str(layout.pp)}
            | _terms(est.prefill),
            "perfmodel.costs.inference",
        )
    if est.decode is not None:
        told = {"context": f"{work.context:g} tokens, the mean over the output", "stages": str(layout.pp)}
        yield Entry(
            "decode",
            show(est.decode_time, "s"),
            "one token of each sequence against its cache; a captured graph is launched once",
            told | _terms(est.decode),
            "perfmodel.costs.inference",
        )


def _terms(phase: Timed) -> dict[str, str]:
    found = by_kind(phase)
    return {
        SERVED_TERMS.get(name, name): show(seconds, "s") for name, seconds in found.items() if seconds > 0
    }


def _whole(est: InferenceEstimate) -> Iterator[Entry]:
    work = est.work
    yield Entry(
        "latency",
        show(est.latency, "s"),
        "waves x (prefill + steps x decode); the first token comes with prefill",
        {
            "waves": f"{est.waves:,.6g}, as many as the cache needs for the whole batch",
            "steps": f"{work.steps:,.6g}",
            "tokens a step": f"{work.tokens_per_step:.4g}",
        },
        "perfmodel.estimation.inference",
    )
    yield Entry(
        "output tokens a second",
        f"{est.output_tokens_per_second:,.6g}",
        "sequences x output tokens / latency",
        {"sequences": f"{work.batch:,}", "output tokens": f"{work.output_length:,}"},
        "perfmodel.estimation.inference",
    )


def _utilisation(est: InferenceEstimate) -> Iterator[Entry]:
    if est.prefill is not None:
        maths, source = cited(model_flops_utilisation)
        inputs = {
            "F": f"{est.costs.prefill_flops:.6g} FLOP",
            "n": str(est.cluster.devices),
            "P": show(est.peak, "FLOP/s"),
            "t": show(est.prefill_time, "s"),
        }
        yield Entry("MFU of prefill", f"{est.prefill_mfu:.2%}", maths, inputs, source)
    if est.decode is not None:
        maths, source = cited(model_bandwidth_utilisation)
        inputs = {
            "W + K": show(est.costs.held, "B"),
            "B": show(est.cluster.device.memory_bandwidth, "B/s"),
            "t": show(est.decode_time, "s"),
        }
        yield Entry("MBU of decode", f"{est.mbu:.2%}", maths, inputs, source)


explained_by("inference", describe, inference_entries)
