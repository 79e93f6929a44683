"""A change of any field of any input: by name, path, factor or quantity; what moves, and why."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.sensitivity import Inputs, fields
from perfmodel.sensitivity.fields import ANY
from tests.strategies import Job, any_jobs


@pytest.fixture(scope="module")
def est() -> pm.TrainingEstimate:
    return pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Training(global_batch=128, sequence_length=8192),
        pm.Parallel(tp=2, pp=2, vpp=4),
        pm.Cluster.load("dgx-h100", devices=32),
    )


def again(est, **changes):
    """The estimate of the same job with inputs changed by hand."""
    inputs = {name: changes.get(name, getattr(est, name)) for name in ("model", "work", "layout", "cluster")}
    return pm.estimate(**inputs, efficiency=changes.get("efficiency", est.efficiency)).step_time


def test_factor_quantity_and_value_reach_the_same_field(est):
    faster = est.cluster.replace(device__memory__bandwidth=1.5 * est.cluster.device.memory_bandwidth)
    expected = again(est, cluster=faster)
    for given_ in ("1.5x", "+50%", "5.025 TB/s", 5.025e12):
        assert pm.what_if(est, memory_bandwidth=given_).after.step_time == pytest.approx(expected, rel=1e-12)
    assert pm.what_if(est, device__memory__bandwidth="1.5x").after.step_time == expected


def on(name: str, devices: int) -> pm.Cluster:
    return pm.Cluster.load(name, devices)


def blackwell(est):
    return again(est, cluster=on("dgx-b200", 32), efficiency=pm.Efficiency.of("blackwell", "default"))


WIDE = pm.Parallel(tp=2, pp=2, vpp=4)
EQUAL = [
    ({"tp": 4}, lambda est: again(est, layout=pm.Parallel(tp=4, pp=2, vpp=4))),
    ({"dp": 16}, lambda est: again(est, layout=WIDE, cluster=on("dgx-h100", 64))),
    ({"devices": 64}, lambda est: again(est, layout=WIDE, cluster=on("dgx-h100", 64))),
    ({"pp": 1}, lambda est: again(est, layout=pm.Parallel(tp=2))),
    ({"precision": "fp8"}, lambda est: again(est, work=est.work.replace(precision="fp8"))),
    ({"recompute": "full"}, lambda est: again(est, work=est.work.replace(recompute="full"))),
    ({"overlap": "tp, dp"}, lambda est: again(est, layout=est.layout.replace(overlap=("tp", "dp")))),
    ({"global_batch": "2x"}, lambda est: again(est, work=est.work.replace(global_batch=256))),
    ({"fabric.bandwidth": "2x"}, lambda est: again(est, cluster=est.cluster.replace(scale_out=1e11))),
    ({"scale_up": "2x"}, lambda est: again(est, cluster=est.cluster.replace(device__scale_up__bandwidth=9e11))),
    ({"offload.optimizer": 1}, lambda est: again(est, work=est.work.replace(offload={"optimizer": 1}))),
    ({"software": "nemo"}, lambda est: again(est, efficiency=pm.Efficiency.of("hopper", "nemo"))),
    ({"model": "llama-2-7b"}, lambda est: again(est, model=pm.Model.load("llama-2-7b"))),
    ({"depth": 16}, lambda est: again(est, model=est.model.replace(blocks=(est.model.blocks[0].replace(repeat=16),)))),
    ({"cluster": "dgx-b200"}, blackwell),
    ({"device": "b200"}, blackwell),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), EQUAL, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_a_change_is_the_estimate_of_the_changed_job(est, changes, expected):
    assert pm.what_if(est, **changes).after.step_time == pytest.approx(expected(est), rel=1e-12)


def test_fits_of_all_formats_change_together_or_one_by_one(est):
    every = pm.what_if(est, matmul__compute="0.5x").after.efficiency.matmul
    assert all(fit.compute == est.efficiency.matmul[dtype].compute / 2 for dtype, fit in every.items())
    one = pm.what_if(est, matmul__bf16__compute="0.5x").after.efficiency
    assert one.matmul_for("bf16").compute == est.efficiency.matmul_for("bf16").compute / 2
    assert one.matmul_for("fp8") == est.efficiency.matmul_for("fp8")


def test_a_doubled_peak_is_no_mistaken_headline(est):
    found = pm.what_if(est, peak="2x")
    assert found.after.peak == 2 * est.peak
    with pytest.raises(InputError, match="sparse headline"):
        pm.what_if(est, peak__bf16="1979 TFLOP/s")


def test_what_follows_is_told_apart(est):
    found = pm.what_if(est, tp=4, schedule="zbv")
    assert {change.path: change.follows for change in found.changes} == {
        "tp": False, "schedule": False, "dp": True, "vpp": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"memory_bandwith": 2}, "did you mean memory_bandwidth"),
        ({"fabric.bandwith": "2x"}, "did you mean fabric.bandwidth"),
        ({"bandwidth": "2x"}, "is ambiguous; name one of: cluster.device.host_link.bandwidth, "),
        ({"year": 2030}, "no number depends on it"),
        ({"name": "x"}, "no number depends on it"),
        ({"tp": "1.3x"}, "counts whole things"),
        ({"precision": "2x"}, "no number"),
        ({"memory": "2x"}, "ambiguous"),
        ({"cluster.device.memory": "2x"}, "name one: cluster.device.memory.capacity"),
        ({"llc": "2x"}, "not known"),
        ({"memory_bandwidth": "3 GB"}, "bandwidth"),
        ({"memory_bandwidth": 0}, "must be a number above 0"),
        ({"kv_heads": -1}, "must be a number above 0"),
        ({"softmax_dims": float("inf")}, "must be a number"),
        ({"tp": np.array([1, 2])}, "pm.sweep of many"),
        ({"depth": "1 s"}, "number of layers"),
        ({"tp": 3}, "does not divide"),
        ({"precision": "fp9"}, 'unknown precision "fp9"'),
        ({"software": "nemmo"}, "did you mean nemo"),
        ({"work": 3}, "must be a workload"),
        ({"scale_up": "2x", "device.scale_up.bandwidth": "2x"}, "given twice"),
        ({"offload": {"weights": 1}, "offload.weights": 1}, "whole and in part"),
        ({}, "nothing is changed"),
    ],
)
def test_one_clear_error(est, changes, told):
    with pytest.raises(InputError) as caught:
        pm.what_if(est, **changes)
    assert told in str(caught.value)


def test_every_bad_name_is_told_at_once(est):
    with pytest.raises(InputError) as caught:
        pm.what_if(est, memory_bandwith="2x", precisions="fp8", tp=4)
    assert len(caught.value.faults) == 2
    with pytest.raises(UnknownNameError):
        pm.what_if(est, device="h10000000")


def test_every_field_is_found_by_its_own_path(est):
    known = fields(Inputs.of(est))
    assert len(known) > 200
    for path, field in known.items():
        if not field.branch and isinstance(field.value, float) and ANY not in field.keys:
            assert pm.what_if(est, **{path: field.value}).delta == pytest.approx(0, abs=1e-12)


def test_the_table_adds_up(est):
    found = pm.what_if(est, precision="fp8", tp=4)
    for kind, whole in (("term", found.delta), ("resource", found.delta)):
        rows = [row for row in found.rows if row.kind == kind]
        assert sum(row.delta for row in rows) == pytest.approx(whole, rel=1e-9)
        assert sum(row.share for row in rows) == pytest.approx(1, rel=1e-9)
    memory = sum(row.delta for row in found.rows if row.kind == "memory")
    assert memory == pytest.approx(found.after.memory.total - est.memory.total)


def test_it_is_said_why(est):
    assert "nothing that is waited for" in pm.what_if(est, cores=5).why
    assert "does NOT fit any more" in pm.what_if(est, memory_capacity="20 GiB").why
    assert "2 times the samples" in pm.what_if(est, global_batch="2x").why
    assert ": matrix products " in pm.what_if(est, peak="2x").why
    assert "limit moves from matrix units" in pm.what_if(est, peak="20x").why


def test_one_configuration_at_a_time(est):
    many = pm.estimate(est.model, est.work, est.layout, est.cluster.replace(device__memory__bandwidth=3e12))
    many = replace(many, tree=many.tree._replace(seconds=np.array([1.0, 2.0])))
    for asked in (pm.what_if, pm.advise, pm.diagnose, lambda est: pm.compare({"many": est})):
        with pytest.raises(InputError, match="one configuration"):
            asked(many)
        with pytest.raises(InputError, match="no estimate"):
            asked(3)


def test_it_prints_and_serialises(est):
    found = pm.what_if(est, memory_bandwidth="1.5x")
    text = repr(found)
    assert "3.350 TB/s -> 5.025 TB/s" in text
    assert all(len(line) <= 110 for line in text.splitlines() if line.startswith("    "))
    assert "<table>" in found._repr_html_()
    told = json.loads(json.dumps(found.to_dict()))
    assert told["step_time"]["after"] == found.after.step_time
    frame = found.to_frame()
    assert frame[frame.kind == "term"].delta.sum() == pytest.approx(found.delta)


def test_fits_of_ones_own_stay_when_the_device_changes(est):
    own = est.efficiency.replace(id="mine", software="")
    mine = pm.estimate(est.model, est.work, est.layout, est.cluster, efficiency=own)
    assert pm.what_if(mine, device="b200").after.efficiency.id == "mine"
    assert pm.what_if(mine, software="nemo").after.efficiency.id == "mine+nemo"
    stacked = pm.what_if(mine, software="nemo").after
    with pytest.raises(InputError, match="under nemo already"):
        pm.what_if(stacked, software="megatron-lm")


@pytest.fixture(scope="module")
def batch() -> pm.InferenceEstimate:
    return pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Inference(batch=4, input_length=1024, output_length=256),
        pm.Parallel(),
        pm.Cluster.load("dgx-h100", devices=1),
    )


def test_a_batch_of_inference_changes_likewise(batch):
    found = pm.what_if(batch, memory_bandwidth="2x", weight_dtype="fp8")
    assert found.after.work.weight_dtype == "fp8"
    assert found.after.latency < batch.latency
    assert found.why.startswith("Latency falls")
    assert sum(row.delta for row in found.rows if row.kind == "term") == pytest.approx(found.delta)
    assert "latency" in repr(found)
    assert pm.what_if(batch, batch=8).after.work.batch == 8
    assert pm.what_if(batch, device="b200").after.efficiency.id == "blackwell+default"
    assert pm.what_if(batch, software="vllm").after.efficiency.id == "hopper+vllm"
    with pytest.raises(InputError, match="unknown"):
        pm.what_if(batch, recompute="full")


@settings(max_examples=40)
@given(job=any_jobs(), factor=st.sampled_from(["1x", "+0%", "2x"]))
def test_once_is_the_same_and_faster_is_no_slower(job: Job, factor: str):
    est = pm.estimate(**job.arguments)
    for name in (
        "memory_bandwidth",
        "fabric.bandwidth" if est.cluster.tiers[-1].name == "fabric" else "scale_up",
    ):
        after = pm.what_if(est, **{name: factor}).after.step_time
        assert after == est.step_time if factor != "2x" else after <= est.step_time * (1 + 1e-9)


def test_tiers_of_ones_own_are_changed_themselves(est):
    own = est.cluster.replace(tiers=est.cluster.tiers)
    mine = pm.estimate(est.model, est.work, est.layout, own, efficiency=est.efficiency)
    faster = pm.what_if(mine, fabric__bandwidth="2x").after
    assert [tier.bandwidth for tier in faster.cluster.tiers] == [4.5e11, 1e11]
    assert faster.step_time == pm.what_if(est, fabric__bandwidth="2x").after.step_time


def test_links_of_a_torus_are_faster_one_by_one():
    pod = pm.Cluster.of("tpu-v5p", 64)
    est = pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Training(global_batch=64, sequence_length=8192),
        pm.Parallel(tp=4),
        pod,
    )
    faster = pm.what_if(est, scale_up="2x").after.cluster.tiers[0]
    assert faster.bandwidth == 2 * pod.tiers[0].bandwidth
    assert faster.per_link == 2 * pod.tiers[0].per_link
