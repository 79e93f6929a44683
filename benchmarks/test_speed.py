"""How fast: each figure beside a yardstick timed in the same run, so that a ratio can be quoted on any machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import perfmodel as pm

pytest.importorskip("pytest_benchmark")


@pytest.fixture(scope="module")
def job() -> tuple[Any, ...]:
    return (
        pm.Model.load("llama-3.1-70b"),
        pm.Training(global_batch=512, sequence_length=8192),
        pm.Parallel(tp=8, pp=4, vpp=5, sequence_parallel=True),
        pm.Cluster.load("dgx-h100", devices=512),
    )


@pytest.mark.benchmark(group="one estimate")
def test_estimate(benchmark: Any, job: tuple[Any, ...]) -> None:
    assert benchmark(pm.estimate, *job).step_time > 0


@pytest.mark.benchmark(group="one estimate")
def test_yardstick_thousand_powers(benchmark: Any) -> None:
    """A thousand Python float powers: what one estimate costs is quoted against this."""
    benchmark(lambda: [(0.1 + 0.001 * i) ** 2.4 for i in range(1000)])


@pytest.mark.benchmark(group="start-up")
def test_import_perfmodel(benchmark: Any) -> None:
    benchmark.pedantic(subprocess.run, args=([sys.executable, "-c", "import perfmodel"],), rounds=5)


@pytest.mark.benchmark(group="start-up")
def test_yardstick_import_numpy_and_pydantic(benchmark: Any) -> None:
    code = "import numpy, pydantic, yaml; pydantic.BaseModel"
    benchmark.pedantic(subprocess.run, args=([sys.executable, "-c", code],), rounds=5)
