"""Pipeline schedules, held against a schedule played out step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.formulas.pipeline import bubble_fraction, live_micro_batches, pipeline_time

COUNT = st.integers(1, 16)


def order(stage, stages, micro_batches):
    """What one stage of 1F1B does: warm up, then one forward and one backward in turn, then drain."""
    warm = min(stages - stage - 1, micro_batches)
    work = [("F", i) for i in range(warm)]
    for i in range(micro_batches - warm):
        work += [("F", warm + i), ("B", i)]
    return work + [("B", i) for i in range(micro_batches - warm, micro_batches)]


def played(stages, micro_batches, forward, backward):
    """Time of 1F1B and the most micro-batches alive on each stage, by playing it out."""
    queues = [order(stage, stages, micro_batches) for stage in range(stages)]
    free, done, live = [0.0] * stages, {}, [0] * stages
    most = [0] * stages
    while any(queues):
        for stage, queue in enumerate(queues):
            while queue:
                what, i = queue[0]
                before = (what, i, stage - 1) if what == "F" else (what, i, stage + 1)
                first = stage == 0 if what == "F" else stage == stages - 1
                if not first and before not in done:
                    break
                start = max(free[stage], 0.0 if first else done[before])
                free[stage] = start + (forward[stage] if what == "F" else backward[stage])
                done[what, i, stage] = free[stage]
                live[stage] += 1 if what == "F" else -1
                most[stage] = max(most[stage], live[stage])
                queue.pop(0)
    return max(free), most


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_bubble_by_hand():
    # 4 stages and 8 micro-batches: 3 slots idle for 8 busy; two chunks a stage halve each slot
    assert bubble_fraction(stages=4, micro_batches=8, chunks=1) == 3 / 8
    assert bubble_fraction(stages=4, micro_batches=8, chunks=2) == 3 / 16


def test_time_by_hand():
    # stages of 1, 2, 3 s; 5 micro-batches: the slowest is busy 15 s, filling and draining the others takes 3 s
    assert pipeline_time(slowest=3.0, through=6.0, micro_batches=5, chunks=1) == 18.0
    assert pipeline_time(slowest=3.0, through=6.0, micro_batches=5, chunks=3) == 16.0


def test_live_micro_batches_by_hand():
    # 1F1B on 4 stages: the first has forwarded 4 micro-batches before the first comes back
    plain = [live_micro_batches(stage=i, stages=4, micro_batches=16, chunks=1) for i in range(4)]
    assert plain == [4.0, 3.0, 2.0, 1.0]
    # two chunks: 2 · 3 to warm up, 1 · 4 for the second chunk, 1 in hand: 11 chunks are 5.5 micro-batches
    assert live_micro_batches(stage=0, stages=4, micro_batches=16, chunks=2) == 5.5


@pytest.mark.parametrize(
    ("stages", "micro_batches", "chunks", "alive"),
    [
        (2, 2, 2, [4, 3]),
        (4, 8, 2, [11, 9, 7, 5]),
        (4, 8, 3, [15, 13, 11, 9]),
        (8, 8, 2, [16, 16, 16, 16, 15, 13, 11, 9]),
    ],
)
def test_interleaving_keeps_the_chunks_that_torch_keeps(stages, micro_batches, chunks, alive):
    """Peak live chunks of torch.distributed.pipelining's ScheduleInterleaved1F1B, by event simulation."""
    found = [
        chunks * live_micro_batches(stage=i, stages=stages, micro_batches=micro_batches, chunks=chunks)
        for i in range(stages)
    ]
    assert found == pytest.approx(alive, rel=1e-12)


def test_the_interleaved_first_stage_is_the_published_one():
    """Korthikanti et al. 2022, section 4.2.3: 1 + (p - 1) / (p m) of a whole pipeline's activations."""
    for stages, chunks in ((8, 3), (35, 3), (4, 2)):
        live = live_micro_batches(stage=0, stages=stages, micro_batches=10**6, chunks=chunks)
        assert live / stages == pytest.approx(1 + (stages - 1) / (stages * chunks), rel=1e-12)


# --- limits -------------------------------------------------------------------------------------------------------


@given(micro_batches=COUNT, chunks=COUNT)
def test_one_stage_has_no_bubble(micro_batches, chunks):
    assert bubble_fraction(stages=1, micro_batches=micro_batches, chunks=chunks) == 0.0
    assert (
        pipeline_time(slowest=2.0, through=2.0, micro_batches=micro_batches, chunks=chunks)
        == 2.0 * micro_batches
    )
    assert live_micro_batches(stage=0, stages=1, micro_batches=micro_batches, chunks=1) == 1.0


