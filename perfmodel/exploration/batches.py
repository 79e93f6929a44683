"""Throughput against latency of inference: which batches and tensor-parallel degrees no other choice beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perfmodel.efficiency import Efficiency, Software
from perfmodel.exploration.printed import cell
from perfmodel.exploration.result import Sweep
from perfmodel.exploration.sweep import sweep
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.report import RESOURCES
from perfmodel.workload import Inference

if TYPE_CHECKING:
    import pandas

__all__ = ["BATCHES", "BatchFront", "pareto_batch"]

BATCHES = tuple(2**n for n in range(11))
"""Batches that are tried, unless others are given [-]."""
LATENCY, RATE = "tpot", "output_tokens_per_second"
SHOWN = {
    "batch": "batch", "tp": "tp", "dp": "replicas", "ttft": "first token", "tpot": "each token", RATE: "tokens/s",
    "memory.total": "memory", "limiter": "limited by",
}  # fmt: skip
"""Columns that are printed, and their words."""


class BatchFront(NamedTuple):
    """Batches and degrees on one machine, and the front among them.

    Parameters
    ----------
    every : all rows that were asked for
    front : those that no other row beats in time of a token and throughput, the fastest tokens first
    devices : that all rows use [-]
    """

    every: Sweep
    front: Sweep
    devices: int

    @property
    def on_front(self) -> Any:
        """Which feasible rows lie on the front."""
        chosen = {(row["batch"], row["tp"]) for row in _rows(self.front)}
        return np.array(
            [(row["batch"], row["tp"]) in chosen for row in _rows(self.every.feasible)], dtype=bool
        )

    def to_frame(self) -> pandas.DataFrame:
        """Feasible rows as a data frame, with columns `output_tokens_per_second_per_device` and `front`.

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        frame = self.every.feasible.to_frame()
        return frame.assign(**{f"{RATE}_per_device": frame[RATE] / self.devices, "front": self.on_front})

    def to_dict(self) -> dict[str, Any]:
        """Rows of the front and all others, ready for JSON, in SI units."""
        return {"devices": self.devices, "front": self.front.to_dict(), "every": self.every.to_dict()}

    def __repr__(self) -> str:
        head = ["", *SHOWN.values(), "per device"]
        marks = ["*" if chosen else "" for chosen in self.on_front]
        rows = zip(marks, _rows(self.every.feasible), strict=True)
        table = [head, *([mark, *self._cells(row)] for mark, row in rows)]
        widths = [max(len(line[place]) for line in table) for place in range(len(head))]
        lines = [
            "  ".join(one.rjust(width) for one, width in zip(line, widths, strict=True)) for line in table
        ]
        failed = [f"not feasible: {count:,} x {why}" for why, count in self.every.reasons().items()]
        return "\n".join([*lines, "* no other choice has both faster tokens and more of them", *failed])

    def _cells(self, row: Any) -> list[str]:
        told = {name: cell(name, row[name]) for name in SHOWN}
        told["limiter"] = RESOURCES.get(row["limiter"], row["limiter"])
        return [*told.values(), cell(RATE, row[RATE] / self.devices)]


def _rows(found: Sweep) -> Iterator[Any]:
    return (found[place] for place in range(len(found)))


def pareto_batch(
    model: Model,
    work: Inference,
    cluster: Cluster,
    layout: Parallel | None = None,
    *,
    batch: Sequence[int] = BATCHES,
    tp: Sequence[int] | None = None,
    software: str | None = None,
    efficiency: Efficiency | Software | None = None,
) -> BatchFront:
    """Throughput against latency over batch and tensor-parallel degree, in one call.

    The devices stay the same: a smaller degree makes more replicas, which share the batch.

    Parameters
    ----------
    model, work, cluster : as in `estimate`; the batch of `work` is not used
    layout : what all rows share of it; None is `Parallel()`
    batch : on all devices together, each tried [-]
    tp : degrees, each tried; None is powers of two up to the devices [-]
    software, efficiency : as in `estimate`

    Returns
    -------
    all rows, and the front

    Examples
    --------
    >>> import perfmodel as pm
    >>> work = pm.Inference(input_length=1024, output_length=256, weight_dtype="fp8", kv_dtype="fp8")
    >>> found = pareto_batch(pm.Model.load("llama-3.1-70b"), work, pm.Cluster.load("dgx-h100", devices=8),
    ...                      batch=[1, 8, 64, 512], tp=[2, 4, 8])
    >>> bool((np.diff(found.front["tpot"]) > 0).all()), len(found.front) < len(found.every.feasible)
    (True, True)
    """
    degrees = [2**n for n in range(cluster.devices.bit_length())] if tp is None else list(tp)
    every = sweep(
        model, work, cluster, layout, batch=list(batch), tp=degrees, software=software, efficiency=efficiency,
        progress=False,
    )  # fmt: skip
    return BatchFront(every, every.pareto(LATENCY, RATE), cluster.devices)
