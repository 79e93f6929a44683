"""Estimates: they add up, move the right way, scale as physics does, and are the same for columns and symbols."""

import math

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perfmodel.costs import training_costs
from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.estimation import estimate
from perfmodel.estimation.machine import machine
from perfmodel.estimation.training import step, worst_memory
from perfmodel.hardware import Cluster
from perfmodel.parallel import Parallel
from perfmodel.symbols import compiled
from perfmodel.work import flops, memory_bytes, total
from perfmodel.workload import Training
from tests.strategies import cluster, device, gpt, ideal, jobs

SOME = settings(max_examples=50)
ROUNDING = 1e-9
MESSAGES = ("tp", "cp", "pp", "dp")
SHARDINGS = ("none", "zero1", "zero2", "zero3")
EVERY_AXIS = ("tp", "cp", "dp", "pp")


def exposed(est):
    """Seconds of communication that stick out."""
    return sum(est.terms.get(axis, 0.0) for axis in MESSAGES)


def nodes(timed):
    yield timed
    for part in timed.parts:
        yield from nodes(part)


def numbers(est):
    """Every number of an estimate."""
    yield from (est.step_time, est.tokens_per_second, est.tokens_per_second_per_device, est.mfu, est.hfu)
    yield from (est.costs.model_flops, est.costs.hardware_flops, est.tree.hidden)
    yield from est.resources.values()
    yield from est.terms.values()
    for node in nodes(est.tree):
        yield from (node.seconds, node.hidden, node.times, *node.resources.values())
    for stage in est.costs.memory:
        yield from (stage.weights, stage.gradients, stage.optimizer, stage.activations, stage.buffers)
    yield from (est.memory.overhead, est.memory.total, est.memory.states)


def faster(cluster_, what, factor):
    """The same cluster with one of its rates raised."""
    if what == "peak":
        peak = {dtype: factor * rate for dtype, rate in cluster_.device.peak.known().items()}
        return cluster_.replace(device=cluster_.device.replace(peak=peak))
    if what == "memory":
        bandwidth = factor * cluster_.device.memory_bandwidth
        return cluster_.replace(device=cluster_.device.replace(memory__bandwidth=bandwidth))
    tiers = tuple(
        tier.replace(bandwidth=factor * tier.bandwidth) if tier.name == what else tier
        for tier in cluster_.tiers
    )
    return cluster_.replace(tiers=tiers)


def slower_in_time(efficiency, factor):
    """The same fits with every latency that much longer."""

    def longer(fit, *fields):
        return fit.replace(**{field: factor * getattr(fit, field) for field in fields})

    return efficiency.replace(
        matmul={name: longer(fit, "latency", "inner_step") for name, fit in efficiency.matmul.items()},
        attention=longer(efficiency.attention, "latency", "block", "walk", "decode_walk"),
        stream=longer(efficiency.stream, "latency"),
        collective={name: longer(fit, "start", "step") for name, fit in efficiency.collective.items()},
        host=longer(efficiency.host, "launch"),
    )


# --- they add up --------------------------------------------------------------------------------------------------


@SOME
@given(jobs())
def test_resources_and_terms_add_up_to_the_step(job):
    est = estimate(**job.arguments)
    assert sum(est.resources.values()) == pytest.approx(est.step_time, rel=ROUNDING)
    assert sum(est.terms.values()) == pytest.approx(est.step_time, rel=ROUNDING)
    assert est.limiter.share == pytest.approx(max(est.resources.values()) / est.step_time)
    assert est.limiter.share >= est.limiter.runner_up_share


@SOME
@given(jobs())
def test_every_node_is_the_sum_of_its_parts(job):
    for node in nodes(estimate(**job.arguments).tree):
        assert sum(node.resources.values()) == pytest.approx(node.seconds, rel=ROUNDING, abs=1e-15)
        if node.parts:
            parts = node.times * sum(part.seconds for part in node.parts)
            assert parts == pytest.approx(node.seconds, rel=ROUNDING, abs=1e-15)


@SOME
@given(jobs())
def test_no_number_is_negative_infinite_or_none(job):
    for number in numbers(estimate(**job.arguments)):
        assert isinstance(number, float | int)
        assert math.isfinite(number)
        assert number >= 0


