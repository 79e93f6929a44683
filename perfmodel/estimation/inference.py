"""Costs of a batch on a machine: prefill and decode with the host's floor, and the fullest stage's memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.costs.inference import InferenceCosts, inference_costs
from perfmodel.costs.serving_memory import Footprint
from perfmodel.efficiency import Efficiency, EngineRecipe, OverheadFit
from perfmodel.errors import UnsupportedError
from perfmodel.estimation.host import communicators, launches, messages
from perfmodel.estimation.inference_result import InferenceEstimate, InferenceMemory
from perfmodel.estimation.machine import Machine, machine
from perfmodel.estimation.recipes import as_served, recipe_of
from perfmodel.estimation.timed import Timed, repeated, series
from perfmodel.estimation.timing import Clock
from perfmodel.hardware import Cluster, Device
from perfmodel.model import Model
from perfmodel.ops import at_least, ceil, certain, greater, maximum, where
from perfmodel.parallel import Parallel, Ranks
from perfmodel.work import Work
from perfmodel.workload import Inference, Served
from perfmodel.workload.quantisation import PLAIN, WEIGHTS

__all__ = [
    "CountedBatch", "check_formats", "counted_batch", "estimate_inference", "fullest", "phases", "recipe_of",
    "timed_batch", "timed_pass",
]  # fmt: skip


class CountedBatch(NamedTuple):
    """A batch as its engine runs it, counted: all at once, or in waves of as many sequences as the cache has room for.

    Parameters
    ----------
    model, work, layout, cluster : what is run, dp set, and on what
    recipe : of the engine
    costs, memory : of what runs together
    waves : that follow each other [-]
    """

    model: Model
    work: Inference
    layout: Parallel
    cluster: Cluster
    recipe: EngineRecipe
    costs: InferenceCosts
    memory: InferenceMemory
    waves: Any


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
    return timed_batch(counted_batch(model, work, layout, cluster, efficiency), efficiency)


def counted_batch(
    model: Model, work: Inference, layout: Parallel, cluster: Cluster, efficiency: Efficiency
) -> CountedBatch:
    """Count what of a batch runs together, and how many times over.

    An engine that reserves the whole of a sequence when it lets it in has a whole number of waves: sequences of one
    length that begin together end together, and each place in the cache serves one after the other. The waves are taken
    as alike in size, which takes the same time wherever a step is a straight line in its sequences. Where nothing is
    reserved, sequences enter as long as there is room, and the last are thrown out for the first to end: the cache is
    always full, and the batch takes as many times over as it is larger than the cache.

    Parameters
    ----------
    model, work, layout : what is run, dp set and rules checked
    cluster : on what
    efficiency : the fits in force, of which only the declared overhead matters

    Returns
    -------
    demands and memory of a wave, and their number
    """
    recipe = recipe_of(efficiency)
    given, work = work, as_served(model, work, cluster.device, recipe)
    continuous = recipe.continuous if work.continuous is None else work.continuous
    alive = _pass_tokens(work, recipe, continuous)

    def counted(together: Any) -> tuple[InferenceCosts, InferenceMemory]:
        costs = inference_costs(
            model,
            work,
            layout,
            pipelined=recipe.pipelined,
            part_tokens=recipe.part_tokens,
            reserved=recipe.keeps_all,
            pass_tokens=alive,
            together=together,
            queued=recipe.queued,
            parts_in_flight=recipe.parts_in_flight,
        )
        limits = (cluster.device.memory_capacity, efficiency.overhead, recipe)
        return costs, fullest(costs.memory, costs.groups, *limits, sequences=costs.samples / layout.dp)

    costs, memory = counted(None)
    room = maximum(memory.most_sequences, 1.0)
    waves: Any = 1
    if continuous and model.generates and not certain(at_least(room, memory.sequences)):
        waves = maximum(memory.sequences / room, 1.0)
        waves = ceil(waves) if recipe.reserves_output else waves
        costs, memory = counted(memory.sequences / waves)
    return CountedBatch(model, given, layout, cluster, recipe, costs, memory, waves)


def _pass_tokens(work: Inference, recipe: EngineRecipe, continuous: bool) -> Any:
    """Most tokens of one pass, at least those of a prompt that is not cut; None where all prompts pass together [-]."""
    if recipe.chunked:
        return recipe.prefill_tokens
    return maximum(recipe.prefill_tokens, work.input_length or 1) if continuous else None


def timed_batch(counted: CountedBatch, efficiency: Efficiency) -> InferenceEstimate:
    """Divide a counted batch by the rates of its machine.

    Parameters
    ----------
    counted : the batch
    efficiency : the fits in force, whose numbers may be arrays

    Returns
    -------
    the estimate
    """
    model, work, layout, cluster, recipe, costs, memory, waves = counted
    rates = machine(cluster, efficiency, (costs.dtype, costs.core_dtype))
    graphs = recipe.graphs if work.graphs is None else work.graphs
    hosts = layout.pp if recipe.pipelined else 1
    prefill, decode = phases(costs, rates, graphs, hosts=hosts, sequences=memory.sequences)
    parts = [] if prefill is None else [prefill]
    if decode is not None:
        parts.append(repeated("decode", costs.steps, decode))
    batch = series("batch", tuple(parts))
    return InferenceEstimate(
        model=model,
        work=work,
        layout=layout,
        cluster=cluster,
        efficiency=efficiency,
        costs=costs,
        tree=batch if certain(waves == 1) else repeated("waves", waves, batch),
        prefill=prefill,
        decode=decode,
        waves=waves,
        memory=memory,
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
    stages: tuple[Footprint, ...],
    groups: dict[str, Ranks],
    capacity: Any,
    overhead: OverheadFit,
    recipe: EngineRecipe,
    *,
    sequences: Any,
) -> InferenceMemory:
    """Memory of the stage that needs most, with the overhead that efficiency and engine declare.

    Parameters
    ----------
    stages : what each holds
    groups : the ranks of each axis
    capacity : of the device's memory [B]
    overhead : declared beside the tensors
    recipe : of the engine: what it takes of the device's memory, and gives the cache of that
    sequences : in the cache of one replica [-]
    """
    worst = stages[0]
    for stage in stages[1:]:
        more = greater(stage.total, worst.total)
        worst = Footprint(*(where(more, new, old) for new, old in zip(stage, worst, strict=True)))
    together = {axis: ranks for axis, ranks in groups.items() if axis != "data"}  # replicas do not talk
    return InferenceMemory(
        stage=worst.stage,
        weights=worst.weights,
        cache=worst.cache,
        activations=worst.activations,
        context=overhead.context + recipe.workspace,
        communication=overhead.communication * communicators(together),
        capacity=capacity,
        share=recipe.memory_share,
        cache_share=recipe.cache_share,
        sequences=sequences,
        per_sequence=worst.per_sequence,
        per_token=worst.per_token,
    )
