"""An estimate as a function of some of its numbers gives what single estimates give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError
from tests.strategies import any_jobs

WORK = pm.Training(global_batch=64, sequence_length=4096)
MODEL, CLUSTER = pm.Model.load("llama-3.1-8b"), pm.Cluster.load("dgx-h100", devices=32)


@pytest.fixture(scope="module")
def est() -> Any:
    return pm.estimate(MODEL, WORK, pm.Parallel(tp=2, pp=2), CLUSTER)


def metrics(one: Any) -> dict[str, Any]:
    named = {name: getattr(one, name) for name in ("step_time", "mfu", "hfu", "tokens_per_second")}
    resources = {f"resources.{name}": seconds for name, seconds in one.resources.items()}
    return named | resources | {"memory.total": one.memory.total, "dp": one.layout.dp}


@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(job=any_jobs(), micro_batch=st.sampled_from([1, 2, 4]))
def test_it_is_the_estimate_whatever_the_structure(job: Any, micro_batch: int) -> None:
    try:
        first = pm.estimate(job.model, job.work, job.layout, job.cluster, efficiency=job.efficiency)
        layout = job.layout.replace(micro_batch=micro_batch)
        other = pm.estimate(job.model, job.work, layout, job.cluster, efficiency=job.efficiency)
        of_job = pm.as_function(first, "micro_batch", "global_batch")
    except InputError:
        assume(False)
    found = of_job(micro_batch=micro_batch, global_batch=job.work.global_batch)
    assert {
        name: (found[name], value) for name, value in metrics(other).items() if found[name] != value
    } == {}


def test_dp_follows_from_degrees_unless_it_is_a_number_itself(est: Any) -> None:
    follows = pm.as_function(est, "tp", "pp", columns=["step_time", "dp"])
    assert follows(tp=4, pp=2)["dp"] == 4
    assert (
        follows(tp=4, pp=2)["step_time"]
        == pm.estimate(MODEL, WORK, pm.Parallel(tp=4, pp=2), CLUSTER).step_time
    )
    given_too = pm.as_function(est, "tp", "dp", columns=["dp"])
    assert given_too(tp=4, dp=7) == {"dp": 7}
    assert pm.as_function(est, "micro_batch", columns=["dp"])(micro_batch=2) == {"dp": 8}


def test_numbers_of_the_machine_and_of_its_fits_are_numbers_too(est: Any) -> None:
    of_rates = pm.as_function(
        est, "memory_bandwidth", "fabric__bandwidth", "overlap__slowdown", columns=["step_time"]
    )
    now = {"memory_bandwidth": 3.35e12, "fabric__bandwidth": 50e9}
    slowdown = est.efficiency.overlap.slowdown
    assert of_rates(**now, overlap__slowdown=slowdown)["step_time"] == est.step_time
    assert of_rates(**now, overlap__slowdown=slowdown + 0.1)["step_time"] > est.step_time
    faster = of_rates(memory_bandwidth=7e12, fabric__bandwidth=100e9, overlap__slowdown=slowdown)["step_time"]
    assert faster < est.step_time


def test_a_batch_of_inference_is_one_too() -> None:
    work = pm.Inference(batch=8, input_length=512, output_length=64)
    run = pm.estimate(MODEL, work, pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=2))
    assert pm.as_function(run, "batch")(batch=8)["latency"] == run.latency


def test_long_columns_go_through_in_blocks(est: Any) -> None:
    step = pm.as_function(est, "micro_batch", "peak", columns=["step_time"])
    sizes, peaks = np.tile([1.0, 2.0, 4.0], 5000), np.linspace(1e15, 2e15, 15000)
    columns = step.rows({"micro_batch": sizes, "peak": peaks})["step_time"]
    assert columns.shape == (15000,)
    assert columns[7] == step(micro_batch=2, peak=float(peaks[7]))["step_time"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sharding", "structure"),
        ("devices", "shape of the network"),
        ("device__scale_up__bandwidth", "shape"),
    ],
)
def test_what_is_no_number_is_refused(est: Any, name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        pm.as_function(est, name)


def test_unknown_names_are_answered_with_near_ones(est: Any) -> None:
    with pytest.raises(UnknownNameError, match="micro_batch"):
        pm.as_function(est, "micro_batchs")


def test_a_schedule_that_is_timed_event_by_event_is_no_function() -> None:
    est = pm.estimate(MODEL, WORK, pm.Parallel(tp=2, pp=2, vpp=2, schedule="zbv"), CLUSTER)
    with pytest.raises(InputError, match="event by event"):
        pm.as_function(est, "pp")
