"""Costs × Cluster × Efficiency -> Estimate: the only place that divides by a rate."""

from __future__ import annotations

from perfmodel.efficiency import Efficiency
from perfmodel.efficiency.software import known
from perfmodel.errors import InputError
from perfmodel.estimation.recipes import as_run
from perfmodel.estimation.result import Limiter, Memory, Overlapped, TrainingEstimate
from perfmodel.estimation.timed import Timed
from perfmodel.estimation.training import estimate_training
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["Limiter", "Memory", "Overlapped", "Timed", "TrainingEstimate", "as_run", "estimate"]


def estimate(
    model: Model,
    work: Training,
    layout: Parallel,
    cluster: Cluster,
    *,
    software: str | None = None,
    efficiency: Efficiency | None = None,
) -> TrainingEstimate:
    """Predict how long a job takes on a machine, what memory it needs, and what limits it.

    Parameters
    ----------
    model : what is run
    work : the job: `Training`
    layout : degrees of parallelism; dp follows from the devices where it is left out
    cluster : on what
    software : the training stack, see `software()`; None takes what is typical of all. Job and layout stay as they are
        given: what the stack's recipes set is listed in `Software.recipe` (docs/software.md)
    efficiency : the fits to use; None takes the set of the device's architecture under the software's constants. Given
        without a software it stands alone, operator fits and nothing else

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
    """
    if not isinstance(work, Training):
        raise InputError(f"estimate knows the workload Training, not {type(work).__name__}")
    placed = layout.on(cluster.devices)
    placed.check(model, work)
    return estimate_training(model, work, placed, cluster, _chosen(cluster, software, efficiency))


def _chosen(cluster: Cluster, software: str | None, efficiency: Efficiency | None) -> Efficiency:
    architecture = cluster.device.architecture
    if efficiency is None:
        return Efficiency.of(architecture, software or "default")
    return efficiency if software is None else efficiency.under(known(software), architecture)
