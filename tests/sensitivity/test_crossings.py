"""Crossings are where both sides agree, whatever lies between."""

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.sensitivity.quantities import with_values
from perfmodel.sensitivity.scanning import last_held, nearest_change

MODEL = pm.Model.load("llama-3.1-8b")
WORK = pm.Inference(batch=8, input_length=1024, output_length=256)


def run(name="h100", **changes):
    return pm.estimate(MODEL, WORK.replace(**changes), pm.Parallel(), pm.Cluster.of(name, 1))


def test_a_bandwidth_at_which_two_devices_tie():
    old, new = run("h100"), run("b200")
    at = pm.crossover(old, new, "memory_bandwidth", metric="decode_time")
    assert with_values(old, {"memory_bandwidth": at}).decode_time == pytest.approx(new.decode_time, rel=1e-9)
    assert old.cluster.device.memory_bandwidth < at


def test_a_number_of_the_job_changes_on_both_sides():
    """Slower memory and a faster peak pay from some batch on."""
    first = run("h100", input_length=16, output_length=16)
    second = with_values(first, {"memory_bandwidth": 2.6e12, "peak.bf16": 3e15})
    at = pm.crossover(first, second, "batch", metric="decode_time")
    a, b = (with_values(one, {"batch": at}).decode_time for one in (first, second))
    assert a == pytest.approx(b, rel=1e-9)


def test_a_value_may_be_aimed_at():
    est = run()
    at = pm.crossover(est, 0.5 * est.latency, "memory_bandwidth")
    assert with_values(est, {"memory_bandwidth": at}).latency == pytest.approx(0.5 * est.latency, rel=1e-9)


def test_decode_turns_from_memory_to_compute():
    est = run(input_length=128, output_length=32)
    at = pm.balance(est, "batch", part="decode")
    found = with_values(est, {"batch": at}).decode.resources
    assert found["compute"] == pytest.approx(found["memory_bandwidth"], rel=1e-6)
    assert 200 < at < 1000  # peak over bandwidth is 295 FLOP/B


def test_more_tensor_parallelism_stops_paying():
    work = pm.Inference(batch=8, input_length=1024, output_length=256)
    small = pm.estimate(pm.Model.load("llama-3.2-1b"), work, pm.Parallel(tp=2), pm.Cluster.load("dgx-h100"))
    at = pm.turning_point(small, "tp")
    around = with_values(small, {"tp": np.array([at / 1.2, at, min(at * 1.2, 8)])}).latency
    assert around[1] == around.min()


def test_what_never_crosses_is_told():
    with pytest.raises(InputError, match="does not meet"):
        pm.crossover(run(), 1e-9, "memory_bandwidth")
    with pytest.raises(InputError, match="do not change places"):
        pm.balance(run(), "batch", between=("memory_bandwidth", "kernel_latency"), part="decode")
    with pytest.raises(InputError, match="does not turn"):
        pm.turning_point(run(), "batch")
    with pytest.raises(InputError, match="scaled"):
        pm.crossover(run(), 1.0, "draft_tokens")


def test_wrong_names_are_answered():
    with pytest.raises(UnknownNameError, match="memory_bandwidth"):
        pm.crossover(run(), run("b200"), "memory_bandwith")
    with pytest.raises(UnknownNameError, match="compute"):
        pm.balance(run(), "batch", between=("computing", "memory_bandwidth"))
    with pytest.raises(UnknownNameError, match="latency"):
        pm.crossover(run(), 1.0, "batch", metric="latencies")


def test_scanning_finds_the_nearest():
    assert last_held(lambda x: x < 7, 1.0, 5.0) == 5.0
    assert nearest_change(lambda x: (x - 2) * (x - 0.9), 1.0, 0.01, 100.0) == pytest.approx(0.9)
    assert nearest_change(lambda x: x + 1, 1.0, 0.01, 100.0) is None
    assert nearest_change(lambda x: x - 3, 1.0, 1.0, 100.0) == pytest.approx(3)
