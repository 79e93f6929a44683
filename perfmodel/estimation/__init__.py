"""Costs × Cluster × Efficiency -> Estimate: the only place that divides by a rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from perfmodel.efficiency import Efficiency, Engine, Software
from perfmodel.errors import InputError
from perfmodel.estimation.answer import Answer, Limiter, Overlapped
from perfmodel.estimation.inference import estimate_inference
from perfmodel.estimation.inference_result import InferenceEstimate, InferenceMemory
from perfmodel.estimation.recipes import as_run
from perfmodel.estimation.result import Memory, TrainingEstimate
from perfmodel.estimation.serving import estimate_serving
from perfmodel.estimation.serving_result import ServingEstimate, SteadyState
from perfmodel.estimation.timed import Timed
from perfmodel.estimation.training import estimate_training
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.workload import Inference, Serving, Training

__all__ = [
    "Answer", "InferenceEstimate", "InferenceMemory", "Limiter", "Memory", "Overlapped", "ServingEstimate",
    "SteadyState", "Timed", "TrainingEstimate", "as_run", "estimate", "fits_in_force",
]  # fmt: skip


@overload
def estimate(  # noqa: D418  our own rule asks for one
    model: Model,
    work: Training,
    layout: Parallel,
    cluster: Cluster,
    *,
    software: str | None = None,
    efficiency: Efficiency | Software | None = None,
) -> TrainingEstimate:
    """One optimizer step."""


@overload
def estimate(  # noqa: D418  our own rule asks for one
    model: Model,
    work: Inference,
    layout: Parallel,
    cluster: Cluster,
    *,
    software: str | None = None,
    efficiency: Efficiency | Software | None = None,
) -> InferenceEstimate:
    """One batch."""


@overload
def estimate(  # noqa: D418  our own rule asks for one
    model: Model,
    work: Serving,
    layout: Parallel,
    cluster: Cluster,
    *,
    software: str | None = None,
    efficiency: Efficiency | Software | None = None,
) -> ServingEstimate:
    """Requests that come and go."""


def estimate(
    model: Model,
    work: Training | Inference | Serving,
    layout: Parallel,
    cluster: Cluster,
    *,
    software: str | None = None,
    efficiency: Efficiency | Software | None = None,
) -> Answer:
    """Predict how long a job takes on a machine, what memory it needs, and what limits it.

    Parameters
    ----------
    model : what is run
    work : the job: `Training`, `Inference` or `Serving`
    layout : degrees of parallelism; dp follows from the devices where it is left out
    cluster : on what
    software : the training stack, see `software()`, or the inference engine, see `engines()`; None takes what is
        typical of all. A training job and its layout stay as they are given: what the stack's recipes set is listed in
        `Software.recipe` (docs/software.md). What a job of inference leaves open is as the engine's recipe has it; the
        estimate's `as_run` tells
    efficiency : the fits to use, or what `calibrate` made of your own runs; None takes the set of the device's
        architecture under the software's constants. Operator fits given without a software stand alone

    Returns
    -------
    the estimate

    Raises
    ------
    InputError
        the layout does not divide the model, the batch or the devices; all broken rules at once

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
    >>> est.fits, est.limiter.name
    (True, 'compute')
    >>> run = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Inference(batch=32, input_length=1024, output_length=256),
    ...                   pm.Parallel(), pm.Cluster.load("dgx-h100", devices=1))
    >>> run.fits, run.limiters["decode"].name
    (True, 'memory_bandwidth')
    """
    kind = next((kind for kind in _ESTIMATES if isinstance(work, kind)), None)
    if kind is None:
        raise InputError(
            f"estimate knows the workloads {', '.join(one.__name__ for one in _ESTIMATES)}, not {type(work).__name__}"
        )
    placed = layout.on(cluster.devices)
    placed.check(model, work)
    chosen = fits_in_force(cluster, work, software, efficiency)
    found: Answer = _ESTIMATES[kind](model, work, placed, cluster, chosen)
    return found


_ESTIMATES: dict[type, Callable[..., Any]] = {
    Training: estimate_training,
    Inference: estimate_inference,
    Serving: estimate_serving,
}


def fits_in_force(
    cluster: Cluster,
    work: Training | Inference | Serving,
    software: str | None,
    efficiency: Efficiency | Software | None,
) -> Efficiency:
    """The fits that an estimate uses: of the architecture, under the training stack or the inference engine.

    Parameters
    ----------
    cluster, work, software, efficiency : as in `estimate`

    Raises
    ------
    UnknownNameError
        no such software; near names are suggested
    InputError
        the efficiency is a set of software for jobs of another kind, or one beside a software
    """
    architecture, serves = cluster.device.architecture, not isinstance(work, Training)
    if isinstance(efficiency, Software):
        measured = Efficiency.of(architecture, device=cluster.device.id)
        return measured.under(_own(efficiency, serves, software), architecture)
    if efficiency is None:
        of = Efficiency.serving if serves else Efficiency.of
        return of(architecture, software or "default", device=cluster.device.id)
    if software is None:
        return efficiency
    return efficiency.under((Engine if serves else Software).known(software), architecture)


def _own(given: Software, serves: bool, software: str | None) -> Software:
    """A set that was given in place of operator fits, if it is one for the job."""
    if isinstance(given, Engine) != serves:
        engine, stack = "an engine", "a training stack"
        job, needed, found = ("inference", engine, stack) if serves else ("training", stack, engine)
        raise InputError(
            f"efficiency = {given.id!r} is the set of {found}, and the job is {job}: give that of {needed}"
        )
    if software is not None:
        raise InputError(
            f"software = {software!r} and efficiency = {given.id!r} both say what software makes of the machine: "
            f"give one"
        )
    return given
