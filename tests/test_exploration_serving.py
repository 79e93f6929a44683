"""Sweeps of inference and of serving: rows are single estimates there, too."""

from __future__ import annotations

import math
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.exploration import sweep
from tests.strategies import any_model, cluster

MODEL = pm.Model.load("llama-3.1-8b")
CLUSTER = pm.Cluster.load("dgx-h100")
JOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "inference": (
        pm.Inference(input_length=512, output_length=64),
        {"batch": [1, 8, 12, 4096], "tp": [1, 2, 3], "weight_dtype": ["bf16", "fp8"], "memory_bandwidth": ["1x", "2x"]},
    ),
    "prompts": (
        pm.Inference(batch=8, output_length=64),
        {"input_length": [128, 2048, 10**6], "output_length": [1, 32], "tp": [1, 8]},
    ),
    "serving": (
        pm.Serving(input_length=512, output_length=64, concurrency=8),
        {"concurrency": [1, 64], "tp": [2, 3, 8], "memory_bandwidth": ["1x", "2x"]},
    ),
}  # fmt: skip


def test_ranks_that_hold_the_same_tokens_are_estimated_apart() -> None:
    """One replica sends its experts no tokens, several do: rows of both kinds are single estimates."""
    work = pm.Inference(batch=8, input_length=256, output_length=32)
    found = sweep(
        any_model("experts", layers=4, tp=4),
        work,
        cluster(8),
        progress=False,
        tp=[1, 2, 4],
        pp=[1, 2],
        ep=[1, 2],
    )
    assert {found[n]["dp"] for n in range(len(found))} == {1, 2, 4, 8}
    for n in range(len(found)):
        assert found[n]["latency"] == found[n].estimate().latency


@pytest.mark.parametrize("kind", JOBS)
def test_rows_are_single_estimates(kind: str) -> None:
    work, axes = JOBS[kind]
    found = sweep(MODEL, work, CLUSTER, progress=False, **axes)
    feasible = 0
    for n in range(len(found)):
        row = found[n]
        try:
            one: Any = row.estimate()
        except InputError as error:
            assert not row["feasible"]
            assert math.isnan(row["latency"])
            assert row["reason"]
            assert row.why() == str(error)
            continue
        feasible += bool(one.fits)
        expected = {
            "latency": one.latency, "ttft": one.ttft, "tpot": one.tpot, "memory.total": one.memory.total,
            "output_tokens_per_second": one.output_tokens_per_second, "limiter": one.limiter.name,
            "feasible": bool(one.fits), "memory.cache": one.memory.cache,
            **{f"terms.{name}": seconds for name, seconds in one.terms.items()},
            **{f"resources.{name}": seconds for name, seconds in one.resources.items()},
        }  # fmt: skip
        assert {name: (row[name], value) for name, value in expected.items() if row[name] != value} == {}
    assert 0 < feasible == found["feasible"].sum() < len(found)


def test_the_best_is_chosen_by_what_users_wait_for() -> None:
    work, axes = JOBS["inference"]
    found = sweep(MODEL, work, CLUSTER, progress=False, **axes)
    front = found.pareto("tpot", "output_tokens_per_second")
    assert front["tpot"].tolist() == sorted(front["tpot"])
    assert found.best()["latency"] == found.feasible["latency"].min()
    assert "best by latency" in repr(found)
