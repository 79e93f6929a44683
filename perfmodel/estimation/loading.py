"""Samples on their way into a step: it can't be faster than they are read from storage and made ready."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import InputError
from perfmodel.estimation.machine import Machine
from perfmodel.estimation.timed import Timed, series
from perfmodel.formulas.memory import copy_time
from perfmodel.ops import maximum
from perfmodel.workload import Training

__all__ = ["fed"]


def fed(step: Timed, work: Training, rates: Machine) -> Timed:
    """A step that waits for its samples, where the job says how fast they come.

    Samples are loaded ahead, beside the step before: only what takes longer than a whole step is waited for.

    Parameters
    ----------
    step : timed as if all samples were there
    work : says how fast samples are made ready, and how large they lie on storage
    rates : of the machine

    Returns
    -------
    the step, and what it waits

    Raises
    ------
    InputError
        samples lie on a storage whose bandwidth is unknown
    """
    waits: list[Timed] = []
    if work.data_rate is not None:
        late = maximum(work.global_batch / work.data_rate - step.seconds, 0.0)
        waits.append(Timed("waiting for samples", "input", late, {"input_pipeline": late}, {}))
    if work.sample_bytes is not None:
        before = step.seconds + sum(wait.seconds for wait in waits)
        late = maximum(_read(work.global_batch * work.sample_bytes, rates) - before, 0.0)
        waits.append(Timed("waiting for storage", "input", late, {"storage": late}, {}))
    return series(step.name, (*step.parts, *waits)) if waits else step


def _read(size: Any, rates: Machine) -> Any:
    """Time to read the samples of one step, each device's share of them at its share of the storage [s]."""
    if "storage" not in rates.links:
        raise InputError(
            "sample_bytes are read from storage, whose bandwidth is unknown; give it: "
            'cluster.replace(storage="3 GB/s"), or say data_rate instead'
        )
    return copy_time(payload=size / rates.devices, bandwidth=rates.links["storage"])
