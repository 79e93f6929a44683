"""Physical sanity: laws that hold for every job, whatever its model, layout, schedule, format, software and machine."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.parallel import Parallel
from perfmodel.workload import Offload, Training
from tests.strategies import KINDS, any_jobs, any_model, cluster, ideal

SOME = settings(max_examples=40)
ROUNDING = 1 + 1e-9
STATES = ("none", "zero1", "zero2", "zero3")
AXES = ("tp", "cp", "ep", "dp", "pp")
HIDES_NOTHING = {"overlap": (), "tp_overlap": "none", "overlap_shared": False}


def run(job, **changes):
    return estimate(**job._replace(**changes).arguments)


def seconds(job, **changes):
    return run(job, **changes).step_time


# --- a faster machine ---------------------------------------------------------------------------------------------


def faster_tiers(on, factor, *names):
    tiers = tuple(
        tier.replace(bandwidth=factor * tier.bandwidth, per_link=tier.per_link and factor * tier.per_link,
                     cross_rail=tier.cross_rail and factor * tier.cross_rail) if tier.name in names else tier
        for tier in on.tiers
    )  # fmt: skip
    return on.replace(tiers=tiers)


RAISED = {
    "peak": lambda on, factor: on.replace(
        device=on.device.replace(peak={dtype: factor * rate for dtype, rate in on.device.peak.known().items()})
    ),
    "memory bandwidth": lambda on, factor: on.replace(
        device=on.device.replace(memory__bandwidth=factor * on.device.memory_bandwidth)
    ),
    "capacity": lambda on, factor: on.replace(
        device=on.device.replace(memory__capacity=factor * on.device.memory_capacity)
    ),
    "host link": lambda on, factor: on.replace(
        device=on.device.replace(host_link__bandwidth=factor * on.device.host_link.bandwidth)
    ),
    "scale-up links": lambda on, factor: faster_tiers(on, factor, "scale_up", "node"),
    "network": lambda on, factor: faster_tiers(on, factor, "fabric", "spine"),
    "every link": lambda on, factor: faster_tiers(on, factor, *(tier.name for tier in on.tiers)),
}  # fmt: skip


@pytest.mark.parametrize("what", RAISED)
@SOME
@given(job=any_jobs(), factor=st.floats(1, 100))
def test_more_of_anything_never_makes_a_step_slower(what, job, factor):
    assert seconds(job, cluster=RAISED[what](job.cluster, factor)) <= seconds(job) * ROUNDING


@SOME
@given(job=any_jobs(schedule="auto"), factor=st.floats(1, 100))
def test_a_faster_host_link_never_slows_what_is_offloaded(job, factor):
    work = job.work.replace(offload=Offload(optimizer=1, gradients=1, weights=0.5))
    away = job._replace(work=work)
    assert seconds(away, cluster=RAISED["host link"](job.cluster, factor)) <= seconds(away) * ROUNDING


def shortened(fits, factor):
    """Every latency and every launch of a set of fits, so much shorter."""

    def less(fit, *fields):
        given = {field: getattr(fit, field) for field in fields}
        return fit.replace(**{field: factor * value for field, value in given.items() if value is not None})

    message = ("start", "step", "tree_step", "switch_latency")
    return {
        "matmul": fits.replace(matmul={name: less(fit, "latency") for name, fit in fits.matmul.items()}),
        "attention": fits.replace(attention=less(fits.attention, "latency")),
        "stream": fits.replace(stream=less(fits.stream, "latency")),
        "messages": fits.replace(collective={name: less(fit, *message) for name, fit in fits.collective.items()}),
        "launch": fits.replace(host=less(fits.host, "launch")),
        "once a step": fits.replace(host=less(fits.host, "step")),
        "stragglers": fits.replace(host=less(fits.host, "straggling")),
        "contention": fits.replace(overlap=less(fits.overlap, "slowdown")),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what", ["matmul", "attention", "stream", "messages", "launch", "once a step", "stragglers", "contention"]
)
@SOME
@given(job=any_jobs(), factor=st.floats(0, 1))
def test_a_shorter_latency_never_makes_a_step_slower(what, job, factor):
    assert seconds(job, efficiency=shortened(job.efficiency, factor)[what]) <= seconds(job) * ROUNDING


# --- a longer job -------------------------------------------------------------------------------------------------


@SOME
@given(job=any_jobs(), rounds=st.integers(2, 4))
def test_more_micro_batches_never_shorten_a_step(job, rounds):
    more = job.work.replace(global_batch=rounds * job.work.global_batch)
    assert seconds(job) <= seconds(job, work=more) * ROUNDING


@SOME
@given(job=any_jobs(), times=st.integers(2, 4))
def test_longer_sequences_never_shorten_a_step(job, times):
    more = job.work.replace(sequence_length=times * job.work.sequence_length)
    assert seconds(job) <= seconds(job, work=more) * ROUNDING


@SOME
@given(job=any_jobs(), times=st.integers(2, 4))
def test_more_layers_never_shorten_a_step(job, times):
    blocks = tuple(block.replace(repeat=times * block.repeat) for block in job.model.blocks)
    assert seconds(job) <= seconds(job, model=job.model.replace(blocks=blocks)) * ROUNDING


@SOME
@given(job=any_jobs(kinds=("dense", "encoder")), times=st.integers(2, 4))
def test_a_larger_vocabulary_never_shortens_a_step(job, times):
    def grown(layers):
        return tuple(
            layer.replace(vocabulary=times * layer.vocabulary) if hasattr(layer, "vocabulary") else layer
            for layer in layers
        )

    model = job.model.replace(entry=grown(job.model.entry), exit=grown(job.model.exit))
    assert seconds(job) <= seconds(job, model=model) * ROUNDING


# --- a network without limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sharding", ["none", "zero1", "zero3"])
@given(ranks=st.sampled_from([2, 8, 64]), tp=st.sampled_from([1, 4]), pp=st.sampled_from([1, 2]))
@settings(max_examples=8)
def test_time_per_token_is_flat_under_weak_scaling_on_an_infinite_network(kind, sharding, ranks, tp, pp):
    """The share of the update that each rank does is what sharding divides; all else does not change."""

    def spent(dp):
        free = cluster(tp * pp * dp, scale_out=1e40, scale_up=1e40)
        work = Training(global_batch=4 * dp, sequence_length=512)
        layout = Parallel(tp=tp, pp=pp, sharding=sharding)
        est = estimate(any_model(kind, layers=4, tp=tp), work, layout, free, efficiency=ideal())
        update = sum(leaf.seconds for leaf in est.tree.parts if leaf.work and leaf.kind == "memory-bound")
        return est.step_time, update

    (one, update), (many, less) = spent(1), spent(ranks)
    shared = 1 if sharding == "none" else ranks
    assert less * shared == pytest.approx(update, rel=1e-9)
    assert many - less == pytest.approx(one - update, rel=1e-9)


# --- nothing hidden -----------------------------------------------------------------------------------------------


@SOME
@given(any_jobs(**HIDES_NOTHING))
def test_no_overlap_means_a_sum(job):
    est = run(job)
    assert est.tree.hidden == 0
    assert all(axis.hidden == 0 for axis in est.overlap.values())
    assert est.terms.get("contention", 0.0) == 0
    assert sum(est.terms.values()) == pytest.approx(est.step_time, rel=1e-9)
    assert leaves_of(est.tree) == pytest.approx(est.step_time, rel=1e-9)


def leaves_of(node):
    """Seconds of all leaves as if each stood alone, repetitions counted."""
    return node.times * sum(map(leaves_of, node.parts)) if node.parts else node.seconds


@SOME
@given(job=any_jobs(**HIDES_NOTHING), axes=st.sets(st.sampled_from(AXES)))
def test_hiding_messages_never_costs_more_than_it_hides(job, axes):
    """Contention takes a share below one of what is hidden."""
    beside = job.layout.replace(overlap=tuple(sorted(axes)), tp_overlap=None)
    assert seconds(job, layout=beside) <= seconds(job) * ROUNDING


# --- one rank -----------------------------------------------------------------------------------------------------


@SOME
@given(any_jobs())
def test_an_axis_of_one_rank_sends_nothing(job):
    est, layout = run(job), job.layout
    split = layout.tp_in_experts if layout.ep > 1 else layout.tp
    alone = {"tp": layout.tp * split == 1, "cp": layout.cp == 1, "pp": layout.pp == 1, "ep": layout.ep == 1}
    alone["tp"] = alone["tp"] and layout.pp == 1  # the norm of the gradient is summed over the model's ranks
    alone["dp"] = layout.dp * layout.cp == 1 and layout.tp * layout.pp == 1
    for axis, nobody in alone.items():
        if nobody:
            assert est.terms.get(axis, 0.0) == 0, axis
            assert est.tree.covered.get(axis, 0.0) == 0, axis


@SOME
@given(any_jobs(degrees=(1,)))
def test_a_device_alone_has_no_network(job):
    est = run(job)
    assert est.resources.get("network_latency", 0.0) == 0
    assert all(est.resources.get(tier.name, 0.0) == 0 for tier in job.cluster.tiers)
    assert est.algorithms == {}


# --- what adds up -------------------------------------------------------------------------------------------------


@SOME
@given(any_jobs())
def test_terms_and_resources_add_up_and_none_is_negative(job):
    est = run(job)
    assert sum(est.terms.values()) == pytest.approx(est.step_time, rel=1e-9)
    assert sum(est.resources.values()) == pytest.approx(est.step_time, rel=1e-9)
    hidden = [axis.hidden for axis in est.overlap.values()]
    rounding = 1e-12 * est.step_time
    for number in (*est.terms.values(), *est.resources.values(), *hidden, *est.memory[1:11]):
        assert math.isfinite(number)
        assert number >= -rounding
    assert 0 < est.mfu <= est.hfu * ROUNDING


@SOME
@given(job=any_jobs(), levels=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=4, unique=True))
def test_bands_lie_inside_each_other(job, levels):
    est = run(job)
    if job.efficiency.spread is None:
        return
    bands = [est.step_time_range(level) for level in sorted(levels)]
    for (low, high), (lower, higher) in itertools.pairwise(bands):
        assert 0 < lower <= low <= high <= higher


# --- recomputation and memory -------------------------------------------------------------------------------------


@SOME
@given(any_jobs())
def test_recomputation_never_saves_time_and_never_keeps_more(job):
    none, core, full = (
        run(job, work=job.work.replace(recompute=what, recompute_every=1))
        for what in ("none", "selective", "full")
    )
    assert none.step_time <= core.step_time * ROUNDING
    assert none.step_time <= full.step_time * ROUNDING
    assert core.memory.activations <= none.memory.activations * ROUNDING
    assert full.memory.activations <= core.memory.activations * ROUNDING


@SOME
@given(any_jobs())
def test_more_sharding_never_needs_more_states(job):
    states = [
        run(job, layout=job.layout.replace(sharding=kind, shards=None)).memory.states for kind in STATES
    ]
    assert all(more <= less * ROUNDING for less, more in itertools.pairwise(states))


def weights(job, **degrees):
    """Most weights of any stage, not always the one that needs most memory; nothing where a rule is broken."""
    layout = job.layout.replace(**degrees, sharding="none", shards=None, dp=None)
    devices = layout.replica * job.layout.dp * 8
    work = job.work.replace(global_batch=64 * job.work.global_batch)
    try:
        stages = estimate(job.model, work, layout, cluster(devices)).costs.memory
    except InputError:
        return None
    return max(stage.weights for stage in stages)


@pytest.mark.parametrize("axis", ["tp", "pp", "ep"])
@SOME
@given(job=any_jobs(schedule="auto", vpp=1, expert_tp=1))
def test_more_ranks_never_need_more_weights_each(axis, job):
    found = [weights(job, **{axis: ranks}) for ranks in (1, 2, 4)]
    known = [size for size in found if size is not None]
    assert all(more <= less * ROUNDING for less, more in itertools.pairwise(known))