@SOME
@given(jobs())
def test_utilisation_is_a_share(job):
    est = estimate(**job.arguments)
    assert 0 < est.mfu <= est.hfu * (1 + ROUNDING)
    assert est.hfu <= 1 + ROUNDING
    assert est.mfu <= est.utilisation("palm") * (1 + ROUNDING)
    assert est.tokens_per_second * est.step_time == pytest.approx(job.work.tokens, rel=ROUNDING)
    assert est.memory.total == pytest.approx(sum(est.memory.by_kind.values()), rel=ROUNDING)
    assert est.fits == (est.memory.total <= est.cluster.device.memory_capacity)


@SOME
@given(jobs())
def test_the_worst_stage_is_the_worst(job):
    est = estimate(**job.arguments)
    worst = max(est.costs.memory, key=lambda stage: stage.total)
    assert est.memory.allocated == pytest.approx(worst.total, rel=ROUNDING)
    assert est.memory.total >= worst.total


# --- they move the right way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["peak", "memory", "scale_up", "fabric"])
@SOME
@given(job=jobs(), factor=st.floats(1, 100))
def test_a_faster_machine_is_never_slower(what, job, factor):
    before = estimate(**job.arguments).step_time
    after = estimate(**job._replace(cluster=faster(job.cluster, what, factor)).arguments).step_time
    assert after <= before * (1 + ROUNDING)


@SOME
@given(job=jobs(), factor=st.floats(0, 1))
def test_shorter_latencies_are_never_slower(job, factor):
    before = estimate(**job.arguments).step_time
    after = estimate(**job._replace(efficiency=slower_in_time(job.efficiency, factor)).arguments).step_time
    assert after <= before * (1 + ROUNDING)


@SOME
@given(job=jobs(), rounds=st.integers(2, 5))
def test_more_micro_batches_take_longer_but_not_in_proportion(job, rounds):
    """What a step does once, and the bubble, are shared by more tokens."""
    more = job.work.replace(global_batch=rounds * job.work.global_batch)
    one, several = (estimate(**job._replace(work=work).arguments).step_time for work in (job.work, more))
    assert one <= several * (1 + ROUNDING)
    assert several <= rounds * one * (1 + ROUNDING)


@SOME
@given(jobs())
def test_recomputation_costs_time_and_saves_memory(job):
    none, core, full = (
        estimate(**job._replace(work=job.work.replace(recompute=what)).arguments)
        for what in ("none", "selective", "full")
    )
    assert none.step_time <= core.step_time * (1 + ROUNDING)
    assert core.step_time <= full.step_time * (1 + ROUNDING)
    assert none.memory.activations >= core.memory.activations >= full.memory.activations


@SOME
@given(jobs())
def test_more_sharding_never_takes_more_states(job):
    states = [
        estimate(**job._replace(layout=job.layout.replace(sharding=sharding)).arguments).memory.states
        for sharding in SHARDINGS
    ]
    assert states == sorted(states, reverse=True)


# --- they scale as physics does -----------------------------------------------------------------------------------


@SOME
@given(job=jobs(), factor=st.floats(0.01, 100))
def test_a_world_slower_in_every_way_is_slower_by_as_much(job, factor):
    """Every latency longer and every rate lower by a factor: so is the step, and every part of it."""
    slow = job.cluster
    for what in ("peak", "memory", "scale_up", "node", "fabric"):
        slow = faster(slow, what, 1 / factor)
    before = estimate(**job.arguments)
    after = estimate(
        **job._replace(cluster=slow, efficiency=slower_in_time(job.efficiency, factor)).arguments
    )
    assert after.step_time == pytest.approx(factor * before.step_time, rel=1e-6)
    assert after.tree.hidden == pytest.approx(
        factor * before.tree.hidden, rel=1e-6, abs=1e-12 * after.step_time
    )
    for name, seconds in before.resources.items():
        assert after.resources[name] == pytest.approx(factor * seconds, rel=1e-6, abs=1e-9 * after.step_time)


