"""Schedules: torch's orders and times, a scalar simulation, closed forms, the laws every schedule obeys."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from perfmodel.errors import InputError, UnknownNameError
from perfmodel.formulas.pipeline import (
    bubble_fraction,
    bubble_time,
    dual_pipe_bubble_time,
    live_micro_batches,
    pipeline_time,
    zero_bubble_time,
)
from perfmodel.schedules import Action, Schedule, schedule, schedule_class, schedules
from perfmodel.schedules.listing import listing
from perfmodel.schedules.live import live_chunks

NAMES = schedules()
PLAIN = ("gpipe", "1f1b", "looped-bfs", "interleaved-1f1b")
SPLIT = ("interleaved-zero-bubble", "zbv", "dualpipev")


def chunks_of(name, chunks):
    """The number of chunks that a schedule takes and that comes closest to a wish."""
    return schedule_class(name).chunks_needed or chunks


@st.composite
def shapes(draw, names=NAMES, stages=6, micro_batches=20, full=False):
    """A schedule of a shape that its rules allow; `full`: of as many micro-batches as stages or more."""
    name = draw(st.sampled_from(names))
    p, m, v = (draw(st.integers(1, most)) for most in (stages, micro_batches, 3))
    assume(not full or m >= p)
    try:
        return schedule(name, stages=p, micro_batches=m, chunks=chunks_of(name, v))
    except InputError:
        assume(False)


SECONDS = st.floats(0.1, 10)


# --- torch --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth(golden):
    return json.loads((golden / "pipeline.json").read_text())


def shape_of(row):
    return {"stages": row["pp"], "micro_batches": row["microbatches"], "chunks": row["virtual"]}


@pytest.mark.golden
def test_every_row_of_torch_is_equal(truth):
    faults, rows = [], [row for row in truth["rows"] if "error" not in row]
    for row in rows:
        time = schedule(row["schedule"], **shape_of(row)).timing(
            forward=row["f"], backward=row["i"] + row["w"], weight=row["w"], send=row["p2p"]
        )
        equal = (
            time.makespan == pytest.approx(row["makespan"], rel=1e-12)
            and time.bubble_fraction == pytest.approx(row["bubble_fraction"], rel=1e-12, abs=1e-12)
            and time.window_bubble_fraction
            == pytest.approx(row["window_bubble_fraction"], rel=1e-12, abs=1e-12)
            and list(time.live_chunks) == row["peak_live_chunks_per_rank"]
        )
        faults += [] if equal else [(row, time)]
    assert not faults
    assert len(rows) == 492


@pytest.mark.golden
def test_what_torch_refuses_is_refused(truth):
    refused = [row for row in truth["rows"] + truth["orders"] if "error" in row]
    for row in refused:
        with pytest.raises(InputError, match=r"nearest|valid: \d+$"):
            schedule(row["schedule"], **shape_of(row))
    assert len(refused) > 50


@pytest.mark.golden
def test_orders_are_those_of_torch(truth):
    rows = [row for row in truth["orders"] if "error" not in row]
    faults = []
    for row in rows:
        built = schedule(row["schedule"], **shape_of(row))
        lines = (
            " ".join(f"{action}{'*' * action.overlapped}" for action in built.actions(rank))
            for rank in built.ranks
        )
        if hashlib.sha1("\n".join(lines).encode()).hexdigest()[:12] != row["sha1"]:
            faults.append(row)
    assert not faults
    assert len(rows) > 300


# --- against a simulation with one number at a time ---------------------------------------------------------------


def simulated(built, costs, send):
    """Makespan and busy time by rank: each rank takes its next action as soon as its input is there."""
    queues = {rank: list(built.actions(rank)) for rank in built.ranks}
    last, done, free = built.model_chunks - 1, {}, dict.fromkeys(built.ranks, 0.0)
    busy = dict.fromkeys(built.ranks, 0.0)
    while any(queues.values()):
        moved = False
        for rank, queue in queues.items():
            while queue:
                kind, chunk, i, _ = queue[0]
                source = None
                if kind == "F" and chunk > 0:
                    source = ("forward", chunk - 1, i)
                elif kind in "BI" and chunk < last:
                    source = ("backward", chunk + 1, i)
                if source is not None and source not in done:
                    break
                there = 0.0 if source is None else done[source]
                if source is not None and built.rank_of(source[1]) != rank:
                    there += send
                free[rank] = max(free[rank], there) + costs[kind][chunk]
                busy[rank] += costs[kind][chunk]
                if kind != "W":
                    done["forward" if kind == "F" else "backward", chunk, i] = free[rank]
                queue.pop(0)
                moved = True
        assert moved, "deadlock"
    return max(free.values()), [busy[rank] for rank in built.ranks]


@given(built=shapes(), data=st.data(), send=st.floats(0, 2))
def test_unequal_chunks_take_what_a_scalar_simulation_takes(built, data, send):
    per_chunk = st.lists(SECONDS, min_size=built.model_chunks, max_size=built.model_chunks)
    f, i, w = data.draw(per_chunk), data.draw(per_chunk), data.draw(per_chunk)
    b = [a + c for a, c in zip(i, w, strict=True)]
    costs = {"F": f, "B": b, "I": [x - y for x, y in zip(b, w, strict=True)], "W": w}
    time = built.timing(forward=f, backward=b, weight=w, send=send)
    makespan, busy = simulated(built, costs, send)
    assert time.makespan == pytest.approx(makespan, rel=1e-12)
    assert time.busy == pytest.approx(busy, rel=1e-12)
    assert time.idle == pytest.approx([makespan - rank for rank in busy], rel=1e-9, abs=1e-9)
    assert time.bubble_fraction == pytest.approx(1 - sum(busy) / (built.stages * makespan), abs=1e-12)


@given(
    built=shapes(), columns=st.lists(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS), min_size=1, max_size=5)
)
def test_an_array_of_configurations_is_its_rows(built, columns):
    f, i, w, send = np.array(columns).T
    together = built.timing(forward=f, backward=i + w, weight=w, send=send)
    for at in range(len(columns)):
        alone = built.timing(forward=f[at], backward=(i + w)[at], weight=w[at], send=send[at])
        assert alone.makespan == pytest.approx(together.makespan[at], rel=1e-12)
        assert alone.bubble_fraction == pytest.approx(together.bubble_fraction[at], abs=1e-12)
        assert alone.idle == pytest.approx([rank[at] for rank in together.idle], rel=1e-9, abs=1e-9)


def test_configurations_keep_their_shape_and_mix_with_lists(monkeypatch):
    built = schedule("1f1b", stages=2, micro_batches=4)
    forward = np.arange(1.0, 7.0).reshape(2, 3)
    time = built.timing(forward=[forward, 2.0], backward=3.0)
    assert time.makespan.shape == time.idle[1].shape == (2, 3)
    assert time.makespan[1, 0] == built.timing(forward=[4.0, 2.0], backward=3.0).makespan
    monkeypatch.setattr("perfmodel.schedules.timing.AT_ONCE", 20)  # block by block
    np.testing.assert_array_equal(built.timing(forward=[forward, 2.0], backward=3.0).makespan, time.makespan)


# --- closed forms -------------------------------------------------------------------------------------------------


@given(built=shapes(names=PLAIN, full=True), forward=SECONDS, backward=SECONDS)
def test_filling_and_draining_is_the_closed_form(built, forward, backward):
    time = built.timing(forward=forward, backward=backward)
    idle = bubble_time(stages=built.stages, forward=forward, backward=backward)
    assert time.idle == pytest.approx([idle] * built.stages, rel=1e-9, abs=1e-9)
    ratio = bubble_fraction(stages=built.stages, micro_batches=built.micro_batches, chunks=built.chunks)
    assert time.bubble_fraction == pytest.approx(ratio / (1 + ratio), abs=1e-12)
    one = built.chunks * (forward + backward)
    whole = pipeline_time(
        slowest=one, through=built.stages * one, micro_batches=built.micro_batches, chunks=built.chunks
    )
    assert time.makespan == pytest.approx(whole, rel=1e-12)


@given(
    built=shapes(names=("interleaved-zero-bubble",), full=True),
    forward=SECONDS,
    split=SECONDS,
    weight=SECONDS,
)
def test_zero_bubble_is_the_closed_form(built, forward, split, weight):
    backward = split + weight
    time = built.timing(forward=forward, backward=backward, weight=weight)
    idle = zero_bubble_time(stages=built.stages, forward=forward, backward=backward, weight=weight)
    assert max(time.idle) == pytest.approx(idle, rel=1e-9, abs=1e-9)


@given(built=shapes(names=("dualpipev",)), one=SECONDS, hidden=st.floats(0, 1))
def test_dual_pipe_is_the_published_form_where_the_thirds_are_equal(built, one, hidden):
    time = built.timing(forward=one, backward=2 * one, weight=one, overlapped=3 * one)
    idle = dual_pipe_bubble_time(stages=built.model_chunks, overlapped=3 * one, backward=2 * one, weight=one)
    assert max(time.idle) == pytest.approx(idle, rel=1e-9, abs=1e-9)
    faster = built.timing(forward=one, backward=2 * one, weight=one, overlapped=(3 - hidden) * one)
    assert faster.makespan <= time.makespan * (1 + 1e-12)


def test_few_micro_batches_follow_the_recurrence_alone():
    time = schedule("interleaved-1f1b", stages=4, micro_batches=2, chunks=2).timing()
    assert time.makespan == 27.0
    assert time.makespan > 2 * 2 * 3.0 + bubble_time(stages=4, forward=1.0, backward=2.0)


# --- live passes --------------------------------------------------------------------------------------------------


@given(stages=st.integers(1, 8), rounds=st.integers(1, 6), chunks=st.integers(1, 4))
def test_live_passes_are_those_of_the_formula(stages, rounds, chunks):
    name = "1f1b" if chunks == 1 else "interleaved-1f1b"
    built = schedule(name, stages=stages, micro_batches=stages * rounds, chunks=chunks)
    assert built.live_micro_batches == pytest.approx([
        live_micro_batches(stage=rank, stages=stages, micro_batches=stages * rounds, chunks=chunks)
        for rank in built.ranks
    ])  # fmt: skip


@given(built=shapes(), data=st.data())
def test_what_is_kept_is_a_running_sum(built, data):
    saved = data.draw(
        st.lists(st.integers(0, 10**6), min_size=built.model_chunks, max_size=built.model_chunks)
    )
    for rank, peak in zip(built.ranks, built.peak_saved(saved), strict=True):
        held, most = 0, 0
        for kind, chunk, *_ in built.actions(rank):
            held += {"F": 1, "B": -1, "I": 0, "W": -1}[kind] * saved[chunk]
            most = max(most, held)
        assert peak == most
        assert held == 0
    assert built.peak_saved([1] * built.model_chunks) == built.live_chunks == built.timing().live_chunks


def test_what_is_kept_may_be_arrays_or_symbols():
    built = schedule("1f1b", stages=2, micro_batches=4)
    np.testing.assert_array_equal(built.peak_saved([np.array([1.0, 2.0])] * 2)[0], [2.0, 4.0])
    assert built.peak_saved(sympy.symbols("a b", positive=True))[1].has(sympy.Symbol("b", positive=True))


@given(built=shapes())
def test_all_is_alive_at_most_and_gpipe_reaches_it(built):
    most = built.micro_batches * built.chunks
    assert all(1 <= live <= most for live in built.live_chunks)
    if built.name in ("gpipe", "looped-bfs"):
        assert set(built.live_chunks) == {most}


# --- laws ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPLIT)
def test_closed_forms_of_what_is_alive_are_those_of_the_order(name):
    """Counted along the listed order, for every small shape and some large ones."""
    shapes = [(p, m, v) for p in range(1, 7) for m in range(1, 16) for v in range(1, 4)]
    for p, m, v in [*shapes, (16, 24, 2), (12, 48, 3), (32, 64, 2), (9, 100, 5)]:
        try:
            built = schedule(name, stages=p, micro_batches=m, chunks=chunks_of(name, v))
        except InputError:
            continue
        assert built.live_chunks == live_chunks(built)


@given(built=shapes(), rank=st.integers(0, 5))
def test_every_pass_runs_once_and_where_its_chunk_is(built, rank):
    assume(rank < built.stages)
    seen = Counter(built.actions(rank))
    assert set(seen.values()) == {1}
    kinds = Counter(action.kind for action in seen)
    passes = built.micro_batches * built.chunks
    assert kinds["F"] == kinds["B"] + kinds["I"] == passes
    assert kinds["I"] == kinds["W"]
    assert {action.chunk for action in seen} == set(built.chunks_of(rank))


@given(
    built=shapes(), forward=SECONDS, backward=SECONDS, send=SECONDS, factor=st.sampled_from([0.5, 2.0, 8.0])
)
def test_twice_the_costs_take_twice_as_long(built, forward, backward, send, factor):
    base = built.timing(forward=forward, backward=backward, send=send)
    more = built.timing(forward=factor * forward, backward=factor * backward, send=factor * send)
    assert more.makespan == factor * base.makespan
    assert more.bubble_fraction == pytest.approx(base.bubble_fraction, abs=1e-12)


@given(built=shapes(), forward=SECONDS, backward=SECONDS, send=SECONDS, longer=SECONDS)
def test_no_cost_that_grows_makes_it_faster(built, forward, backward, send, longer):
    base = built.timing(forward=forward, backward=backward, send=send).makespan
    most = max(base, (forward + backward) * built.chunks * built.micro_batches)
    assert base >= most * (1 - 1e-12)
    slow = {"forward": forward + longer, "backward": backward, "send": send}
    assert built.timing(**slow).makespan >= base * (1 - 1e-12)
    assert built.timing(forward=forward, backward=backward, send=send + longer).makespan >= base * (1 - 1e-12)


@given(
    name=st.sampled_from(["1f1b", "gpipe"]),
    stages=st.integers(1, 6),
    extra=st.integers(0, 10),
    data=st.data(),
)
def test_more_micro_batches_never_raise_the_bubble(name, stages, extra, data):
    seconds = data.draw(st.lists(SECONDS, min_size=stages, max_size=stages))
    few, more = (
        schedule(name, stages=stages, micro_batches=stages + extra + step).timing(
            forward=seconds, backward=[2 * each for each in seconds]
        )
        for step in (0, 1)
    )
    assert more.bubble_fraction <= few.bubble_fraction + 1e-12


@given(built=shapes(), forward=SECONDS, backward=SECONDS)
def test_one_rank_is_never_idle(built, forward, backward):
    alone = schedule(built.name, stages=1, micro_batches=built.micro_batches + 1, chunks=built.chunks)
    time = alone.timing(forward=forward, backward=backward, send=1.0)
    assert time.bubble_fraction == pytest.approx(0.0, abs=1e-12)


@given(stages=st.integers(2, 8), extra=st.integers(0, 16))
def test_zero_bubble_has_less_bubble_than_1f1b(stages, extra):
    """The claim of the papers, for F = I = W."""
    micro_batches = 2 * stages + extra
    whole = schedule("1f1b", stages=stages, micro_batches=micro_batches).timing()
    zb1p = schedule("interleaved-zero-bubble", stages=stages, micro_batches=2 * stages).timing()
    assert (
        zb1p.bubble_fraction
        < schedule("1f1b", stages=stages, micro_batches=2 * stages).timing().bubble_fraction
    )
    for name in ("zbv", "dualpipev"):
        folded = schedule(name, stages=stages, micro_batches=micro_batches).timing()
        assert folded.bubble_fraction < whole.bubble_fraction
    assert schedule("zbv", stages=stages, micro_batches=micro_batches).timing().window_bubble_fraction == (
        pytest.approx(0.0, abs=1e-12)
    )


@given(built=shapes(names=PLAIN), forward=SECONDS, backward=SECONDS, share=st.floats(0, 1))
def test_the_split_of_backward_matters_only_where_it_is_split(built, forward, backward, share):
    base = built.timing(forward=forward, backward=backward)
    assert built.timing(forward=forward, backward=backward, weight=share * backward).makespan == base.makespan


# --- names and rules ----------------------------------------------------------------------------------------------


def test_names_of_the_field_and_of_torch():
    torch = {
        "GPipe": "gpipe", "1F1B": "1f1b", "Interleaved1F1B": "interleaved-1f1b", "LoopedBFS": "looped-bfs",
        "InterleavedZeroBubble": "interleaved-zero-bubble", "ZBVZeroBubble": "zbv", "DualPipeV": "dualpipev",
    }  # fmt: skip
    for theirs, ours in torch.items():
        found = {
            schedule_class(name) for name in (theirs, f"Schedule{theirs}", theirs.lower(), ours, ours.upper())
        }
        assert {cls.name for cls in found} == {ours}
    assert sorted(torch.values()) == list(NAMES)
    assert all(schedule_class(name).reference for name in NAMES)


def test_a_wrong_name_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean interleaved-1f1b"):
        schedule("interleaved-1f1", stages=2, micro_batches=2)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("1f1b", (4, 3, None), "micro_batches = 3 cannot fill stages = 4; valid: 4 or more; nearest: 4"),
        ("1f1b", (4, 8, 2), "chunks = 2, and each rank holds exactly 1; valid: 1"),
        ("zbv", (4, 8, 1), "chunks = 1, and each rank holds exactly 2; valid: 2"),
        ("dualpipev", (4, 7, 2), "cannot fill stages · chunks = 8; valid: 8 or more; nearest: 8"),
        ("interleaved-1f1b", (4, 13, 2), "13 // stages = 3 equal rounds; .* 12 or 14|12 or 15; nearest: 12"),
        ("interleaved-zero-bubble", (4, 11, 2), "multiples of stages = 4, and 10 or 12; nearest: 10"),
    ],
)
def test_a_broken_rule_says_its_numbers_and_a_choice_that_works(name, shape, words):
    stages, micro_batches, chunks = shape
    with pytest.raises(InputError, match=words):
        schedule(name, stages=stages, micro_batches=micro_batches, chunks=chunks)


@pytest.mark.parametrize("shape", [(0, 1), (1, 0), (-1, 2), ("2", 4), (2.5, 4), (True, 2)])
def test_a_shape_is_made_of_counts(shape):
    with pytest.raises(InputError):
        schedule("gpipe", stages=shape[0], micro_batches=shape[1])


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({"forward": -1.0}, "forward must be finite and 0 s or more, and is -1 s"),
        ({"send": float("nan")}, "send must be finite"),
        ({"backward": 1.0, "weight": 2.0}, "cannot exceed it: 1 s too long"),
        ({"forward": [1.0, 2.0, 3.0]}, "forward has 3 entries"),
        ({"forward": np.ones(2), "backward": np.ones(3)}, "do not go together"),
        ({"forward": sympy.Symbol("t")}, "closed forms"),
        ({"forward": "fast"}, "no time in seconds"),
    ],
)
def test_costs_that_cannot_be_are_refused(costs, words):
    with pytest.raises(InputError, match=words):
        schedule("gpipe", stages=2, micro_batches=2).timing(**costs)


def test_a_rank_that_is_not_there():
    built = schedule("gpipe", stages=2, micro_batches=2)
    with pytest.raises(InputError, match="valid: 0 to 1; nearest: 1"):
        built.actions(5)
    with pytest.raises(InputError, match="3 entries"):
        built.peak_saved([1, 2, 3])


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(Schedule, "known", dict(Schedule.known))


def test_a_schedule_of_your_own_is_one_class(table):
    class OneByOne(Schedule):
        name = "one-by-one"
        chunks_needed = 1

        def order(self, rank):
            for i in range(self.micro_batches):
                yield from (Action("F", rank, i), Action("B", rank, i))

    built = schedule("one-by-one", stages=3, micro_batches=4)
    assert built.timing().makespan == 4 * 3 * 3.0
    assert built.live_chunks == (1, 1, 1)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([("F", 0), ("F", 0), ("B", 0)], "not sound"),
        ([("B", 0), ("F", 0)], "not sound"),
        ([("F", 0), ("I", 0)], "not sound"),
        ([("F", 0), ("W", 0), ("I", 0)], "not sound"),
    ],
)
def test_an_unsound_order_is_refused(table, order, words):
    class Unsound(Schedule):
        name = "unsound"

        def order(self, rank):
            return [Action(kind, rank, i) for kind, i in order]

    with pytest.raises(InputError, match=words):
        Unsound(stages=1, micro_batches=1).timing()


def test_ranks_that_wait_for_each_other_are_told(table):
    class Stuck(Schedule):
        name = "stuck"

        def order(self, rank):
            order = ["F0 B0 F1 B1", "F0 F1 B0 B1"][rank].split()
            return [Action(kind, rank, int(i)) for kind, i in order]

    with pytest.raises(InputError, match="for ever"):
        Stuck(stages=2, micro_batches=2).timing()


def test_an_order_is_listed_once():
    first, second = (schedule("1f1b", stages=3, micro_batches=7) for _ in range(2))
    assert listing(first) is listing(second)
    assert listing(first) is not listing(schedule("gpipe", stages=3, micro_batches=7))


# --- the critical path --------------------------------------------------------------------------------------------


@given(shapes(), SECONDS, SECONDS, st.floats(0, 1), st.floats(0, 2))
def test_the_time_is_the_sum_along_the_critical_path(built, forward, backward, part, send):
    weight, chunks = part * backward, built.model_chunks
    path = built.critical_path(forward=forward, backward=backward, weight=weight, send=send)
    along = path.time([forward] * chunks, [backward] * chunks, [weight] * chunks, send)
    whole = built.timing(forward=forward, backward=backward, weight=weight, send=send).makespan
    assert along == pytest.approx(whole, rel=1e-12)
    assert all(count >= 0 for count in (*path.forward, *path.backward, path.sends))


def test_the_critical_path_of_columns_is_that_of_each():
    built = schedule("zbv", stages=3, micro_batches=6)
    chunks, forward = built.model_chunks, np.array([1.0, 5.0])
    path = built.critical_path(forward=forward, backward=2.0, weight=1.0, send=0.1)
    along = path.time([forward] * chunks, [2.0] * chunks, [1.0] * chunks, 0.1)
    np.testing.assert_allclose(
        along, built.timing(forward=forward, backward=2.0, weight=1.0, send=0.1).makespan
    )
