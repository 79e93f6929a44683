"""What each physical term is worth: the published runs predicted again with the term taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from perfmodel import Efficiency, Parallel, estimate
from perfmodel.errors import InputError
from perfmodel.validation import training_job

Change = Callable[[Efficiency], Efficiency]
Row = dict[str, Any]


def unchanged(fits: Efficiency) -> Efficiency:
    """The sets as they are."""
    return fits


def short_bursts(fits: Efficiency) -> Efficiency:
    """Matrix products at the rate of short bursts, whatever the power."""
    return fits.replace(matmul={name: fit.replace(sustained=1.0) for name, fit in fits.matmul.items()})


def even_weight_gradients(fits: Efficiency) -> Efficiency:
    """Weight gradients as fast as other products."""
    return fits.replace(matmul={name: fit.replace(accumulate=1.0) for name, fit in fits.matmul.items()})


def no_contention(fits: Efficiency) -> Efficiency:
    """Hidden messages cost compute nothing."""
    return fits.replace(overlap__slowdown=0.0)


def slow_softmax(fits: Efficiency) -> Efficiency:
    """Softmax and dropout of eager attention at the rate of an activation kernel."""
    memory = fits.stream.memory
    return fits.replace(stream__memory={**memory, "softmax": memory["activation"]})


def exposed_tensor(layout: Parallel) -> Parallel:
    """Tensor-parallel messages never run beside compute."""
    return layout.replace(overlap=tuple(axis for axis in layout.overlap if axis != "tp"), tp_overlap=None)


GROUPS: dict[str, Callable[[Row], bool]] = {
    "NeMo, H100, bf16": lambda row: _is(row, "NeMo", "h100") and row["precision"] == "bf16",
    "NeMo, H100, fp8": lambda row: _is(row, "NeMo", "h100") and row["precision"] == "fp8",
    "NeMo, GB200": lambda row: _is(row, "NeMo", "gb200"),
    "Megatron-LM, A100": lambda row: _is(row, "Megatron-LM", "a100"),
}
"""Rows whose software keeps close to the hardware, so that a physical term shows."""

ABLATIONS: dict[str, tuple[Change, Callable[[Parallel], Parallel]]] = {
    "nothing: the model as it is": (unchanged, lambda layout: layout),
    "the sustained rate of matrix products": (short_bursts, lambda layout: layout),
    "tensor-parallel messages beside compute": (unchanged, exposed_tensor),
    "cores that hidden messages hold": (no_contention, lambda layout: layout),
    "the slower weight gradients": (even_weight_gradients, lambda layout: layout),
    "softmax at the rate of a copy": (slow_softmax, lambda layout: layout),
}


def _is(row: Row, software: str, device: str) -> bool:
    return row["software"].startswith(software) and device in row["hardware"]


def errors(rows: Iterable[Row], change: Change, spread: Callable[[Parallel], Parallel]) -> list[float]:
    """Signed errors of the rows that can be predicted [-]."""
    found = []
    for row in rows:
        try:
            job = training_job(row)
            fits = change(Efficiency.of(job.cluster.device.architecture, device=job.cluster.device.id))
            est = estimate(job.model, job.work, spread(job.layout), job.cluster, efficiency=fits)
        except InputError:
            continue
        found.append(est.step_time / row["measured"]["step_time_s"] - 1)
    return found


def table(rows: list[Row]) -> str:
    """Median absolute error and bias of each group, as a Markdown table."""
    chosen = {name: [row for row in rows if belongs(row)] for name, belongs in GROUPS.items()}
    lines = [f"| taken out | {' | '.join(chosen)} |", "|---|" + "---:|" * len(chosen)]
    for name, (change, spread) in ABLATIONS.items():
        cells = []
        for group in chosen.values():
            error = np.array(errors(group, change, spread))
            cells.append(f"{np.median(np.abs(error)):.1%} ({np.median(error):+.1%})".replace("%", " %"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