@given(dp=st.sampled_from([1, 2, 8, 64]), tp=st.sampled_from([1, 8]), pp=st.sampled_from([1, 2]))
def test_weak_scaling_is_flat_on_an_infinite_network(dp, tp, pp):
    """More data-parallel ranks with their own share of the batch each: nothing changes where messages are free."""

    def seconds(ranks):
        free = cluster(tp * pp * ranks, scale_out=1e40, scale_up=1e40)
        work = Training(global_batch=4 * ranks, sequence_length=512)
        layout = Parallel(tp=tp, pp=pp, sharding="none")
        return estimate(gpt(heads=8), work, layout, free, efficiency=ideal()).step_time

    assert seconds(dp) == pytest.approx(seconds(1), rel=1e-12)


@given(dp=st.sampled_from([1, 2, 8, 64]))
def test_data_parallelism_without_messages_is_perfect_strong_scaling(dp):
    def seconds(ranks):
        free = cluster(ranks, scale_out=1e40, scale_up=1e40)
        return estimate(
            gpt(), Training(global_batch=64, sequence_length=512), Parallel(), free, efficiency=ideal()
        ).step_time

    # sharded optimizer states (ZeRO-1): the update is divided, too
    assert dp * seconds(dp) == pytest.approx(seconds(1), rel=1e-9)


@SOME
@given(jobs(overlap=()))
def test_an_ideal_machine_takes_what_was_counted(job):
    """Where ridges are sharp as a sum, seconds are FLOPs over the peak and bytes over the bandwidth, and messages."""
    work, layout = job.work.replace(attention="unfused"), job.layout
    assume(layout.pp == 1)
    est = estimate(job.model, work, layout, job.cluster, efficiency=ideal())
    device_ = job.cluster.device
    compute = total(est.costs.tree, flops) / device_.peak_for(work.precision)
    memory = total(est.costs.tree, memory_bytes) / device_.memory_bandwidth
    assert est.resources["compute"] == pytest.approx(compute, rel=ROUNDING)
    assert est.resources["memory_bandwidth"] == pytest.approx(memory, rel=ROUNDING)
    assert est.step_time == pytest.approx(compute + memory + exposed(est), rel=ROUNDING)


# --- overlap ------------------------------------------------------------------------------------------------------


@SOME
@given(jobs(overlap=()))
def test_without_overlap_nothing_is_hidden(job):
    est = estimate(**job.arguments)
    assert est.tree.hidden == 0
    assert est.terms.get("contention", 0.0) == 0
    assert est.resources["pipeline_bubble"] == est.terms["bubble"]


@SOME
@given(job=jobs(overlap=()), axes=st.sets(st.sampled_from(EVERY_AXIS)))
def test_overlap_never_makes_exposed_communication_longer(job, axes):
    apart = estimate(**job.arguments)
    beside = estimate(**job._replace(layout=job.layout.replace(overlap=tuple(axes))).arguments)
    assert exposed(beside) <= exposed(apart) * (1 + ROUNDING)
    assert beside.step_time <= apart.step_time * (1 + ROUNDING)
    # what is no longer exposed is hidden: nothing gets lost (the bubble waits for compute and messages alike)
    if job.layout.pp == 1:
        assert exposed(beside) + beside.tree.hidden == pytest.approx(exposed(apart), rel=1e-6, abs=1e-15)


@SOME
@given(jobs(overlap=EVERY_AXIS))
def test_hidden_work_costs_what_it_takes_from_compute(job):
    est = estimate(**job.arguments)
    if job.layout.pp == 1:
        slowdown = job.efficiency.overlap.slowdown
        assert est.terms.get("contention", 0.0) == pytest.approx(
            slowdown * est.tree.hidden, rel=1e-6, abs=1e-15
        )


# --- the host -----------------------------------------------------------------------------------------------------


def test_a_tiny_model_waits_for_the_host():
    """Kernels of next to no length, 10 us each to launch: the step is as long as its launches."""
    tiny = gpt(layers=2, hidden=8, heads=2, vocabulary=64)
    work = Training(global_batch=1, sequence_length=8)
    est = estimate(tiny, work, Parallel(), cluster(1), efficiency=ideal(host={"launch": 1e-5}))
    assert est.limiter.name == "host_launch"
    assert est.limiter.share > 0.99
    layer = (
        10 + 16
    )  # norm qkv core out add norm up gelu down add; a product has two back, a norm launches two
    ends = (
        (1 + 1) + (1 + 1) + (1 + 4) + (2 + 3)
    )  # tokens and positions; final norm, head with a loss of three kernels
    optimizer = 4
    assert est.step_time == pytest.approx((2 * layer + ends + optimizer) * 1e-5, rel=1e-12)


