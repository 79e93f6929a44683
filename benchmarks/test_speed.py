"""How fast: each figure beside a yardstick timed in the same run, so that a ratio can be quoted on any machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.calibration.constants import CONSTANTS, centre, to_fit
from perfmodel.calibration.runs import counted
from perfmodel.costs import training_costs
from perfmodel.estimation.machine import machine
from perfmodel.estimation.training import step, worst_memory
from perfmodel.validation.scores import read_rows, validate_rows

pytest.importorskip("pytest_benchmark")

MEASURED = Path(__file__).resolve().parents[1] / "tests/golden/measurements/training.jsonl"


JOBS: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    "llama-3.1-70b": (
        "llama-3.1-70b",
        {"global_batch": 512, "sequence_length": 8192},
        {"tp": 8, "pp": 4, "vpp": 5, "sequence_parallel": True},
        512,
    ),
    "deepseek-v3": (
        "deepseek-v3",
        {"global_batch": 4096, "sequence_length": 4096},
        {"pp": 16, "ep": 64},
        2048,
    ),
    "gpt2, one device": ("gpt2", {"global_batch": 8, "sequence_length": 1024}, {"micro_batch": 8}, 1),
    "bert": ("bert-large", {"global_batch": 256, "sequence_length": 512}, {"micro_batch": 32}, 8),
    "resnet-50": ("resnet-50", {"global_batch": 256}, {"micro_batch": 256}, 1),
}
"""Model, work, layout and devices of an estimate: that of the README first, one with routed experts, one with nothing
to send, an encoder, and one of many different layers."""

ROWS = 100_000
"""Configurations in one estimate on columns [-]."""


def job(name: str) -> tuple[Any, ...]:
    model, work, layout, devices = JOBS[name]
    cluster = pm.Cluster.load("dgx-h100", devices=devices)
    return pm.Model.load(model), pm.Training(**work), pm.Parallel(**layout), cluster


@pytest.mark.benchmark(group="one estimate")
@pytest.mark.parametrize("name", JOBS)
def test_estimate(benchmark: Any, name: str) -> None:
    """Wanted: under a millisecond, but for nets of many different layers."""
    assert benchmark(pm.estimate, *job(name)).step_time > 0


@pytest.mark.benchmark(group="one estimate")
@pytest.mark.parametrize(
    "columns", [["step_time", "memory.total"], None], ids=["time and memory", "every column"]
)
def test_estimate_as_function(benchmark: Any, columns: Any) -> None:
    """The first of them as a function of its numbers. Wanted: under 300 us."""
    est = pm.estimate(*job("llama-3.1-70b"))
    function = pm.as_function(est, "tp", "pp", "vpp", "micro_batch", "global_batch", columns=columns)
    assert (
        benchmark(function, tp=8, pp=4, vpp=5, micro_batch=1, global_batch=512)["step_time"] == est.step_time
    )


@pytest.mark.benchmark(group="one estimate")
def test_function_is_made(benchmark: Any) -> None:
    """What it takes to make that function."""
    est = pm.estimate(*job("llama-3.1-70b"))
    benchmark(lambda: pm.as_function(est, "tp", "pp", "vpp", "micro_batch", "global_batch")(
        tp=8, pp=4, vpp=5, micro_batch=1, global_batch=512))  # fmt: skip


@pytest.mark.benchmark(group="one estimate")
def test_yardstick_thousand_powers(benchmark: Any) -> None:
    """A thousand Python float powers: what one estimate costs is quoted against this."""
    benchmark(lambda: [(0.1 + 0.001 * i) ** 2.4 for i in range(1000)])


def columns() -> tuple[Any, ...]:
    """Degrees and batches that differ from row to row, unchecked, as a sweep asks for them."""
    draw = np.random.default_rng(0).choice
    tp, pp, micro_batch, rounds = (draw([1.0, 2.0, 4.0, 8.0][:most], ROWS) for most in (4, 4, 2, 3))
    dp = 512 / (tp * pp)
    layout = pm.Parallel.model_construct(tp=tp, pp=pp, dp=dp, micro_batch=micro_batch, sequence_parallel=True)
    work = pm.Training.model_construct(global_batch=dp * micro_batch * pp * rounds, sequence_length=8192)
    return pm.Model.load("llama-3.1-70b"), work, layout, pm.Cluster.load("dgx-h100", devices=512)


def on_columns(model: Any, work: Any, layout: Any, cluster: Any) -> Any:
    """Time and memory of every row, in one pass."""
    costs = training_costs(model, work, layout)
    rates = machine(cluster, pm.Efficiency.of("Hopper", "default"), (costs.dtype, costs.core_dtype))
    return step(costs, rates).seconds, worst_memory(costs, rates).total


@pytest.mark.benchmark(group="100,000 configurations in columns")
def test_estimate_on_columns(benchmark: Any) -> None:
    seconds, _ = benchmark.pedantic(on_columns, args=columns(), rounds=5, warmup_rounds=1)
    assert seconds.shape == (ROWS,)


@pytest.mark.benchmark(group="100,000 configurations in columns")
def test_yardstick_powers_of_columns(benchmark: Any) -> None:
    """A hundred NumPy powers of so many numbers: what columns cost is quoted against this."""
    numbers = np.linspace(0.1, 1.0, ROWS)
    benchmark.pedantic(lambda: [numbers**2.4 for _ in range(100)], rounds=5)


@pytest.fixture(scope="module")
def measured() -> list[dict[str, Any]]:
    return read_rows(MEASURED)[::7][:100]


@pytest.mark.benchmark(group="100 measured runs")
def test_validate(benchmark: Any, measured: list[dict[str, Any]]) -> None:
    """From a row as it was read to its scores."""
    assert benchmark.pedantic(validate_rows, args=(measured,), rounds=5, warmup_rounds=1).scores


@pytest.mark.benchmark(group="100 measured runs")
def test_calibration_step(benchmark: Any, measured: list[dict[str, Any]]) -> None:
    """The time of each run, and its derivative by every constant of its stack."""
    runs, size = counted(measured), len(CONSTANTS)
    nearby = to_fit(centre() + 0.02 * np.eye(size + 1, size, -1))
    found = benchmark.pedantic(lambda: [run.predicted(nearby) for run in runs], rounds=5, warmup_rounds=1)
    assert all(times.shape == (size + 1,) for times in found)


@pytest.mark.benchmark(group="100 measured runs")
def test_yardstick_one_prediction_each(benchmark: Any, measured: list[dict[str, Any]]) -> None:
    """Their time alone, the work counted before."""
    runs, usual = counted(measured), to_fit(centre())
    benchmark.pedantic(lambda: [run.predicted(usual) for run in runs], rounds=5, warmup_rounds=1)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: Any) -> dict[str, str]:
    """An environment in which modules are compiled once, as where they are installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled"))}


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import perfmodel", id="perfmodel"),
        pytest.param(
            "import numpy, pydantic, yaml; pydantic.BaseModel", id="yardstick: numpy, pydantic, yaml"
        ),
    ],
)
def test_import(benchmark: Any, installed: dict[str, str], code: str) -> None:
    """Wanted: under 0.5 s."""
    command = [sys.executable, "-c", code]
    benchmark.pedantic(subprocess.run, (command,), {"env": installed}, rounds=5, warmup_rounds=1)
