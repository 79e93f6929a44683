"""Every second of a step has a resource, a term, a phase and a layer; what limits it can be relieved."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import UnknownNameError
from perfmodel.estimation import estimate
from perfmodel.sensitivity.attribution import SIDES, attribution
from perfmodel.sensitivity.places import layer_of, phase_of
from perfmodel.sensitivity.quantities import quantities, with_values
from tests.strategies import any_jobs, jobs

WORK = pm.Training(global_batch=512, sequence_length=8192)


def llama(devices=512, work=WORK, **layout):
    fields = {"tp": 8, "pp": 4, "vpp": 5, "sequence_parallel": True} | layout
    cluster = pm.Cluster.load("dgx-h100", devices=devices)
    return pm.estimate(pm.Model.load("llama-3.1-70b"), work, pm.Parallel(**fields), cluster)


@settings(max_examples=60, deadline=None)
@given(any_jobs())
def test_seconds_add_up_to_the_step_along_every_side(job):
    est = estimate(**job.arguments)
    found = attribution(est)
    for side in SIDES:
        parts = found.by(side).values()
        assert sum(part.seconds for part in parts) == pytest.approx(est.step_time, rel=1e-9)
        assert sum(part.hidden for part in parts) == pytest.approx(est.tree.hidden, rel=1e-9, abs=1e-15)
    by_resource, by_term = found.by("resource"), found.by("term")
    for name, seconds in est.resources.items():
        assert seconds == pytest.approx(by_resource[name].seconds if name in by_resource else 0, rel=1e-9)
    for name, seconds in est.terms.items():
        assert seconds == pytest.approx(by_term[name].seconds if name in by_term else 0, rel=1e-9, abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(any_jobs())
def test_hidden_messages_are_those_of_the_overlap(job):
    est = estimate(**job.arguments)
    by_term = attribution(est).by("term")
    for axis, (hidden, exposed) in est.overlap.items():
        told = by_term.get(axis, (0, 0, 0))
        assert (told[0], told[2]) == (pytest.approx(exposed, abs=1e-15), pytest.approx(hidden, abs=1e-15))


@settings(max_examples=40, deadline=None)
@given(jobs())
def test_the_slowest_stage_waits_for_the_bubble_alone(job):
    est = estimate(**job.arguments)
    stages = attribution(est).stages
    assert sum(stage.stages for stage in stages) == job.layout.pp
    least = min(stage.idle for stage in stages)
    assert least == pytest.approx(est.terms.get("bubble", 0), rel=1e-6, abs=1e-12 * est.step_time)


@settings(max_examples=25, deadline=None)
@given(jobs())
def test_the_limiter_hands_over_where_it_is_said_to(job):
    est = estimate(**job.arguments)
    found = attribution(est)
    name, times = found.takeover
    if math.isinf(times):
        return
    for step, first in ((1 - 1e-4, True), (1 + 1e-4, False)):
        speeds = {
            one.name: one.value * times * step if one.kind == "rate" else one.value / (times * step)
            for one in quantities(est).values()
            if one.resource == found.limiter
        }
        seconds = with_values(est, speeds).resources
        if times * step >= 1:
            assert (seconds[found.limiter] >= seconds[name] * (1 - 1e-9)) == first


def test_a_step_worked_by_hand():
    """Softmax is 5 of 133 dimensions of a head of 128 where the set says 5; messages hidden are not waited for."""
    est = llama()
    found = attribution(est)
    dims = est.efficiency.attention.softmax_dims
    split = found.by("term", "detail")
    vector = split["attention", "compute:vector"].seconds
    tensor = split["attention", "compute:bf16"].seconds
    assert vector / (vector + tensor) == pytest.approx(dims / (128 + dims))
    assert set(found.by("phase")) >= {"forward", "backward", "communication", "bubble", "optimizer"}
    assert {"attention", "mlp", "norm", "head", "pp sends", "dp gradients"} <= set(found.by("layer"))
    assert found.by("resource")["fabric"].hidden > found.by("resource")["fabric"].seconds


def test_a_limiter_that_is_no_speed_stays():
    """One micro-batch in a long pipeline: the bubble."""
    est = llama(
        devices=64, work=WORK.replace(global_batch=1), tp=1, pp=64, vpp=1, dp=1, sequence_parallel=False
    )
    found = attribution(est)
    assert found.limiter == "pipeline_bubble"
    assert found.takeover[1] == math.inf
    assert "then" in repr(found)


def test_recomputation_is_a_phase():
    work = WORK.replace(recompute="full")
    assert attribution(llama(work=work)).by("phase")["recompute"].share > 0.1
    assert "recompute" not in attribution(llama()).by("phase")


def test_the_report_names_everything_large():
    told = repr(attribution(llama()))
    for words in ("limited by matrix units", "matrix units in bf16", "backward", "mlp", "2 x middle"):
        assert words in told


def test_notebooks_show_tables():
    html = attribution(llama())._repr_html_()
    assert html.count("<table>") == html.count("</table>") >= 5
    assert "by phase" in html and "by resource, beside compute" in html and "limited by" in html


def test_the_cells_are_a_table():
    frame = attribution(llama()).to_frame()
    assert frame["share"].sum() == pytest.approx(1)
    assert set(SIDES) < set(frame.columns)


def test_a_side_that_is_none_is_refused():
    with pytest.raises(UnknownNameError, match="phase"):
        attribution(llama()).by("phases")


@given(
    st.lists(
        st.sampled_from(["a", "layer forward", "x sharded", "slowest stage", "recompute all"]), min_size=1
    )
)
def test_every_leaf_has_a_layer_and_a_phase(path):
    assert layer_of((*path, "leaf"))
    assert phase_of((*path, "leaf"), "matmul")


def served(**changes):
    fields = {"batch": 32, "input_length": 1024, "output_length": 256} | changes
    cluster = pm.Cluster.load("dgx-h100", devices=8)
    return pm.estimate(pm.Model.load("llama-3.1-70b"), pm.Inference(**fields), pm.Parallel(tp=8), cluster)


def test_a_batch_of_inference_has_its_own_phases():
    est = served()
    found = attribution(est)
    phases = found.by("phase")
    assert list(phases) == ["decode", "prefill"]
    assert phases["prefill"].seconds == pytest.approx(est.prefill_time)
    assert sum(part.share for part in found.by("layer").values()) == pytest.approx(1)
    assert (found.limiter, found.stages) == ("memory_bandwidth", ())
    assert found.takeover[1] > 1


# --- the numbers behind it ----------------------------------------------------------------------------------------


def test_every_number_has_its_value_and_unit():
    est = llama()
    known = quantities(est)
    assert known["peak.bf16"].value == est.cluster.device.peak.bf16
    assert known["memory_bandwidth"].unit == "B/s"
    assert known["collective.fabric.step"].resource == "network_latency"
    assert known["matmul.default.latency"].kind == "time"
    assert (known["matmul.default.compute"].origin, known["peak.bf16"].origin) == ("fit", "fact")
    assert {one.kind for one in known.values()} == {"rate", "time", "size", "share"}


def test_a_changed_number_is_what_a_changed_machine_is():
    est = llama()
    faster = est.cluster.replace(device=est.cluster.device.replace(memory__bandwidth=6.7e12))
    again = pm.estimate(est.model, est.work, est.layout, faster, efficiency=est.efficiency)
    assert with_values(est, {"memory_bandwidth": 6.7e12}).step_time == again.step_time
    assert with_values(est, {}).step_time == est.step_time


def test_links_of_a_tier_keep_their_ratio():
    cluster = pm.Cluster.of("mi300x", 8)
    est = pm.estimate(pm.Model.load("llama-3.1-8b"), WORK.replace(global_batch=8), pm.Parallel(tp=8), cluster)
    tier = cluster.tiers[0]
    doubled = with_values(est, {"scale_up.bandwidth": 2 * tier.bandwidth}).cluster.tiers[0]
    assert doubled.per_link == 2 * tier.per_link


def test_an_unknown_number_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="memory_bandwidth"):
        with_values(llama(), {"memory_bandwith": 1.0})