def test_a_large_model_keeps_the_device_busy():
    large = gpt(layers=2, hidden=8192, heads=64)
    work = Training(global_batch=1, sequence_length=4096)
    est = estimate(large, work, Parallel(), cluster(1), efficiency=ideal(host={"launch": 1e-5}))
    assert est.resources["host_launch"] == 0
    free = estimate(large, work, Parallel(), cluster(1), efficiency=ideal())
    assert est.step_time == free.step_time


@SOME
@given(jobs())
def test_the_host_is_a_floor(job):
    """With launches that cost nothing the step is what the device takes; it never gets shorter with them."""
    free = job.efficiency.replace(host={"launch": 0})
    bare, loaded = (estimate(**job._replace(efficiency=fits).arguments) for fits in (free, job.efficiency))
    assert bare.resources["host_launch"] == 0
    assert loaded.step_time == pytest.approx(bare.step_time + loaded.resources["host_launch"], rel=ROUNDING)


# --- columns and symbols ------------------------------------------------------------------------------------------


GRID = [
    (tp, pp, vpp, cp, dp, micro_batch, dp * micro_batch * pp * rounds, sequence)
    for tp in (1, 2, 8)
    for pp, vpp in ((1, 1), (2, 1), (2, 3), (4, 1), (3, 2))
    for cp, dp in ((1, 1), (2, 4), (1, 16))
    for micro_batch, rounds, sequence in ((1, 3, 512), (2, 1, 4096))
]
FIELDS = ("tp", "pp", "vpp", "cp", "dp", "micro_batch", "global_batch", "sequence_length")
DEVICES = 48 * 16


def described(row, *, check=True, recompute="none", **structure):
    """The workload and layout of a row; unchecked ones may hold columns and symbols."""
    named = dict(zip(FIELDS, row, strict=True))
    batch = {name: named.pop(name) for name in ("global_batch", "sequence_length")}
    if check:
        return Training(**batch, recompute=recompute), Parallel(**named, **structure)
    return (
        Training.model_construct(**batch, recompute=recompute),
        Parallel.model_construct(**named, **structure),
    )


def answers(model, work, layout, on, efficiency):
    """Step and memory without the checks of `estimate`, as sweeps and closed forms ask for them."""
    costs = training_costs(model, work, layout)
    rates = machine(on, efficiency, (costs.dtype,))
    return costs, step(costs, rates), worst_memory(costs, rates)


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("system", ["switch", "nvlink", "torus"])
def test_columns_are_their_rows(sharding, recompute, system):
    """The core promise: thousands of configurations in one call, equal to one call each."""
    model = gpt(layers=12, heads=8, hidden=512, vocabulary=1024)
    on, fits = {
        "switch": (cluster(DEVICES), ideal(host={"launch": 1e-6})),
        "nvlink": (Cluster.load("gb200-nvl72", devices=768), Efficiency.load("hopper")),
        "torus": (Cluster.load("tpu-v5p-host", devices=512), Efficiency.load("tpu")),
    }[system]
    structure = {
        "sharding": sharding,
        "sequence_parallel": sharding != "none",
        "overlap": ("tp", "dp", "pp", "cp"),
    }
    columns = [np.array(column, dtype=np.float64) for column in zip(*GRID, strict=True)]
    work, layout = described(columns, check=False, recompute=recompute, **structure)
    costs, timed, memory = answers(model, work, layout, on, fits)
    resources = timed.resources
    assert timed.seconds.shape == (len(GRID),)
    for place, row in enumerate(GRID):
        one_work, one_layout = described(row, recompute=recompute, **structure)
        one_layout.check(model, one_work)
        one_costs, one, one_memory = answers(model, one_work, one_layout, on, fits)
        assert timed.seconds[place] == pytest.approx(one.seconds, rel=1e-12)
        assert np.broadcast_to(memory.total, len(GRID))[place] == pytest.approx(one_memory.total, rel=1e-12)
        assert str(np.broadcast_to(memory.stage, len(GRID))[place]) == one_memory.stage
        assert costs.hardware_flops[place] == pytest.approx(one_costs.hardware_flops, rel=1e-12)
        for name, seconds in one.resources.items():
            found = np.broadcast_to(resources[name], len(GRID))[place]
            assert found == pytest.approx(seconds, rel=1e-9, abs=1e-12 * one.seconds), name


