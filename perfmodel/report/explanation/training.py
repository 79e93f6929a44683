"""Each number of a training step with its formula, what went in, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator

from perfmodel.costs.states import mean_state_bytes
from perfmodel.estimation import TrainingEstimate
from perfmodel.estimation.pipeline import CLOSED
from perfmodel.formulas.memory import sharded
from perfmodel.formulas.pipeline import live_micro_batches, pipeline_time
from perfmodel.formulas.training import model_flops_utilisation
from perfmodel.report.explanation.entry import Entry, cited
from perfmodel.report.explanation.evidence import algorithms, operators, sources
from perfmodel.report.explanation.written import explained_by
from perfmodel.report.tables import TERMS
from perfmodel.report.training import describe
from perfmodel.schedules import schedule_class
from perfmodel.schedules.timing import timing
from perfmodel.units import show

__all__ = ["training_entries"]


def training_entries(est: TrainingEstimate) -> Iterator[Entry]:
    """Everything there is to explain, the answers first.

    Parameters
    ----------
    est : the estimate

    Yields
    ------
    one entry a number
    """
    yield from _answers(est)
    yield from operators(est, est.tree, "step")
    yield from algorithms(est)
    yield from _memory(est)
    yield from sources(est)


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


explained_by("training", describe, training_entries)
