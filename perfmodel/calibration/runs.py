"""Measured training runs, counted once, so that a fit can ask each of them thousands of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.costs import Costs, training_costs
from perfmodel.efficiency import Efficiency, SoftwareFit
from perfmodel.efficiency.fits import AttentionKernel
from perfmodel.errors import InputError
from perfmodel.estimation.machine import machine
from perfmodel.estimation.training import step
from perfmodel.hardware import Cluster
from perfmodel.validation.rows import row_software, training_job
from perfmodel.validation.scores import groups_of

__all__ = ["Run", "as_strangers", "counted", "even_weights"]


class Run(NamedTuple):
    """One measured step.

    Parameters
    ----------
    row : as it was read
    costs : what was counted
    cluster : what it ran on
    fits : operator fits of the architecture
    software : id of its stack's set
    seconds : measured time of a step [s]
    kernel : the attention kernel of its stack
    """

    row: dict[str, Any]
    costs: Costs
    cluster: Cluster
    fits: Efficiency
    software: str
    seconds: float
    kernel: AttentionKernel = "newest"

    @property
    def architecture(self) -> str:
        """Of the device, in lower case."""
        return self.cluster.device.architecture.lower()

    @property
    def group(self) -> tuple[str, ...]:
        """Source, model, hardware and software: runs that share all four are kin."""
        row = self.row
        return (str(row["source"]), str(row["model"]["name"]), str(row["hardware"]), str(row["software"]))

    @property
    def language(self) -> bool:
        """Whether it trains a language model of the decoder kind."""
        return groups_of(self.row)["task"] == "language models"

    def predicted(self, constants: SoftwareFit) -> Any:
        """Time of a step under other constants; where these are arrays, so is it [s]."""
        fits = self.fits.applied(constants, self.kernel)
        formats = (self.costs.dtype, self.costs.core_dtype)
        return step(self.costs, machine(self.cluster, fits, formats)).seconds


def counted(rows: Iterable[dict[str, Any]]) -> list[Run]:
    """Runs of the rows that can be predicted and have a measured time.

    Parameters
    ----------
    rows : in the format of `docs/measurements.md`

    Returns
    -------
    one a row, in order
    """
    runs = []
    for row in rows:
        seconds = (row.get("measured") or {}).get("step_time_s")
        if not seconds:
            continue
        try:
            job = training_job(row)
            costs = training_costs(job.model, job.work, job.layout)
        except (InputError, KeyError):  # `validate` says why
            continue
        device, stack = job.cluster.device, row_software(row)
        fits = Efficiency.of(device.architecture, device=device.id)
        kernel = stack.recipe.attention_kernel
        runs.append(Run(row, costs, job.cluster, fits, stack.id, float(seconds), kernel))
    return runs


def as_strangers(runs: list[Run]) -> list[Run]:
    """The same runs as if nobody knew their stack: by the default recipe.

    Parameters
    ----------
    runs : measured steps

    Returns
    -------
    one a run, in order
    """
    found = counted({**run.row, "software": "unheard of"} for run in runs)
    if len(found) != len(runs):
        raise InputError(
            f"{len(runs) - len(found)} of {len(runs)} runs can't be counted by the default recipe"
        )
    return found


def even_weights(runs: list[Run]) -> npt.NDArray[np.float64]:
    """Weights that keep a series of like runs from outvoting all others: a group of n counts as the root of n.

    Parameters
    ----------
    runs : measured steps
    """
    sizes = Counter(run.group for run in runs)
    return np.array([sizes[run.group] ** -0.5 for run in runs])