def test_a_column_of_one_number_beside_plain_ones():
    """Each number may vary alone, as in a sweep of one axis."""
    model, on, base = gpt(layers=12, heads=8), cluster(DEVICES), (2, 2, 1, 1, 4, 1, 48, 512)
    varied = {"tp": (1, 2, 4), "pp": (1, 2, 4), "cp": (1, 2, 4), "dp": (1, 2, 4), "vpp": (1, 2, 3),
              "micro_batch": (1, 2, 3), "global_batch": (16, 48, 96), "sequence_length": (64, 512, 4096)}  # fmt: skip
    for name, values in varied.items():
        rows = [
            tuple(value if field == name else other for field, other in zip(FIELDS, base, strict=True))
            for value in values
        ]
        column = tuple(
            np.array(values, dtype=float) if field == name else other
            for field, other in zip(FIELDS, base, strict=True)
        )
        fits = Efficiency.load("universal")
        together = answers(model, *described(column, check=False), on, fits)
        alone = [answers(model, *described(row), on, fits) for row in rows]
        np.testing.assert_allclose(together[1].seconds, [one[1].seconds for one in alone], rtol=1e-12)
        totals = np.broadcast_to(together[2].total, 3)
        np.testing.assert_allclose(totals, [one[2].total for one in alone], rtol=1e-12)


SYMBOLIC = [
    ({"sharding": "zero1"}, "none", (2, 2, 1, 1, 4, 1)),
    ({"sharding": "none", "overlap": ()}, "selective", (1, 4, 3, 1, 2, 2)),
    (
        {"sharding": "zero3", "sequence_parallel": True, "overlap": ("tp", "dp", "pp", "cp")},
        "full",
        (2, 1, 1, 2, 8, 1),
    ),
]


@pytest.mark.parametrize(("structure", "recompute", "degrees"), SYMBOLIC)
def test_closed_forms_evaluate_to_the_estimate(structure, recompute, degrees):
    """Batch and sequence as symbols: one expression for all of them."""
    model, on, fits = gpt(layers=12, heads=8), cluster(64), Efficiency.load("universal")
    symbols = sympy.symbols("global_batch sequence_length", positive=True)
    _, timed, memory = answers(
        model, *described((*degrees, *symbols), check=False, recompute=recompute, **structure), on, fits
    )
    assert timed.seconds.free_symbols == set(symbols)
    closed = sympy.lambdify(symbols, [timed.seconds, memory.total], "math", cse=True)
    for batch in ((96, 512), (48, 4096), (480, 64)):
        _, one, one_memory = answers(
            model, *described((*degrees, *batch), recompute=recompute, **structure), on, fits
        )
        seconds, held = closed(*map(float, batch))
        assert seconds == pytest.approx(one.seconds, rel=1e-12)
        assert held == pytest.approx(one_memory.total, rel=1e-12)
        stage = memory.stage
        chosen = stage if isinstance(stage, str) else str(stage.subs(dict(zip(symbols, batch, strict=True))))
        assert chosen == one_memory.stage


def test_the_micro_batch_may_be_a_symbol():
    model, on, fits = gpt(layers=12, heads=8), cluster(64), Efficiency.load("universal")
    row, place = (2, 2, 1, 1, 4, 1, 48, 512), FIELDS.index("micro_batch")
    symbol = sympy.Symbol("micro_batch", positive=True)

    def with_(value):
        return (*row[:place], value, *row[place + 1 :])

    seconds = answers(model, *described(with_(symbol), check=False), on, fits)[1].seconds
    closed = sympy.lambdify(symbol, seconds, "math", cse=True)
    for value in (1, 2, 6):
        one = answers(model, *described(with_(value)), on, fits)[1].seconds
        assert closed(float(value)) == pytest.approx(one, rel=1e-12)


EVERY_DEGREE = [
    (1, 1, 1, 1, 1, 1, 8, 64),
    (2, 1, 1, 2, 2, 1, 48, 512),
    (4, 2, 3, 1, 2, 2, 48, 2048),
    (8, 4, 1, 2, 1, 3, 96, 512),
]


