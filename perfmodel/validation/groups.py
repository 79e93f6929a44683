"""What scores of measured rows are summarised by, one way for each kind of row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from perfmodel.validation.measured import measured_metrics
from perfmodel.validation.tables import OPERATOR

__all__ = ["groups_of", "metrics_of"]

Row = Mapping[str, Any]

OTHERS = (
    "bert",
    "bart",
    "t5",
    "vit",
    "resnet50",
    "resnext",
    "lstm",
    "dlrm",
    "cnn",
    "swin",
    "diffusion",
    "whisper",
)
"""Families that are no language models of the decoder kind."""
SCALES = (
    (1, "1 device"), (8, "2 to 8 devices"), (64, "9 to 64 devices"), (512, "65 to 512 devices"),
    (math.inf, "more than 512 devices"),
)  # fmt: skip
BATCHES = ((1, "1"), (4, "2 to 4"), (16, "5 to 16"), (64, "17 to 64"), (math.inf, "more than 64"))
"""Sequences or requests at once [-]."""


def groups_of(row: Row) -> dict[str, str]:
    """What a row is summarised by: source, hardware, model family, software and task; scale, or phase and batch.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`

    Examples
    --------
    >>> groups_of({"devices": 384, "model": {"family": "gpt"}, "software": "NeMo"})["scale"]
    '65 to 512 devices'
    >>> found = groups_of({"kind": "inference", "phase": "decode", "batch": 32, "model": {"family": "llama"}})
    >>> found["phase"], found["batch"]
    ('decode', '17 to 64')
    """
    if row.get("kind") == OPERATOR:
        return _of_operator(row)
    model = row.get("model")
    family = model.get("family") if isinstance(model, Mapping) else None
    named = {"source": row.get("source"), "hardware": row.get("hardware"), "software": row.get("software")}
    found = {key: str(value or "not stated") for key, value in {**named, "family": family}.items()}
    task = {"task": "others" if str(family) in OTHERS else "language models"}
    if row.get("kind") == "inference":
        batch = row.get("batch") or row.get("concurrency")
        phase = str(row.get("phase") or "not stated")
        return {**found, "phase": phase, "batch": _class(batch, BATCHES), **task}
    return {**found, "scale": _class(row.get("devices"), SCALES), **task}


def _of_operator(row: Row) -> dict[str, str]:
    # the note begins with the library and its version; settings of the single row follow
    software = row.get("software") or str(row.get("note") or "").split(" tokens/rank")[0]
    named = {**row, "hardware": row.get("system"), "software": software}
    return {
        key: str(named.get(key) or "not stated") for key in ("source", "hardware", "op", "dtype", "software")
    }


def _class(value: Any, classes: tuple[tuple[float, str], ...]) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "not stated"
    return next((name for most, name in classes if value <= most), "not stated")  # NaN is no number


def metrics_of(row: Row) -> tuple[str, ...]:
    """Metrics that a row without prediction lacks.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`

    Examples
    --------
    >>> metrics_of({"kind": "inference", "phase": "serving", "measured": {"ttft_s": 0.2, "tpot_s": 0.01}})
    ('ttft', 'tpot')
    """
    if row.get("kind") == "inference":
        return tuple(measured_metrics(row))
    return ("time",) if row.get("kind") == OPERATOR else ("step_time", "peak_memory")