def test_many_micro_batches_or_chunks_close_the_bubble():
    assert bubble_fraction(stages=8, micro_batches=10**9, chunks=1) < 1e-8
    assert bubble_fraction(stages=8, micro_batches=1, chunks=10**9) < 1e-8


@given(stages=COUNT, micro_batches=COUNT, chunks=COUNT)
def test_no_more_is_alive_than_there_is(stages, micro_batches, chunks):
    alive = [
        live_micro_batches(stage=i, stages=stages, micro_batches=micro_batches, chunks=chunks)
        for i in range(stages)
    ]
    assert all(0 < one <= micro_batches for one in alive)
    assert alive == sorted(alive, reverse=True)


# --- against the schedule itself ----------------------------------------------------------------------------------


@given(stages=COUNT, micro_batches=COUNT, forward=st.floats(0.1, 10), backward=st.floats(0.1, 10))
def test_equal_stages_take_what_the_schedule_takes(stages, micro_batches, forward, backward):
    time, most = played(stages, micro_batches, [forward] * stages, [backward] * stages)
    busy = micro_batches * (forward + backward)
    bubble = bubble_fraction(stages=stages, micro_batches=micro_batches, chunks=1)
    assert time == pytest.approx(busy * (1 + bubble), rel=1e-9)
    one = forward + backward
    assert pipeline_time(
        slowest=one, through=stages * one, micro_batches=micro_batches, chunks=1
    ) == pytest.approx(time, rel=1e-9)
    assert most == [
        live_micro_batches(stage=i, stages=stages, micro_batches=micro_batches, chunks=1)
        for i in range(stages)
    ]


@given(seconds=st.lists(st.floats(0.1, 10), min_size=1, max_size=8), extra=st.integers(0, 12))
def test_unequal_stages_take_no_longer_than_the_formula_says(seconds, extra):
    """A slow stage at the front works ahead while it waits, which the formula does not credit."""
    stages, micro_batches = len(seconds), len(seconds) + extra
    time, _ = played(stages, micro_batches, [s / 3 for s in seconds], [2 * s / 3 for s in seconds])
    formula = pipeline_time(slowest=max(seconds), through=sum(seconds), micro_batches=micro_batches, chunks=1)
    assert micro_batches * max(seconds) * (1 - 1e-9) <= time <= formula * (1 + 1e-9)


@given(fast=st.floats(0.1, 1), slow=st.floats(1, 10), stages=st.integers(1, 8), extra=st.integers(0, 16))
def test_a_slow_last_stage_takes_what_the_schedule_takes(fast, slow, stages, extra):
    """The usual case: the head."""
    seconds, micro_batches = [fast] * (stages - 1) + [slow], stages + extra
    time, _ = played(stages, micro_batches, [s / 3 for s in seconds], [2 * s / 3 for s in seconds])
    formula = pipeline_time(slowest=slow, through=sum(seconds), micro_batches=micro_batches, chunks=1)
    assert time == pytest.approx(formula, rel=1e-9)


# --- scaling ------------------------------------------------------------------------------------------------------


@given(
    slowest=st.floats(0.1, 10), others=st.floats(0, 10), micro_batches=COUNT, chunks=COUNT, factor=st.floats(0.01, 100)
)  # fmt: skip
def test_time_is_homogeneous_in_the_stages(slowest, others, micro_batches, chunks, factor):
    shape = {"micro_batches": micro_batches, "chunks": chunks}
    base = pipeline_time(slowest=slowest, through=slowest + others, **shape)
    longer = pipeline_time(slowest=factor * slowest, through=factor * (slowest + others), **shape)
    assert longer == pytest.approx(factor * base, rel=1e-9)


@given(stages=COUNT, micro_batches=COUNT, chunks=COUNT)
def test_twice_the_micro_batches_or_chunks_halve_the_bubble(stages, micro_batches, chunks):
    base = bubble_fraction(stages=stages, micro_batches=micro_batches, chunks=chunks)
    assert bubble_fraction(stages=stages, micro_batches=2 * micro_batches, chunks=chunks) == base / 2
    assert bubble_fraction(stages=stages, micro_batches=micro_batches, chunks=2 * chunks) == base / 2
