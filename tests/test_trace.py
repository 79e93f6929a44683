"""A timeline is the tree: parts within what they are parts of, seconds that add up, hidden messages apart."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.figure import Figure

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.plot import flame, flame_columns
from perfmodel.report import slices, trace_events
from perfmodel.sensitivity import with_values
from tests.strategies import any_jobs

WORK = pm.Training(global_batch=512, sequence_length=8192)


@pytest.fixture(scope="module")
def est():
    layout = pm.Parallel(tp=8, pp=4, vpp=5, sequence_parallel=True)
    cluster = pm.Cluster.load("dgx-h100", devices=512)
    return pm.estimate(pm.Model.load("llama-3.1-70b"), WORK, layout, cluster)


def nested(events):
    """Every two events of a track lie apart, or one within the other."""
    for track in (0, 1):
        around = []
        for event in (one for one in events if one["ph"] == "X" and one["tid"] == track):
            start, end = event["ts"], round(event["ts"] + event["dur"], 3)
            while around and around[-1] <= start:
                around.pop()
            assert not around or end <= around[-1]
            around.append(end)


@settings(max_examples=25, deadline=None)
@given(any_jobs())
def test_parts_lie_within_what_they_are_parts_of(job):
    est = estimate(**job.arguments)
    nested(trace_events(est)["traceEvents"])


@settings(max_examples=25, deadline=None)
@given(any_jobs())
def test_leaves_add_up_to_the_step_and_to_what_is_hidden(job):
    est = estimate(**job.arguments)
    found = slices(est)
    waited = sum(one.seconds for one in found if one.kind and not one.hidden)
    beside = sum(one.seconds for one in found if one.kind and one.hidden)
    assert waited == pytest.approx(est.step_time, rel=1e-9)
    assert beside == pytest.approx(est.tree.hidden, rel=1e-9, abs=1e-15)


def test_the_file_is_what_perfetto_reads(est, tmp_path):
    """Complete events with name, track, start and length in microseconds; tracks have names."""
    path = est.to_trace(tmp_path / "step.json")
    read = json.loads(path.read_text())
    events = [event for event in read["traceEvents"] if event["ph"] == "X"]
    assert {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"} <= set(events[0])
    assert events[0]["dur"] == pytest.approx(1e6 * est.step_time, abs=1e-3)
    names = {
        event["tid"]: event["args"]["name"] for event in read["traceEvents"] if event["name"] == "thread_name"
    }
    assert names == {0: "waited for", 1: "beside compute"}
    assert {event["cat"] for event in events if event["tid"] == 1} == {"parts", "dp", "pp"}
    product = next(event for event in events if event["name"] == "mlp up")
    assert product["args"]["flops"] == 2 * 8192 * 8192 * 2 * 28672 / 8 and product["args"][
        "times"
    ] == pytest.approx(32 * 20)
    assert sum(product["args"]["resources"].values()) == pytest.approx(product["dur"] / 1e6, rel=1e-6)


def test_other_estimates_have_traces_too(tmp_path):
    model, layout, cluster = pm.Model.load("llama-3.1-8b"), pm.Parallel(), pm.Cluster.of("h100", 1)
    for work in (
        pm.Inference(batch=8, input_length=128, output_length=32),
        pm.Serving(input_length=128, output_length=32, concurrency=4),
    ):
        est = pm.estimate(model, work, layout, cluster)
        read = json.loads(est.to_trace(tmp_path / "run.json").read_text())
        nested(read["traceEvents"])
        assert {"mlp up", "embedding"} <= {event["name"] for event in read["traceEvents"]}


def test_a_timeline_is_of_one_configuration(est):
    swept = with_values(est, {"fabric.bandwidth": np.array([1e10, 2e10])})
    with pytest.raises(InputError, match="one configuration"):
        slices(swept)


# --- the flame chart ----------------------------------------------------------------------------------------------


def test_a_flame_shows_nodes_below_each_other(est):
    columns = flame_columns(est)
    assert columns["row"][0] == 0 and columns["share"][0] == pytest.approx(1)
    assert {"mlp", "attention core", "bubble"} <= set(columns["name"])
    rows = np.array(columns["row"])
    hidden = np.array(columns["hidden"])
    assert rows[hidden].min() > rows[~hidden].max()
    for row in set(columns["row"]):
        here = [(s, s + d) for r, s, d in zip(columns["row"], columns["start"], columns["seconds"], strict=True)
                if r == row]  # fmt: skip
        assert all(a[1] <= b[0] * (1 + 1e-9) for a, b in pairwise(here))


def test_a_flame_is_drawn_where_it_is_told(est):
    ax = Figure(figsize=(9, 4)).subplots()
    assert flame(est, ax=ax) is ax
    assert len(ax.patches) == len(flame_columns(est)["name"])
    assert "mlp" in {text.get_text() for text in ax.texts}
    with pytest.raises(InputError, match=r"0\.001"):
        flame(est, least=2, ax=ax)
