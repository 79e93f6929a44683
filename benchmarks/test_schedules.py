"""How fast a schedule is built and timed, beside the same recurrence with one number at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfmodel.schedules import Schedule, Timing, schedule
from perfmodel.schedules.graph import graph
from perfmodel.schedules.listing import listing

pytest.importorskip("pytest_benchmark")

LARGE = {"stages": 64, "micro_batches": 512}


def afresh(built: Schedule) -> Timing:
    """From the order of actions to the time, with nothing kept from before."""
    listing.cache_clear()
    graph.cache_clear()
    return built.timing()


def scalar(built: Schedule) -> float:
    """1F1B with a dictionary and one number at a time."""
    done: dict[tuple[str, int, int], float] = {}
    queues = [list(built.actions(rank)) for rank in built.ranks]
    at, free, last = [0] * built.stages, [0.0] * built.stages, built.stages - 1
    while any(at[rank] < len(queue) for rank, queue in enumerate(queues)):
        for rank, queue in enumerate(queues):
            while at[rank] < len(queue):
                kind, chunk, i, _ = queue[at[rank]]
                first = chunk == (0 if kind == "F" else last)
                there = 0.0 if first else done.get((kind, chunk + (-1 if kind == "F" else 1), i))
                if there is None:
                    break
                free[rank] = max(free[rank], there) + (1.0 if kind == "F" else 2.0)
                done[kind, chunk, i] = free[rank]
                at[rank] += 1
    return max(free)


@pytest.mark.benchmark(group="1F1B, 64 stages, 512 micro-batches")
def test_one_shape_afresh(benchmark: Any) -> None:
    """Wanted: under 0.2 s."""
    assert benchmark(afresh, schedule("1f1b", **LARGE)).makespan == (512 + 63) * 3.0


@pytest.mark.benchmark(group="1F1B, 64 stages, 512 micro-batches")
def test_one_shape_again(benchmark: Any) -> None:
    assert benchmark(schedule("1f1b", **LARGE).timing).makespan == (512 + 63) * 3.0


@pytest.mark.benchmark(group="1F1B, 64 stages, 512 micro-batches")
def test_yardstick_one_number_at_a_time(benchmark: Any) -> None:
    assert benchmark(scalar, schedule("1f1b", **LARGE)) == (512 + 63) * 3.0


@pytest.mark.benchmark(group="10,000 configurations of one shape")
@pytest.mark.parametrize("name", ["1f1b", "interleaved-zero-bubble", "zbv"])
def test_many_configurations(benchmark: Any, name: str) -> None:
    built, forward = schedule(name, stages=8, micro_batches=32), np.linspace(1.0, 2.0, 10_000)
    assert benchmark(lambda: built.timing(forward=forward)).makespan.shape == (10_000,)
