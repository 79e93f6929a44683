"""Estimates side by side: one table with one more index, and what a dollar buys."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError


def on(system: str, devices: int = 8, **changes) -> pm.TrainingEstimate:
    work = pm.Training(global_batch=128, sequence_length=8192, **changes)
    return pm.estimate(
        pm.Model.load("llama-3.1-8b"), work, pm.Parallel(tp=2), pm.Cluster.load(system, devices=devices)
    )


@pytest.fixture(scope="module")
def table() -> pm.sensitivity.Comparison:
    return pm.compare({"H100": on("dgx-h100"), "B200": on("dgx-b200"), "two nodes": on("dgx-h100", 16)})


def test_it_answers_like_one_with_one_more_index(table):
    assert list(table) == ["H100", "B200", "two nodes"]
    assert table["H100"].step_time == table.to_frame().loc["H100", "step_time"]
    for name in ("terms", "resources"):
        assert table.to_frame(name).sum(axis=1)["B200"] == pytest.approx(table["B200"].step_time)
    assert table.to_frame("memory").sum(axis=1)["H100"] == pytest.approx(table["H100"].memory.total)
    everything = table.to_frame("everything")
    assert everything.loc["B200", "terms", "matmul"].value == table["B200"].terms["matmul"]


def test_speed_and_money(table):
    ratio = table["H100"].step_time / table["B200"].step_time
    assert table.speedup("B200") == pytest.approx(ratio)
    assert table.speedup("H100", against="B200") == pytest.approx(1 / ratio)
    assert table.usd_per_hour("two nodes") == 2 * table.usd_per_hour("H100")
    tokens = table["H100"].tokens_per_second
    assert table.usd_per_million("H100") == pytest.approx(table.usd_per_hour("H100") / 3600 / tokens * 1e6)


def test_prices_break_even_where_a_dollar_buys_the_same(table):
    price = table.break_even(2.0)
    even = pm.compare(table.estimates, prices={"H100": 2.0, "B200": price})
    assert even.usd_per_million("B200") == pytest.approx(even.usd_per_million("H100"))
    more = table.break_even(2.0, of="two nodes")
    even = pm.compare(table.estimates, prices={"H100": 2.0, "two nodes": more})
    assert even.usd_per_million("two nodes") == pytest.approx(even.usd_per_million("H100"))
    assert table.break_even(price, of="H100", against="B200") == pytest.approx(2.0)


def test_prices_by_name_or_device_and_unknown_ones_are_said(table):
    by_device = pm.compare(table.estimates, prices={"nvidia-h100-sxm-80gb": 1.0})
    assert by_device.usd_per_hour("H100") == 8
    other = pm.compare({"MI300X": on("mi300x-8")})
    assert other.usd_per_hour("MI300X") is None
    assert "no price is known of MI300X" in repr(other)
    assert json.loads(json.dumps(other.to_dict()))["metrics"]["MI300X"]["usd_per_hour"] is None


def test_a_device_that_nobody_offers_has_no_price(table):
    dreamt = pm.compare({"faster": pm.what_if(table["H100"], memory_bandwidth="2x").after})
    assert dreamt.usd_per_hour("faster") is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda est: pm.compare({}), "at least one"),
        (lambda est: pm.compare({"a": 3}), "3 is no estimate"),
        (lambda est: pm.compare({"a": est}).break_even(2), "between two"),
        (lambda est: pm.compare({"a": est}, prices={"a": 0}), "above 0"),
        (lambda est: pm.compare({"a": est}).rows("metric"), "did you mean metrics"),
        (lambda est: pm.compare({"a": est}).speedup("b"), 'unknown estimate "b"'),
        (lambda est: pm.compare({"a": est}, prices={"hh": 3}), "unknown price of"),
    ],
)
def test_one_clear_error(table, call, told):
    with pytest.raises(InputError, match=told):
        call(table["H100"])


def test_any_kind_is_compared(table):
    model, one = table["H100"].model, pm.Cluster.load("dgx-h100", devices=1)
    batch = pm.estimate(model, pm.Inference(input_length=128, output_length=8), pm.Parallel(), one)
    load = pm.estimate(model, pm.Serving(input_length=128, output_length=8), pm.Parallel(), one)
    found = pm.compare({"batch": batch, "load": load, "step": table["H100"]})
    assert found.speedup("load") == load.samples_per_second / batch.samples_per_second
    assert found.loc["batch", "ttft"] == batch.ttft
    assert found.rows()["step"]["ttft"] is None
    assert "tpot" in repr(found)


def test_a_price_is_needed_to_break_even(table):
    other = pm.compare({"MI300X": on("mi300x-8"), "H100": table["H100"]})
    with pytest.raises(InputError, match="price of MI300X is not known"):
        other.break_even()
    with pytest.raises(UnknownNameError):
        other.break_even(2, of="A100")


def test_models_layouts_and_software_are_compared(table):
    est = table["H100"]
    found = pm.compare({
        "now": est, "fp8": pm.what_if(est, precision="fp8").after, "nemo": pm.what_if(est, software="nemo").after,
        "small": pm.what_if(est, model="llama-3.2-1b").after, "tp 4": pm.what_if(est, tp=4).after,
    })  # fmt: skip
    assert found.speedup("now") == 1
    assert found.speedup("small") > found.speedup("fp8") > 1


def test_it_prints_and_draws(table):
    text = repr(table)
    assert "USD a million tokens" in text
    assert len({len(line) for line in text.splitlines()}) == 1
    assert "<table>" in table._repr_html_()
    ax = Figure().subplots()
    assert table.plot(ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == list(table)
    assert pm.plot.comparison(table, ax=Figure().subplots()).get_xlabel() == "times as much as H100"
