"""How fast a search is: candidates a second, of a space that takes seconds and of the largest one."""

from __future__ import annotations

import resource
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.exploration import Space
from perfmodel.exploration.search import TRAINING

pytest.importorskip("pytest_benchmark")

GPT3 = pm.Training(global_batch=1536, sequence_length=2048)
DEVICES = 1024


def all_of_gpt3(**given: Any) -> Any:
    model, cluster = pm.Model.load("gpt3-175b"), pm.Cluster.load("dgx-h100", devices=DEVICES)
    return pm.search(model, GPT3, cluster, progress=False, **given)


@pytest.mark.benchmark(group="every layout of GPT-3 on 1,024 devices")
def test_exhaustive(benchmark: Any) -> None:
    """Wanted: at least 10 million plans in under 60 s on two cores, and 1 GiB."""
    found = benchmark.pedantic(all_of_gpt3, rounds=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    benchmark.extra_info |= found.counts | {"rows": found.considered, "peak memory [B]": peak}
    assert found.considered > 10_000_000


@pytest.mark.benchmark(group="every layout of GPT-3 on 1,024 devices")
def test_exhaustive_on_two_processes(benchmark: Any) -> None:
    """By the wall clock; a clock of CPU time sees nothing of what the workers do."""
    with ProcessPoolExecutor(2) as pool:
        found = benchmark.pedantic(lambda: all_of_gpt3(executor=pool), rounds=1)
    assert found.considered > 10_000_000


@pytest.mark.benchmark(group="every layout of GPT-3 on 1,024 devices")
def test_yardstick_enumeration_alone(benchmark: Any) -> None:
    """What the rules take, of the same space."""
    space = Space(pm.Model.load("gpt3-175b"), GPT3, pm.Parallel(), (DEVICES,), {}, TRAINING)
    counts = benchmark.pedantic(lambda: [some.considered for some in space.candidates()], rounds=1)
    assert sum(counts) > 10_000_000


@pytest.mark.benchmark(group="layouts of Llama 3.1 8B on 64 devices, 1F1B")
def test_a_small_search(benchmark: Any) -> None:
    given = (
        pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
        pm.Cluster.load("dgx-h100", devices=64),
    )  # fmt: skip
    found = benchmark(lambda: pm.search(*given, schedule="1f1b", progress=False))
    assert len(found) == 10
