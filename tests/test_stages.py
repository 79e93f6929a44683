"""Pipelines of an estimate: which stage holds what, how long each schedule takes, and what it keeps alive."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.costs import training_costs
from perfmodel.costs.stages import alive, deal
from perfmodel.errors import InputError, UnknownNameError, UnsupportedError
from perfmodel.estimation import estimate
from perfmodel.parallel import Group, Parallel, groups
from perfmodel.schedules import over_shapes, schedule, schedules
from perfmodel.work import Collective, leaves
from perfmodel.workload import Training
from tests.strategies import cluster, gpt, ideal

CHUNKS = {"1f1b": 1, "gpipe": 1, "zbv": 2, "dualpipev": 2}
SHAPES = [(2, 8), (4, 8), (4, 16)]


def even(**changes):
    """A model whose ends weigh next to nothing, on an ideal machine without latencies."""
    fields = {"layers": 16, "hidden": 256, "vocabulary": 8, "positions": 0, "tied": False}
    return gpt(**(fields | changes))


def step(layout, *, model=None, micro_batches=8, scale_up=1e40, overlap=("dp", "pp", "cp"), **fit):
    work = Training(global_batch=micro_batches, sequence_length=512, clip_gradients=False)
    on = cluster(layout.pp, scale_out=1e40, scale_up=scale_up)
    layout = layout.replace(overlap=overlap, sharding="none")
    return estimate(model or even(), work, layout, on, efficiency=ideal(**fit))


def pipeline_of(est):
    """Seconds of one micro-batch through all stages, and of the whole pipeline."""
    part = next(part for part in est.tree.parts if part.name == "micro-batches")
    return part.seconds


# --- who holds what -----------------------------------------------------------------------------------------------


@given(pp=st.integers(2, 16), first=st.integers(0, 9), last=st.integers(0, 9), each=st.integers(1, 9))
def test_ends_hold_what_they_are_told(pp, first, last, each):
    depth = first + last + (pp - 2) * each
    if not depth:
        return
    held = deal(depth, Parallel(pp=pp, first_stage_layers=first, last_stage_layers=last))
    shares = [held.first.share, *[held.middle.share] * (pp - 2), held.last.share]
    assert sum(shares) == pytest.approx(1)
    assert (held.first.share * depth, held.last.share * depth) == pytest.approx((first, last))


def test_one_end_leaves_the_rest_to_the_others():
    # DeepSeek-V3 on 16 stages of 4, the last with 1: 61 = 15 · 4 + 1
    held = deal(61, Parallel(pp=16, last_stage_layers=1))
    assert [61 * stage.share for stage in held] == pytest.approx([4, 4, 1])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"pp": 4, "first_stage_layers": 3},
            "first_stage_layers = 3 leave 13 of 16 layers to 3 stages of vpp = 1",
        ),
        ({"first_stage_layers": 3}, "first_stage_layers = 3, but one stage holds all layers; nearest:"),
        (
            {"pp": 2, "vpp": 2, "last_stage_layers": 7},
            "last_stage_layers = 7 leave 9 of 16 layers to 1 stages",
        ),
        ({"pp": 4, "vpp": 2, "schedule": "zbv", "first_stage_layers": 1}, "zbv deals its chunks evenly"),
        (
            {"pp": 4, "schedule": "zbv"},
            "schedule = 'zbv' has 2 chunks a stage, and vpp = 1; nearest: vpp = 2",
        ),
        ({"pp": 4, "vpp": 2, "schedule": "gpipe"}, "schedule = 'gpipe' has 1 chunks a stage, and vpp = 2"),
        ({"pp": 8, "vpp": 2, "schedule": "dualpipev"}, "micro_batches = 8 cannot fill stages · chunks = 16"),
    ],
)
def test_stages_that_cannot_be_are_told(fields, words):
    with pytest.raises(InputError) as error:
        step(Parallel(**fields))
    assert words in str(error.value)


def test_a_schedule_is_found_by_any_of_its_names():
    assert Parallel(schedule="ScheduleDualPipeV").schedule == "dualpipev"
    with pytest.raises((InputError, UnknownNameError), match="did you mean"):
        Parallel(schedule="1f2b")


def test_a_fold_has_both_ends_on_one_rank():
    held = deal(16, Parallel(pp=4, vpp=2, schedule="zbv"))
    assert [(stage.share, stage.opens, stage.closes) for stage in held] == [
        (0.25, 1, 1),
        (0.25, 0, 0),
        (0.25, 0, 0),
    ]


# --- how long it takes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pp", "micro_batches"), SHAPES)
@pytest.mark.parametrize("name", schedules())
def test_equal_stages_take_what_the_recurrence_says(name, pp, micro_batches):
    """Every pass of every chunk, its ends included, put into the exact event recurrence."""
    vpp = CHUNKS.get(name, 2)
    alone = pipeline_of(step(Parallel(), micro_batches=1))
    found = step(Parallel(pp=pp, vpp=vpp, schedule=name), micro_batches=micro_batches)
    plan = schedule(name, stages=pp, micro_batches=micro_batches, chunks=vpp)
    steady = next(part for part in found.tree.parts if part.name == "micro-batches").parts[0]
    entry, body, leave = (part.parts[0].parts for part in steady.parts[0].parts[:3])
    passes = [[body[way].seconds / pp / vpp] * pp * vpp for way in (0, 1)]
    for way, seconds in enumerate(passes):
        seconds[0] += entry[way].seconds
        seconds[-1] += leave[way].seconds
    forward, backward = passes
    split = name in ("zbv", "dualpipev", "interleaved-zero-bubble")  # a backward is about twice a forward
    weight = [min(each / 2, body[0].seconds / pp / vpp) for each in backward] if split else None
    exact = plan.timing(forward=forward, backward=backward, weight=weight).makespan
    assert pipeline_of(found) == pytest.approx(exact, rel=0.03 if split else 1e-2)
    assert micro_batches * alone / pp < pipeline_of(found)


def test_schedules_in_order_of_their_bubbles():
    """Splitting backward fills the bubble, chunks shrink it, a fold does both (arXiv:2401.10241, table 2)."""
    plain, gpipe, chunked, split, folded = (
        step(Parallel(pp=4, vpp=vpp, schedule=name), micro_batches=16).step_time
        for name, vpp in (
            ("1f1b", 1), ("gpipe", 1), ("interleaved-1f1b", 2), ("interleaved-zero-bubble", 1), ("zbv", 2),
        )
    )  # fmt: skip
    assert folded < chunked < plain == gpipe
    assert folded < split < plain


@pytest.mark.parametrize("name", schedules())
def test_one_stage_has_no_bubble(name):
    est = step(
        Parallel(schedule=name, vpp=CHUNKS.get(name, 1)) if CHUNKS.get(name) != 2 else Parallel(schedule=name)
    )
    assert est.terms["bubble"] == pytest.approx(0, abs=1e-12 * est.step_time)


def test_a_slow_end_sets_the_pace_until_it_is_unburdened():
    heavy = even(vocabulary=20000)
    plain = step(Parallel(pp=4), model=heavy)
    eased = step(Parallel(pp=4, last_stage_layers=1), model=heavy)
    assert eased.step_time < plain.step_time


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(schedules()), slow=st.floats(1e8, 1e11))
def test_sends_cost_time_and_less_where_they_run_beside_compute(name, slow):
    layout = Parallel(pp=4, vpp=CHUNKS.get(name, 2), schedule=name)
    free = step(layout).step_time
    beside, apart = (step(layout, scale_up=slow, overlap=axes).step_time for axes in (("pp",), ()))
    assert free <= beside * (1 + 1e-9)
    assert beside <= apart * (1 + 1e-9)


def test_waiting_sends_by_hand():
    """1F1B with messages that keep both ends busy: each of 8 micro-batches waits for its own, and 2 in the fill."""
    apart, free = (step(Parallel(pp=4), scale_up=rate, overlap=()) for rate in (1e9, 1e40))
    trip = 2 * 512 * 256 * 2 / 1e9
    assert apart.step_time - free.step_time == pytest.approx((8 + 2) * trip, rel=1e-6)


# --- what it keeps alive ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pp", "micro_batches"), SHAPES)
@pytest.mark.parametrize("name", schedules())
def test_memory_is_that_of_the_schedule(name, pp, micro_batches):
    layout = Parallel(pp=pp, vpp=CHUNKS.get(name, 2), schedule=name)
    counted = schedule(name, stages=pp, micro_batches=micro_batches, chunks=layout.vpp).live_micro_batches
    assert [alive(layout, micro_batches, rank) for rank in range(pp)] == pytest.approx(
        list(counted), rel=1e-12
    )


def test_gpipe_holds_all_micro_batches():
    one, all_ = (step(Parallel(pp=4, schedule=name), micro_batches=32) for name in ("1f1b", "gpipe"))
    assert all_.costs.memory[0].activations == pytest.approx(8 * one.costs.memory[0].activations)


# --- columns ------------------------------------------------------------------------------------------------------


def test_columns_of_shapes_are_their_rows():
    layout = Parallel(schedule="zbv", vpp=2)
    pp, passes = np.array([2, 4, 2]), np.array([8, 8, 4])
    columns = layout.model_copy(update={"pp": pp})
    rows = [alive(layout.replace(pp=int(p)), int(m), 0) for p, m in zip(pp, passes, strict=True)]
    assert alive(columns, passes, 0).tolist() == rows


def test_schedules_without_a_closed_form_say_so_to_symbols():
    with pytest.raises(UnsupportedError, match="zbv has no closed form"):
        over_shapes("zbv", (sympy.Symbol("p"), 4, 2), lambda shape: shape)


# --- tied tables --------------------------------------------------------------------------------------------------


def test_a_tied_table_is_joined_between_the_ends():
    """Both ends hold it, so both have a part of its gradient: 64 · 128 numbers of 4 bytes, over the whole pipeline."""
    tree = training_costs(
        gpt(), Training(global_batch=8, sequence_length=32), Parallel(pp=2, tp=2, dp=4)
    ).tree
    joined = [leaf for leaf in leaves(tree) if isinstance(leaf, Collective) and leaf.axis == "ends"]
    assert [(leaf.kind, leaf.payload) for leaf in joined] == [("all_reduce", 64 * 128 / 2 * 4)]
    assert groups(Parallel(tp=2, pp=4, dp=8))["ends"] == Group(2, 3 * 16)
    assert groups(Parallel(dp=8))["ends"].ranks == 1


def test_a_tied_table_costs_nothing_on_one_stage_or_in_a_fold():
    tied, apart = (step(Parallel(), model=even(tied=tied), scale_up=1e3) for tied in (True, False))
    assert "pp" not in {axis for axis, seconds in tied.terms.items() if seconds and axis == "pp"}
    assert apart.terms["pp"] == 0
    fold = Parallel(pp=2, vpp=2, schedule="zbv", dp=1)
    tree = training_costs(even(tied=True), Training(global_batch=8, sequence_length=32), fold).tree
    assert not [leaf for leaf in leaves(tree) if isinstance(leaf, Collective) and leaf.axis == "ends"]