@pytest.mark.parametrize(
    ("named", "structure"),
    [
        (("tp", "cp", "dp", "micro_batch"), {"sharding": "zero1"}),
        (
            ("tp", "cp", "dp", "micro_batch"),
            {"sharding": "zero3", "sequence_parallel": True, "overlap": EVERY_AXIS},
        ),
        (("pp", "vpp", "global_batch"), {"sharding": "none"}),
        (FIELDS, {"sharding": "zero1", "sequence_parallel": True}),
    ],
)
def test_degrees_may_be_symbols(named, structure):
    """The whole step in one expression, however its ranks lie on the network; built in about two seconds."""
    model, on, fits = gpt(layers=12, heads=8), cluster(64), Efficiency.load("universal")
    symbols = dict(zip(named, sympy.symbols(named, positive=True), strict=True))
    closed: dict = {}
    for point in EVERY_DEGREE:
        row = dict(zip(FIELDS, point, strict=True))
        rest = tuple(value for field, value in row.items() if field not in symbols)
        if rest not in closed:
            given_ = tuple((row | symbols).values())
            _, timed, memory = answers(model, *described(given_, check=False, **structure), on, fits)
            assert timed.seconds.free_symbols == set(symbols.values())
            closed[rest] = compiled(list(symbols.values()), [timed.seconds, memory.total])
        _, one, one_memory = answers(model, *described(point, **structure), on, fits)
        seconds, held = closed[rest](*(float(row[field]) for field in symbols))
        assert seconds == pytest.approx(one.seconds, rel=1e-9)
        assert held == pytest.approx(one_memory.total, rel=1e-9)


def test_rates_of_the_machine_may_be_symbols():
    """What the step costs in terms of the machine: what elasticities are taken of."""
    model, work, layout = (
        gpt(layers=4, heads=8),
        Training(global_batch=8, sequence_length=512),
        Parallel(tp=8, dp=2),
    )
    costs = training_costs(model, work, layout)
    plain = machine(cluster(16), Efficiency.load("universal"), (costs.dtype,))
    peak, bandwidth = sympy.symbols("peak bandwidth", positive=True)
    rate = plain.matmul["bf16"]
    scaled = rate._replace(
        flops=rate.flops / plain.peak["bf16"] * peak, bandwidth=rate.bandwidth / plain.bandwidth * bandwidth
    )
    traced = plain._replace(peak={"bf16": peak}, bandwidth=bandwidth, matmul={"bf16": scaled})
    closed = sympy.lambdify((peak, bandwidth), step(costs, traced).seconds, "math", cse=True)
    assert closed(plain.peak["bf16"], plain.bandwidth) == pytest.approx(step(costs, plain).seconds, rel=1e-9)


# --- the door -----------------------------------------------------------------------------------------------------


def test_what_is_no_workload_is_refused():
    with pytest.raises(InputError, match="Training"):
        estimate(gpt(), "training", Parallel(), cluster(8))


def test_a_device_without_the_format_is_refused():
    old = cluster(8, device=device(peak={"fp16": 1e14}))
    with pytest.raises(
        UnsupportedError, match="invented has no known peak in bf16; known: fp16; nearest: fp16"
    ):
        estimate(gpt(), Training(global_batch=8, sequence_length=64), Parallel(), old)


def test_a_convention_nobody_knows_is_refused():
    est = estimate(gpt(), Training(global_batch=8, sequence_length=64), Parallel(), cluster(8))
    with pytest.raises(UnsupportedError, match="valid: causal, palm, hardware"):
        est.utilisation("nvidia")


def test_an_efficiency_is_chosen_by_architecture_unless_given():
    work, invented = Training(global_batch=8, sequence_length=64), cluster(8)
    assert estimate(gpt(), work, Parallel(), invented).efficiency.id == "universal+default"
    hopper = invented.replace(device=device(architecture="Hopper"))
    assert estimate(gpt(), work, Parallel(), hopper).efficiency.id == "hopper+default"
    assert estimate(gpt(), work, Parallel(), hopper, software="NeMo 25.02").efficiency.id == "hopper+nemo"
    assert estimate(gpt(), work, Parallel(), hopper, efficiency=ideal()).efficiency.id == "ideal"
