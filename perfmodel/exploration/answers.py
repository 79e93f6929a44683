"""What each kind of workload answers: the seam where a further kind plugs into sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.errors import InputError
from perfmodel.estimation.inference import estimate_inference
from perfmodel.estimation.serving import estimate_serving
from perfmodel.estimation.training import estimate_training
from perfmodel.ops import where
from perfmodel.parallel import Parallel
from perfmodel.specs import Spec
from perfmodel.workload import Inference, Serving, Training

__all__ = ["ANSWERS", "EXCEEDS_DEVICE", "EXCEEDS_HOST", "Answers", "answers_for", "numbers_of"]

EXCEEDS_DEVICE = "memory exceeds the device's"
EXCEEDS_HOST = "what is offloaded exceeds the host's memory"


@dataclass(frozen=True)
class Answers:
    """What a kind of workload is asked and what it answers.

    Parameters
    ----------
    estimate : of model, workload, layout with dp set, cluster and efficiency
    dtype : number format of its products, which a peak is stated for
    numbers : fields of the workload that may be columns
    metrics : results with a column each, attributes of an estimate
    families : results with several columns each, by the name before the dot
    room : the column of memory that the whole is held against
    lacks : rows that do not fit, by the reason
    columns : it is estimated on columns; else row by row
    apart : rows of other structure than the rest, which go through a pass of their own
    """

    estimate: Callable[..., Any]
    dtype: Callable[[Any], str]
    numbers: frozenset[str]
    metrics: tuple[str, ...]
    families: Mapping[str, Callable[[Any], Mapping[str, Any]]]
    room: str
    lacks: Callable[[Any], Mapping[str, Any]]
    columns: bool = True
    apart: Callable[[Parallel], Any] = lambda layout: np.False_


RATES = (
    "tokens_per_second",
    "tokens_per_second_per_device",
    "samples_per_second",
    "samples_per_second_per_device",
)
TOKENS = ("output_tokens_per_second", "total_tokens_per_second", "samples_per_second")
STATES = (
    "weights", "gradients", "optimizer", "activations", "buffers", "reused", "fragmentation", "context",
    "communication", "capacity", "host", "storage",
)  # fmt: skip
HELD = (
    "weights",
    "cache",
    "activations",
    "context",
    "communication",
    "capacity",
    "available",
    "most_sequences",
)


def _memory(*kinds: str) -> Callable[[Any], Mapping[str, Any]]:
    return lambda est: {kind: getattr(est.memory, kind) for kind in ("total", *kinds)}


PARTS: dict[str, Callable[[Any], Mapping[str, Any]]] = {
    "terms": lambda est: est.terms,
    "resources": lambda est: est.resources,
    "hidden": lambda est: est.tree.covered,
}
"""Seconds of every kind of estimate by kind of work, by resource, and beside compute."""


def _training_lacks(est: Any) -> dict[str, Any]:
    return {
        EXCEEDS_DEVICE: est.memory.total > est.memory.capacity,
        EXCEEDS_HOST: where(est.fits, False, True),
    }


def _inference_lacks(est: Any) -> dict[str, Any]:
    return {EXCEEDS_DEVICE: where(est.fits, False, True)}


def _one_replica(layout: Parallel) -> Any:
    """Layouts whose ranks all have the same tokens: experts are sent none."""
    return np.asarray(layout.dp == 1) & np.asarray(layout.cp == 1)


def _format(work: Any) -> str:
    return str(work.formats.dtype)


ANSWERS: dict[type[Spec], Answers] = {
    Training: Answers(
        estimate=estimate_training,
        dtype=_format,
        numbers=frozenset({"global_batch", "sequence_length", "source_length", "samples"}),
        metrics=("step_time", *RATES, "mfu", "hfu"),
        families={"memory": _memory(*STATES)} | PARTS,
        room="memory.capacity",
        lacks=_training_lacks,
    ),
    Inference: Answers(
        estimate=estimate_inference,
        dtype=_format,
        numbers=frozenset({"batch"}),
        metrics=("latency", "ttft", "tpot", *TOKENS, "mfu", "mbu", "waves"),
        families={"memory": _memory(*HELD)} | PARTS,
        room="memory.available",
        lacks=_inference_lacks,
        apart=_one_replica,
    ),
    Serving: Answers(
        estimate=estimate_serving,
        dtype=_format,
        numbers=frozenset(),
        metrics=("ttft", "tpot", "latency", "requests_per_second", *TOKENS, "max_concurrency"),
        families={"memory": _memory(*HELD)} | PARTS,
        room="memory.available",
        lacks=_inference_lacks,
        columns=False,
    ),
}
"""By class of workload; a further kind registers itself here."""


def answers_for(work: type[Spec]) -> Answers:
    """What a workload answers.

    Parameters
    ----------
    work : its class

    Raises
    ------
    InputError
        it can't be swept
    """
    found = ANSWERS.get(work)
    if found is None:
        known = ", ".join(cls.__name__ for cls in ANSWERS)
        raise InputError(f"a sweep knows the workload {known}, not {work.__name__}")
    return found


def numbers_of(work: type[Spec]) -> frozenset[str]:
    """Fields of a workload that may be columns."""
    return answers_for(work).numbers
