"""The joint fit of engines: what is asked, what is thinned out, and what is held out."""

from __future__ import annotations

import json

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.calibration import cross_validate_batches
from perfmodel.calibration.batches import counted_batches, quantities, thinned
from perfmodel.calibration.engine_constants import ENGINE_CONSTANTS, engine_centre, to_engine
from perfmodel.calibration.engines import fit_engines, held_out_values
from perfmodel.efficiency import Engine, EngineFit
from perfmodel.errors import UnknownNameError
from perfmodel.validation.measured import measured_metrics
from perfmodel.validation.scores import read_rows
from tests.conftest import ROOT

ROWS = read_rows(ROOT / "tests/golden/measurements/inference.jsonl")
FOUND = json.loads((ROOT / "tests/golden/held_out_inference.json").read_text(encoding="utf-8"))
QUANTITY = {"prefill_time": "prefill", "ttft": "prefill", "decode_time": "decode", "tpot": "decode"}


def errors(column: str, quantity: str) -> np.ndarray:
    found = []
    for row in ROWS:
        for metric, predicted in FOUND.get(row["id"], {}).items():
            kind = "offline" if row["phase"] == "offline_throughput" else QUANTITY.get(metric, "latency")
            if kind == quantity:
                found.append(predicted[column] / measured_metrics(row)[metric] - 1)
    return np.abs(found)


def test_constants_of_engines_are_fields_with_a_centre() -> None:
    names = {one.name for one in ENGINE_CONSTANTS}
    assert names | {"overlapped", "straggling"} == set(EngineFit.model_fields)
    fit = to_engine(engine_centre())
    assert all(abs(getattr(fit, one.name) / one.centre - 1) < 1e-9 for one in ENGINE_CONSTANTS)


def test_predictions_by_several_constants_at_once_are_those_of_each() -> None:
    batch = counted_batches(ROWS[:1])[0]
    several = engine_centre() + np.array([[0.0], [0.1]])
    both = batch.predicted(to_engine(several))["latency"]
    each = [float(batch.predicted(to_engine(one))["latency"]) for one in several]
    assert both.tolist() == pytest.approx(each)


@pytest.mark.parametrize("software", ["vLLM ~0.6.1", "TensorRT-LLM ~0.12", "TensorRT-LLM 0.9", "vLLM 0.12"])
def test_a_fit_asks_what_estimate_answers(software: str) -> None:
    """One function counts a batch for both, waves included."""
    rows = [row for row in ROWS if row["software"].startswith(software)]
    batches = counted_batches(rows)
    waves = [batch.counted.waves for batch in batches if batch.counted is not None]
    assert (max(waves, default=1) > 1) == ("~" in software)
    for batch in (
        *batches[:3],
        *(one for one in batches if one.counted is not None and one.counted.waves > 1),
    ):
        model, work, layout, cluster, engine = batch.job
        est = pm.estimate(model, work, layout, cluster, software=engine.id)
        found = batch.predicted(engine.fit(cluster.device.architecture))
        assert {name: getattr(est, name) for name in found} == pytest.approx(found)


def test_static_batches_are_not_scheduled() -> None:
    rows = [row for row in ROWS if "static batch" in row["software"]]
    assert rows
    assert all(batch.counted is not None and batch.counted.waves == 1 for batch in counted_batches(rows))


def test_a_fit_comes_nearer_and_holds_out() -> None:
    rows = [row for row in ROWS if row["software"].startswith(("ExLlama", "AutoAWQ", "TinyChat"))]
    batches = counted_batches(rows)
    engines = fit_engines(batches, iterations=4)
    size = np.abs(engines.joint.predicted - engines.joint.truth)
    before = [
        np.log(float(batches[one.batch].predicted(to_engine(engine_centre()))[one.metric]) / one.measured)
        for one in engines.asked
    ]
    assert np.median(size) < np.median(np.abs(before))
    held = held_out_values(engines, batches, "group")
    assert len(held.predicted) == len(quantities(batches))
    assert len(held.report.scores) == len(held.predicted)


def test_an_engine_that_was_not_measured_is_as_those_of_its_runtime() -> None:
    rows = [row for row in ROWS if row["software"].startswith(("ExLlama", "AutoAWQ", "TinyChat"))]
    engines = fit_engines(counted_batches(rows), iterations=2)
    python, native, none = (engines.constants(Engine.load(name)) for name in ("flexgen", "mlx", "habana"))
    assert python != native  # no row is of an engine in native code
    assert native == none


def test_a_port_to_another_vendor_says_nothing_of_the_engine_elsewhere() -> None:
    rows = [row for row in ROWS if row["software"] == "vLLM ~0.6.1" and row["batch"] <= 16]
    there = [row for row in rows if row["hardware"] == "amd-mi300x"][::8]
    here = [row for row in rows if row["hardware"] == "nvidia-h100-sxm-80gb"][::4]
    engines = fit_engines(counted_batches([*there, *here]), iterations=4)
    vllm, (amd, nvidia) = (
        Engine.load("vllm-v0"),
        (counted_batches(some)[0].job.cluster.device for some in (there, here)),
    )
    anywhere = engines.constants(vllm)
    moved = {
        device.vendor: abs(np.log(engines.constants(vllm, device).decode / anywhere.decode))
        for device in (amd, nvidia)
    }
    assert moved["AMD"] > moved["NVIDIA"]


def test_only_loads_of_servers_are_thinned_out() -> None:
    rows = [*ROWS[:20], *(row for row in ROWS if row["software"] == "TensorRT-LLM 1.0.0rc3")]
    batches = counted_batches(rows)
    kept = thinned(batches, 3)
    assert sum(batch.costs is not None for batch in kept) == 20
    groups = {batch.group for batch in batches if batch.costs is None}
    assert sum(batch.costs is None for batch in kept) == 3 * len(groups)


def test_what_can_be_left_out_is_named() -> None:
    with pytest.raises(UnknownNameError, match="device"):
        cross_validate_batches([], "moon")


@pytest.mark.golden
def test_every_value_was_held_out() -> None:
    known = {row["id"] for row in ROWS}
    assert set(FOUND) <= known
    assert len(FOUND) > 2400


@pytest.mark.golden
@pytest.mark.parametrize(
    ("quantity", "median"), [("decode", 0.30), ("prefill", 0.35), ("latency", 0.15), ("offline", 0.20)]
)
def test_values_that_the_fit_did_not_see_are_predicted_as_promised(quantity: str, median: float) -> None:
    assert np.median(errors("group", quantity)) <= median
