"""Costs of a batch on a machine: prefill and decode with the host's floor, and the fullest stage's memory."""

from __future__ import annotations

from typing import Any

from perfmodel.costs.inference import InferenceCosts, inference_costs
from perfmodel.costs.serving_memory import Footprint
from perfmodel.efficiency import Efficiency, Engine, EngineRecipe
from perfmodel.errors import UnsupportedError
from perfmodel.estimation.host import communicators, launches, messages
from perfmodel.estimation.inference_result import InferenceEstimate, InferenceMemory
from perfmodel.estimation.machine import Machine, machine
from perfmodel.estimation.timed import Timed, repeated, series
from perfmodel.estimation.timing import Clock
from perfmodel.hardware import Cluster, Device
from perfmodel.model import Model
from perfmodel.ops import greater, maximum, where
from perfmodel.parallel import Parallel, Ranks
from perfmodel.work import Work
from perfmodel.workload import Inference, Served
from perfmodel.workload.quantisation import PLAIN, WEIGHTS

__all__ = ["check_formats", "estimate_inference", "fullest", "phases", "recipe_of", "timed_pass"]


def estimate_inference(
    model: Model, work: Inference, layout: Parallel, cluster: Cluster, efficiency: Efficiency
) -> InferenceEstimate:
    """Predict one batch.

    Parameters
    ----------
    model, work, layout : what is run, dp set and rules checked
    cluster : on what
    efficiency : the fits in force

    Returns
    -------
    the estimate
    """
    check_formats(work, cluster.device)
    recipe = recipe_of(efficiency)
    costs = inference_costs(
        model,
        work,
        layout,
        pipelined=recipe.pipelined,
        part_tokens=recipe.part_tokens,
        reserved=recipe.keeps_all,
        pass_tokens=recipe.prefill_tokens if recipe.chunked else None,
        queued=recipe.queued,
        parts_in_flight=recipe.parts_in_flight,
    )
    rates = machine(cluster, efficiency, (costs.dtype, costs.core_dtype))
    graphs = recipe.graphs if work.graphs is None else work.graphs
    replica: Any = costs.samples / layout.dp
    prefill, decode = phases(
        costs, rates, graphs, hosts=layout.pp if recipe.pipelined else 1, sequences=replica
    )
    parts = [] if prefill is None else [prefill]
    if decode is not None:
        parts.append(repeated("decode", costs.steps, decode))
    return InferenceEstimate(
        model=model,
        work=work,
        layout=layout,
        cluster=cluster,
        efficiency=efficiency,
        costs=costs,
        tree=series("batch", tuple(parts)),
        prefill=prefill,
        decode=decode,
        memory=fullest(costs.memory, costs.groups, rates, recipe.memory_share, replica),
        peak=rates.peak[costs.dtype],
    )


def check_formats(work: Served, device: Device) -> None:
    """Refuse number formats that a device has no rate in.

    Parameters
    ----------
    work : the job
    device : that runs it

    Raises
    ------
    UnsupportedError
        the formats that would run, and the nearest of them
    """
    formats, known = work.formats, device.peak.known()
    plain = [dtype for dtype in PLAIN if dtype in known]
    if formats.core_dtype not in known:
        name = "weight_dtype" if work.weight_dtype == formats.core_dtype else "activation_dtype"
        raise UnsupportedError(
            f"{name} = {formats.core_dtype!r}: {device.name} has no known peak in {formats.core_dtype}; valid: "
            f"{', '.join(plain)}; nearest: {name} = {plain[-1]!r}"
        )
    if formats.dtype not in known:
        whole = [name for name, one in WEIGHTS.items() if one.computes in known]
        alone = [name for name, one in WEIGHTS.items() if one.computes is None or one.experts_only]
        fewer = [name for name in alone if name == f"{work.weight_dtype}_wo"] or ["int8_wo"]
        raise UnsupportedError(
            f"weight_dtype = {work.weight_dtype!r} computes in {formats.dtype}, in which {device.name} has no known "
            f"peak; valid: {', '.join(whole)}, and weight-only formats everywhere: {', '.join(alone)}, int4_g128 (any "
            f"bits and group); nearest: weight_dtype = {fewer[0]!r}"
        )


def recipe_of(efficiency: Efficiency) -> EngineRecipe:
    """What the engine in force does where a job does not say; the typical one where fits stand alone.

    Parameters
    ----------
    efficiency : the fits in force
    """
    return efficiency.recipe or Engine.load(efficiency.software or "default").recipe


def phases(
    costs: InferenceCosts, rates: Machine, graphs: bool, *, hosts: Any = 1, sequences: Any = 0
) -> tuple[Timed | None, Timed | None]:
    """Prefill and one step of decode, each with its host.

    Parameters
    ----------
    costs : what was counted
    rates : of the machine
    graphs : steps of decode are captured and launched as a whole
    hosts : that a pass goes through, one a pipeline stage [-]
    sequences : of a replica, of each of which the host takes care [-]
    """
    clock = Clock(rates, costs.groups)
    shared: dict[str, Any] = {"hosts": hosts, "sequences": sequences}
    return (
        None if costs.prefill is None else timed_pass(costs.prefill, clock, captured=False, **shared),
        None if costs.decode is None else timed_pass(costs.decode, clock, captured=graphs, **shared),
    )


def timed_pass(work: Work, clock: Clock, *, captured: bool, hosts: Any = 1, sequences: Any = 0) -> Timed:
    """One pass on the device, or as long as its kernels take to launch, and the host's own time of it.

    Parameters
    ----------
    work : the pass
    clock : of the machine
    captured : the whole pass is one launch (CUDA graph)
    hosts : that it goes through, one a pipeline stage, each with its own time of it [-]
    sequences : in it, of each of which the host takes care [-]
    """
    device, host = clock.time(work), clock.rates.efficiency.host
    needed = host.launch if captured else launches(work, clock.groups, clock.rates) * host.launch
    alone = hosts * host.step + sequences * host.sequence
    parts, busy = device.parts, device.seconds
    if clock.rates.efficiency.launched_messages and not captured:
        longer = messages(work, clock.groups) * host.message
        parts = (*parts, Timed("launched messages", "host", longer, {"host_launch": longer}, {}))
        busy = busy + longer
    waiting = maximum(needed - busy, 0.0)
    return series(
        device.name,
        (
            *parts,
            Timed("host launches", "host", waiting, {"host_launch": waiting}, {}),
            Timed("host, once a pass", "host", alone, {"host_launch": alone}, {}),
        ),
    )


def fullest(
    stages: tuple[Footprint, ...], groups: dict[str, Ranks], rates: Machine, share: Any, sequences: Any
) -> InferenceMemory:
    """Memory of the stage that needs most, with the overhead that the efficiency declares.

    Parameters
    ----------
    stages : what each holds
    groups : the ranks of each axis
    rates : of the machine
    share : of the device's memory, what the engine takes [-]
    sequences : in the cache of one replica [-]
    """
    worst = stages[0]
    for stage in stages[1:]:
        more = greater(stage.total, worst.total)
        worst = Footprint(*(where(more, new, old) for new, old in zip(stage, worst, strict=True)))
    declared = rates.efficiency.overhead
    together = {axis: ranks for axis, ranks in groups.items() if axis != "data"}  # replicas do not talk
    return InferenceMemory(
        stage=worst.stage,
        weights=worst.weights,
        cache=worst.cache,
        activations=worst.activations,
        context=declared.context,
        communication=declared.communication * communicators(together),
        capacity=rates.capacity,
        share=share,
        sequences=sequences,
        per_sequence=worst.per_sequence,
        per_token=worst.per_token,
    )
