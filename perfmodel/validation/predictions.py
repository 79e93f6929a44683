"""Predictions of measured runs: for each metric that a row has, what was measured and what is predicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.estimation import InferenceEstimate, ServingEstimate, TrainingEstimate, fits_in_force
from perfmodel.estimation.inference import estimate_inference
from perfmodel.estimation.serving import estimate_serving
from perfmodel.estimation.training import estimate_training
from perfmodel.validation.inference_rows import inference_job
from perfmodel.validation.measured import measured_metrics
from perfmodel.validation.rows import memory_metric, row_software, training_job
from perfmodel.workload import Serving

__all__ = ["predicted_pairs"]

Row = Mapping[str, Any]
Pair = tuple[str, float, float]
T = TypeVar("T")


def predicted_pairs(row: Row, efficiency: Efficiency | Software | None, notes: list[str]) -> list[Pair]:
    """Metrics of a row with what was measured and what is predicted, SI units.

    A row's layout is evidence, so it is not held against the rules of `Parallel`.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`
    efficiency : fits to use; None takes those of the row's device under its software
    notes : what had to be assumed is added to these

    Raises
    ------
    InputError
        the row can't be predicted; the message is the reason
    """
    kind = row.get("kind") or "training"
    if kind not in KINDS:
        raise UnsupportedError(f"rows of kind {kind} are not built yet")
    pairs = _guarded(lambda: list(KINDS[kind](row, efficiency, notes)))
    for metric, _, value in pairs:
        if not (math.isfinite(value) and value > 0):
            raise UnsupportedError(f"the predicted {metric} is {value}, which can't be")
    return pairs


def _guarded(predict: Callable[[], T]) -> T:
    """One odd row must not cost all others their scores."""
    try:
        return predict()
    except InputError:
        raise
    except KeyError as missing:
        raise InputError(f"the row lacks {missing}") from None
    except Exception as error:
        raise UnsupportedError(f"can't be read or counted: {type(error).__name__}: {error}") from error


def _training(row: Row, efficiency: Efficiency | Software | None, notes: list[str]) -> Iterator[Pair]:
    job = training_job(row, notes)
    stack = row_software(row).id if efficiency is None else None
    fits = fits_in_force(job.cluster, job.work, stack, efficiency)
    est: TrainingEstimate = estimate_training(*job, fits)
    measured = row.get("measured")
    measured = measured if isinstance(measured, Mapping) else {}
    time, memory = _number(measured.get("step_time_s")), _number(measured.get("peak_memory_gib"))
    if time:
        yield "step_time", time, float(est.step_time)
    if memory:
        yield "peak_memory", memory * 2**30, float(est.memory.measured_as(memory_metric(row)))


def _inference(row: Row, efficiency: Efficiency | Software | None, notes: list[str]) -> Iterator[Pair]:
    job = inference_job(row, notes)
    engine = job.engine.id if efficiency is None else None
    fits = fits_in_force(job.cluster, job.work, engine, efficiency)
    est: InferenceEstimate | ServingEstimate
    if isinstance(job.work, Serving):
        est = estimate_serving(job.model, job.work, job.layout, job.cluster, fits)
    else:
        est = estimate_inference(job.model, job.work, job.layout, job.cluster, fits)
    for metric, measured in measured_metrics(row).items():
        predicted = est.memory.total if metric == "peak_memory" else getattr(est, metric)
        yield metric, measured, float(predicted)


KINDS: dict[str, Callable[[Row, Efficiency | Software | None, list[str]], Iterator[Pair]]] = {
    "training": _training,
    "inference": _inference,
}
"""How each kind of row is predicted."""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None
