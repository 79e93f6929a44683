"""How fast many configurations are answered, beside a yardstick timed in the same run."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import perfmodel as pm

pytest.importorskip("pytest_benchmark")

WANTED = ["step_time", "memory.total", "limiter"]
"""Columns that a plan is chosen by: time, memory, and what limits it."""
MANY, OPEN = 1_000_000, 10_000_000
"""Plans drawn at random, and those of a grid [-]."""


def llama(**asked: Any) -> pm.Sweep:
    """A sweep of Llama 3.1 70B on 512 H100."""
    layout = pm.Parallel(sequence_parallel=True)
    work = pm.Training(global_batch=512, sequence_length=8192)
    cluster = pm.Cluster.load("dgx-h100", devices=512)
    return pm.sweep(pm.Model.load("llama-3.1-70b"), work, cluster, layout, **asked, progress=False)


def gpt3() -> pm.Sweep:
    """GPT-3 175B on 64 to 4096 A100: 1,620 plans that break no rule, among 4,032 combinations."""
    return pm.sweep(
        pm.Model.load("gpt3-175b"),
        pm.Training(global_batch=1536, sequence_length=2048),
        pm.Cluster.load("dgx-a100", devices=1024),
        devices=[64, 128, 256, 512, 1024, 2048, 4096],
        tp=[1, 2, 4, 8],
        pp=[pp for pp in range(1, 97) if 96 % pp == 0],
        micro_batch=[1, 2, 4, 8],
        recompute=["none", "selective", "full"],
        progress=False,
    )


def drawn(rows: int) -> dict[str, Any]:
    """Plans at random that break no rule; some do not fit into memory."""
    draw = np.random.default_rng(0).choice
    tp, pp, micro_batch, rounds = (draw([1, 2, 4, 8][:most], rows) for most in (4, 4, 2, 3))
    return {"tp": tp, "pp": pp, "micro_batch": micro_batch, "global_batch": 512 // tp * micro_batch * rounds}


def grid(rows: int) -> dict[str, Any]:
    """Degrees, batch and a bandwidth and a peak of the device, each an axis of its own."""
    axes = {
        "tp": [1, 2, 4, 8],
        "pp": [1, 2, 4, 8],
        "micro_batch": [1, 2, 4, 8],
        "global_batch": [2048, 4096, 6144],
    }
    rates = {"memory_bandwidth": np.linspace(2e12, 8e12, 100)}
    others = 100 * int(np.prod([len(axis) for axis in axes.values()]))
    return {**axes, **rates, "peak": np.linspace(5e14, 5e15, -(-rows // others))}


@pytest.mark.benchmark(group="1,620 plans of GPT-3 175B")
def test_gpt3_grid(benchmark: Any) -> None:
    """Wanted: under 50 ms."""
    found = benchmark(gpt3)
    assert np.isfinite(found["step_time"]).sum() == 1620


@pytest.mark.benchmark(group="1,620 plans of GPT-3 175B")
def test_yardstick_single_estimates(benchmark: Any) -> None:
    """Those that fit, one by one."""
    rows = [gpt3().feasible[place] for place in range(0, 441, 10)]
    benchmark.extra_info["times"] = 1620 / len(rows)
    benchmark.pedantic(lambda: [row.estimate() for row in rows], rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="1,000,000 random plans")
@pytest.mark.parametrize("columns", [WANTED, None], ids=["memory, time, limiter", "every column"])
def test_random_plans(benchmark: Any, columns: Any) -> None:
    """Wanted: at least 300,000 a CPU second."""
    benchmark.extra_info["rows"] = MANY
    rows = drawn(MANY)
    found = benchmark.pedantic(lambda: llama(rows=rows, columns=columns), rounds=3)
    assert np.isfinite(found["step_time"]).all()


@pytest.mark.benchmark(group="1,000,000 random plans")
def test_yardstick_hundred_powers(benchmark: Any) -> None:
    """A hundred NumPy powers of so many numbers."""
    numbers = np.linspace(0.1, 1.0, MANY)
    benchmark.pedantic(lambda: [numbers**2.4 for _ in range(100)], rounds=3)


@pytest.mark.benchmark(group="10,000,000 plans of an open grid")
@pytest.mark.parametrize("columns", [WANTED, None], ids=["memory, time, limiter", "every column"])
def test_open_grid(benchmark: Any, columns: Any) -> None:
    """Wanted: at least 1,000,000 a CPU second with every metric. Every column: of a tenth of the plans."""
    rows = OPEN if columns else OPEN // 10
    axes = grid(rows)
    benchmark.extra_info["rows"] = int(np.prod([len(axis) for axis in axes.values()]))
    found = benchmark.pedantic(lambda: llama(**axes, columns=columns), rounds=1)
    assert np.isfinite(found["step_time"]).any()


@pytest.mark.benchmark(group="10,000,000 plans of an open grid")
def test_yardstick_ten_powers(benchmark: Any) -> None:
    """Ten NumPy powers of so many numbers."""
    numbers = np.linspace(0.1, 1.0, OPEN)
    benchmark.pedantic(lambda: [numbers**2.4 for _ in range(10)], rounds=1)


PEAK = r"""
import re, sys
sys.path.insert(0, "benchmarks")
import test_sweeps
if int(sys.argv[1]):
    test_sweeps.llama(rows=test_sweeps.drawn(test_sweeps.MANY), columns=test_sweeps.WANTED)
print(int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1]) / 1024)
"""
"""A process of its own that tells its peak; what `resource` tells would be that of its parent, too."""


@pytest.mark.benchmark(group="memory of 1,000,000 random plans")
@pytest.mark.parametrize("done", [1, 0], ids=["memory, time, limiter", "yardstick: nothing but the import"])
def test_peak_memory(benchmark: Any, done: int) -> None:
    """In a process of its own."""
    command = [sys.executable, "-c", PEAK, str(done)]
    told = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "text": True}, rounds=1)
    benchmark.extra_info["MiB"] = float(told.stdout)
