"""Questions that come again go through a program: what it gives is what the formulas give, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.exploration import Sweep, sweep, written
from perfmodel.program import Program
from tests.strategies import any_jobs


def same(one: Sweep, other: Sweep) -> None:
    """Every column of two sweeps."""
    assert list(one.columns) == list(other.columns)
    for name in one.columns:
        assert np.array_equal(one.columns[name], other.columns[name], equal_nan=_is_number(one, name)), name


def _is_number(found: Sweep, name: str) -> bool:
    return bool(np.asarray(found.columns[name]).dtype.kind == "f")


@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(job=any_jobs(), bandwidth=st.floats(1e12, 1e13))
def test_one_row_at_a_time_is_all_at_once(job: Any, bandwidth: float) -> None:
    numbers = {name: getattr(job.layout, name) for name in ("tp", "pp", "vpp", "cp", "ep", "micro_batch")}
    numbers["global_batch"] = job.work.global_batch
    rows = [numbers | {"global_batch": numbers["global_batch"] * times} for times in (1, 2, 3)]
    rows.append(numbers | {"micro_batch": 2 * numbers["micro_batch"]})
    asked: dict[str, Any] = {"rows": rows, "efficiency": job.efficiency, "memory_bandwidth": [bandwidth]}
    layout = job.layout.replace(dp=None)
    at_once = sweep(job.model, job.work, job.cluster, layout, **asked)
    same(at_once, sweep(job.model, job.work, job.cluster, layout, **asked, chunk=1))


def test_a_question_is_written_down_when_it_comes_again(monkeypatch: Any) -> None:
    made = []
    monkeypatch.setattr(written, "Program", _Counting(made))
    written._known.cache_clear()
    model, work = pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=64, sequence_length=4096)
    asked: dict[str, Any] = {
        "micro_batch": [1, 2, 4, 8],
        "overlap__slowdown": [0.0, 0.2],
        "peak": [1e15, 2e15],
    }
    cluster = pm.Cluster.load("dgx-h100", devices=16)
    at_once = sweep(model, work, cluster, **asked)
    assert not made
    same(at_once, sweep(model, work, cluster, **asked, chunk=4))
    assert len(made) == 1
    sweep(model, work.replace(sequence_length=2048), cluster, **asked, chunk=8)
    assert len(made) == 2


def test_schedules_without_a_closed_form_go_through_the_formulas() -> None:
    model, work = pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=64, sequence_length=4096)
    layout = pm.Parallel(pp=4, vpp=2, schedule="zbv")
    asked: dict[str, Any] = {"micro_batch": [1, 2, 4], "tp": [1, 2]}
    cluster = pm.Cluster.load("dgx-h100", devices=16)
    same(sweep(model, work, cluster, layout, **asked), sweep(model, work, cluster, layout, **asked, chunk=1))


class _Counting:
    """Program, counting those that are written."""

    def __init__(self, made: list[Program]) -> None:
        self.made = made

    def of(self, *given: Any) -> Program:
        self.made.append(Program.of(*given))
        return self.made[-1]
