"""Elasticities are exact: they match differences, add up to one, and say what a prediction says."""

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.figure import Figure

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError, UnsupportedError
from perfmodel.estimation import estimate
from perfmodel.plot import tornado, tornado_columns
from perfmodel.sensitivity.elasticity import elasticities
from perfmodel.sensitivity.quantities import each_alone, quantities, with_values
from tests.strategies import any_jobs, jobs

WORK = pm.Training(global_batch=512, sequence_length=8192)
STEP = 1e-5
TOLERANCE = 1e-6


def llama(devices=512, **layout):
    fields = {"tp": 8, "pp": 4, "vpp": 5, "sequence_parallel": True} | layout
    cluster = pm.Cluster.load("dgx-h100", devices=devices)
    return pm.estimate(pm.Model.load("llama-3.1-70b"), WORK, pm.Parallel(**fields), cluster)


def differences(est, names):
    """Central differences, and those to either side: on a kink only these mean something."""
    factors = [1 - 2 * STEP, 1 - STEP, 1.0, 1 + STEP, 1 + 2 * STEP]
    logs = np.log(each_alone(est, names, factors, "step_time"))
    at = np.log(factors)
    below, above = (
        (4 * (logs[:, near] - logs[:, 2]) - (logs[:, far] - logs[:, 2])) / (4 * at[near] - at[far])
        for near, far in ((1, 0), (3, 4))
    )
    return (logs[:, 3] - logs[:, 1]) / (at[3] - at[1]), below, above


def assert_match(est):
    found = elasticities(est)
    names = list(found)
    central, below, above = differences(est, names)
    exact = np.array(list(found.values()))
    smooth = (
        np.abs(below - above) < 2 * TOLERANCE
    )  # a kink moves the central difference by half of its height
    assert exact[smooth] == pytest.approx(central[smooth], abs=TOLERANCE)
    low, high = np.minimum(below, above) - TOLERANCE, np.maximum(below, above) + TOLERANCE
    assert ((low <= exact) & (exact <= high)).all()
    return smooth


@settings(max_examples=40, deadline=None)
@given(jobs())
def test_they_match_central_differences(job):
    assert_match(estimate(**job.arguments))


@settings(max_examples=40, deadline=None)
@given(any_jobs())
def test_they_match_them_for_any_job(job):
    """Schedules that are timed event by event among them."""
    assert_match(estimate(**job.arguments))


@settings(max_examples=60, deadline=None)
@given(any_jobs())
def test_rates_and_times_add_up_to_one(job):
    found = elasticities(estimate(**job.arguments))
    assert found.sum("time") - found.sum("rate") == pytest.approx(1, abs=1e-9)
    assert all(value <= 1e-9 for name, value in found.items() if found.quantities[name].kind == "rate")
    assert found.sum("size") == 0


@pytest.mark.parametrize(
    "layout", [{}, {"schedule": "zbv", "vpp": 2}, {"pp": 1, "vpp": 1, "sharding": "zero3", "tp": 1}]
)
def test_real_jobs_are_smooth_nearly_everywhere(layout):
    assert assert_match(llama(**layout)).mean() > 0.97


@pytest.mark.parametrize("layout", [{}, {"schedule": "zbv", "vpp": 2}])
def test_a_sweep_is_one_pass(layout):
    est = llama(**layout)
    bandwidths = np.geomspace(5e9, 4e11, 7)
    swept = elasticities(with_values(est, {"fabric.bandwidth": bandwidths}))
    assert swept["fabric.bandwidth"].shape == (7,)
    assert swept.sum("time") - swept.sum("rate") == pytest.approx(np.ones(7), abs=1e-9)
    for place, bandwidth in enumerate(bandwidths):
        one = elasticities(with_values(est, {"fabric.bandwidth": float(bandwidth)}))
        for name, value in swept.items():
            assert np.broadcast_to(value, 7)[place] == pytest.approx(one[name], abs=1e-12)


