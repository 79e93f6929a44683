"""Costs of a training step on a machine: the host's floor, the worst stage's memory, the estimate."""

from __future__ import annotations

from typing import Any

from perfmodel.costs import Costs, StageMemory, training_costs
from perfmodel.efficiency import Efficiency
from perfmodel.estimation.host import communicators, launches
from perfmodel.estimation.loading import fed
from perfmodel.estimation.machine import Machine, machine
from perfmodel.estimation.pipeline import ANY_ORDER
from perfmodel.estimation.result import Memory, TrainingEstimate
from perfmodel.estimation.timed import Timed, series
from perfmodel.estimation.timing import Clock
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.ops import greater, log2, maximum, minimum, where
from perfmodel.parallel import Parallel
from perfmodel.work import Pipeline, Serial, Work
from perfmodel.workload import Training

__all__ = ["estimate_training", "least_training", "step", "training_memory", "worst_memory"]


def estimate_training(
    model: Model, work: Training, layout: Parallel, cluster: Cluster, efficiency: Efficiency
) -> TrainingEstimate:
    """Predict one optimizer step.

    Parameters
    ----------
    model, work, layout : what is run, dp set and rules checked
    cluster : on what
    efficiency : the fits in force

    Returns
    -------
    the estimate
    """
    costs = training_costs(model, work, layout)
    return _estimated(model, work, layout, cluster, efficiency, costs=costs)


def least_training(
    model: Model, work: Training, layout: Parallel, cluster: Cluster, efficiency: Efficiency
) -> TrainingEstimate:
    """What one optimizer step takes at least, whatever the order in which its micro-batches pass the stages.

    A search asks it of schedules that are timed event by event: where the least time is too long, no other is needed.

    Parameters
    ----------
    model, work, layout, cluster, efficiency : as of `estimate_training`

    Returns
    -------
    an estimate whose memory is exact, and whose step is no longer than that of any schedule with the same live passes
    """
    costs = training_costs(model, work, layout)
    free = costs._replace(tree=_in_any_order(costs.tree))
    return _estimated(model, work, layout, cluster, efficiency, costs=free)


def _in_any_order(tree: Work) -> Work:
    """The tree with its pipeline's schedule left open."""
    if isinstance(tree, Serial):
        return tree._replace(parts=tuple(_in_any_order(part) for part in tree.parts))
    return tree._replace(schedule=ANY_ORDER) if isinstance(tree, Pipeline) else tree


def training_memory(
    model: Model, work: Training, layout: Parallel, cluster: Cluster, efficiency: Efficiency
) -> Memory:
    """Peak memory of one optimizer step alone, which takes a small part of an estimate's time.

    Parameters
    ----------
    model, work, layout, cluster, efficiency : as of `estimate_training`

    Returns
    -------
    the memory of its estimate
    """
    costs = training_costs(model, work, layout)
    rates = machine(cluster, efficiency, (costs.dtype, costs.core_dtype))
    return worst_memory(costs, rates, work.offload.to)


def _estimated(
    model: Model, work: Training, layout: Parallel, cluster: Cluster, efficiency: Efficiency, *, costs: Costs
) -> TrainingEstimate:
    rates = machine(cluster, efficiency, (costs.dtype, costs.core_dtype))
    return TrainingEstimate(
        model=model,
        work=work,
        layout=layout,
        cluster=cluster,
        efficiency=efficiency,
        costs=costs,
        tree=fed(step(costs, rates), work, rates),
        memory=worst_memory(costs, rates, work.offload.to),
        peak=rates.peak[costs.dtype],
    )


def step(costs: Costs, rates: Machine) -> Timed:
    """Time the tree; a step can't be faster than its kernels can be launched.

    Parameters
    ----------
    costs : what was counted
    rates : of the machine

    Returns
    -------
    the timed tree of the whole step
    """
    device = Clock(rates, costs.groups).time(costs.tree)
    return series(device.name, (*device.parts, *_host(costs, rates, device.seconds)))


def _host(costs: Costs, rates: Machine, busy: Any) -> tuple[Timed, ...]:
    """What a step takes beside the device's own work: launches it waits for, the host's own share, stragglers."""
    host = rates.efficiency.host
    waiting = maximum(launches(costs.tree, costs.groups, rates) * host.launch - busy, 0.0)
    lost = host.straggling * log2(maximum(rates.nodes, 1.0)) * (busy + waiting)
    return (
        Timed("host launches", "host", waiting, {"host_launch": waiting}, {}),
        Timed("host, once a step", "host", host.step, {"host_launch": host.step}, {}),
        Timed("waiting for the slowest", "stragglers", lost, {"stragglers": lost}, {}),
    )


def worst_memory(costs: Costs, rates: Machine, offloaded_to: str = "host") -> Memory:
    """Memory of the stage that needs most, with the overhead that the efficiency declares.

    Parameters
    ----------
    costs : what was counted
    rates : of the machine
    offloaded_to : where that lies which is not on the device: host or nvme

    Returns
    -------
    memory by kind
    """
    worst = costs.memory[0]
    for stage in costs.memory[1:]:
        worst = _larger(worst, stage)
    declared = rates.efficiency.overhead
    communication = declared.communication * communicators(costs.groups)
    lost = declared.fragmentation / (1 - declared.fragmentation) * worst.total
    # an allocator that runs full gives its cache back before it gives up
    room = maximum(rates.capacity - worst.total - declared.context - communication, 0.0)
    return Memory(
        *worst[:7],
        fragmentation=minimum(lost, room),
        context=declared.context,
        communication=communication,
        capacity=rates.capacity,
        host_capacity=rates.host_capacity,
        **{"storage" if offloaded_to == "nvme" else "host": worst.offloaded},
    )


def _larger(a: StageMemory, b: StageMemory) -> StageMemory:
    more = greater(b.total, a.total)
    return StageMemory(*(where(more, new, old) for new, old in zip(b, a, strict=True)))