def test_a_limit_worked_by_hand():
    """An ideal machine that only computes: time goes with one over the peak, and with nothing else."""
    from tests.strategies import cluster, gpt, ideal

    fast = {"memory_bandwidth": 1e30}
    est = estimate(gpt(), pm.Training(global_batch=8, sequence_length=64, precision="bf16"), pm.Parallel(),
                   cluster(1), efficiency=ideal())  # fmt: skip
    found = elasticities(with_values(est, fast))
    assert found["peak.bf16"] == pytest.approx(-1)
    assert found["peak.fp16"] == 0
    assert next(iter(found)) == "peak.bf16"


def test_they_are_told():
    found = elasticities(llama())
    told = repr(found)
    assert "peak.bf16" in told and "fact" in told and "fit" in told
    html = found._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") == 13 and "memory_bandwidth" in html
    frame = found.to_frame()
    assert frame.loc["peak.bf16", "elasticity"] == found["peak.bf16"]
    assert frame.loc["peak.bf16", "ten_percent_more"] == pytest.approx(1.1 ** found["peak.bf16"] - 1)
    assert "peak.fp8" not in frame.index
    assert "over (2,)" in repr(elasticities(with_values(llama(), {"host.step": np.array([0.1, 0.2])})))


@pytest.mark.parametrize("metric", [None, "prefill_time", "decode_time", "latency"])
def test_times_of_inference_have_them(metric):
    work = pm.Inference(batch=32, input_length=1024, output_length=256)
    est = pm.estimate(pm.Model.load("llama-3.1-70b"), work, pm.Parallel(tp=8), pm.Cluster.load("dgx-h100"))
    found = elasticities(est, metric)
    assert found.sum("time") - found.sum("rate") == pytest.approx(1, abs=1e-9)
    names = list(found.largest())
    factors = [1 - STEP, 1 + STEP]
    logs = np.log(each_alone(est, names, factors, found.metric))
    slopes = (logs[:, 1] - logs[:, 0]) / (np.log(factors[1]) - np.log(factors[0]))
    assert [found[name] for name in names] == pytest.approx(slopes, abs=1e-6)


def test_one_number_may_be_asked_for():
    assert list(elasticities(llama(), numbers=["memory_bandwidth"])) == ["memory_bandwidth"]


def test_wrong_names_are_answered():
    with pytest.raises(UnknownNameError, match="step_time"):
        elasticities(llama(), "step_tim")
    with pytest.raises(UnknownNameError, match="memory_bandwidth"):
        elasticities(llama(), numbers=["memory_bandwith"])
    with pytest.raises(UnknownNameError, match="memory_bandwidth"):
        elasticities(llama())["memory_bandwith"]
    with pytest.raises(UnknownNameError, match="rate"):
        elasticities(llama()).sum("rates")
    with pytest.raises(UnsupportedError, match="step_time"):
        elasticities(3.0)
    with pytest.raises(InputError, match="above 0"):
        elasticities(with_values(llama(), {"host.step": -1e9}))


# --- the tornado --------------------------------------------------------------------------------------------------


def test_a_tornado_shows_predictions():
    est = llama()
    columns = tornado_columns(est, change=0.2, most=5)
    assert len(columns["name"]) == 5
    one = quantities(est)[columns["name"][0]]
    assert columns["less"][0] == pytest.approx(with_values(est, {one.name: 0.8 * one.value}).step_time)
    assert columns["more"][0] == pytest.approx(with_values(est, {one.name: 1.2 * one.value}).step_time)


def test_a_tornado_is_drawn_where_it_is_told():
    ax = Figure().subplots()
    assert tornado(llama(), most=4, ax=ax) is ax
    assert len(ax.patches) == 8
    assert ax.get_yticklabels()[0].get_text() == "peak.bf16"
    with pytest.raises(InputError, match=r"0\.1"):
        tornado(llama(), change=2)
