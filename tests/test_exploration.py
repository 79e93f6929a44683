"""A sweep as its users hold it: axes of every kind, tables in and out, the best rows, and why others are none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.exploration import sweep
from perfmodel.exploration.pareto import pareto_front
from perfmodel.exploration.plan import CHUNK
from tests.strategies import any_model, cluster, gpt

MODEL = any_model("dense", layers=8, tp=4)
WORK = pm.Training(global_batch=64, sequence_length=512)
MACHINE = cluster(32)
GRID: dict[str, Any] = {"tp": [1, 2, 4], "pp": [1, 2, 3], "micro_batch": [1, 2]}


def grid(**more: Any) -> pm.Sweep:
    return sweep(MODEL, WORK, MACHINE, **(GRID | more))


def test_the_shape_is_that_of_the_lists_in_their_order() -> None:
    found = grid(recompute=["none", "full"], sequence_parallel=True)
    assert found.shape == (3, 3, 2, 2, 1)
    assert len(found) == 36
    assert found["tp"][2, 0, 0, 0, 0] == 4
    assert found["recompute"][0, 0, 0, 1, 0] == "full"
    assert all(column.shape == found.shape for column in found.columns.values())


@pytest.mark.parametrize(
    "values", [[1, 2], range(1, 3), np.array([1, 2]), pd.Series([1, 2]), np.array([1.0, 2.0])]
)
def test_any_list_of_numbers_will_do(values: Any) -> None:
    found = sweep(MODEL, WORK, MACHINE, tp=values)
    assert found["step_time"].tolist() == [found[n].estimate().step_time for n in (0, 1)]


def test_numbers_of_the_machine_take_units_and_factors() -> None:
    found = sweep(MODEL, WORK, MACHINE, memory_bandwidth=["1x", "2 TB/s", 2e12, "+50 %", "3 TB/s"])
    times = found["terms.memory-bound"]
    assert times[0] == times[1] == times[2]
    assert times[3] == times[4] < times[0]
    assert found[4].inputs.cluster.device.memory_bandwidth == 3e12


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("peak", [1e15, "2x"]), ("memory_capacity", ["80 GiB", "1.5x"]), ("devices", [8, 16, 32]),
        ("scale_up__bandwidth", ["1x", "2x"]), ("fabric__bandwidth", ["100 Gbit/s", "2x"]),
        ("fabric__oversubscription", [1, 2.5]), ("overlap__slowdown", [0.0, 0.1]), ("host__straggling", [0, 0.02]),
        ("matmul__compute", [0.5, 0.9]), ("stream__passes", ["1x", "1.5x"]), ("schedule", ["1f1b", "gpipe"]),
        ("sharding", ["none", "zero3"]), ("precision", ["bf16", "fp16", "fp8"]), ("sequence_parallel", [False, True]),
        ("overlap", [("dp",), ("dp", "tp")]), ("dp", [None, 2, 8]), ("bucket", [None, 1000]),
        ("first_stage_layers", [None, 1, 4]), ("software", ["nemo", "torchtitan"]), ("expert_tp", [None, 1]),
        ("optimizer", ["adamw", "muon"]), ("recompute_every", [1, 2]), ("capacity_factor", [None, 1.5]),
        ("offload__optimizer", [0, 1.0]), ("device__memory__bandwidth", [1e12, 2e12]), ("gradient_sync", ["every"]),
    ],
)  # fmt: skip
def test_every_kind_of_axis_gives_what_its_rows_give_alone(name: str, values: list[Any]) -> None:
    layout = pm.Parallel(tp=2, pp=2)
    efficiency = pm.Efficiency.load("hopper") if name != "software" else None
    machine = MACHINE.replace(device__host_link={"name": "port", "bandwidth": 6e10})
    work = WORK.replace(recompute="full") if name == "recompute_every" else WORK
    found = sweep(MODEL, work, machine, layout, efficiency=efficiency, **{name: values})
    assert len(found) == len(values)
    for n in range(len(values)):
        try:
            one: Any = found[n].estimate()
        except InputError:
            assert math.isnan(found[n]["step_time"])
            assert found[n]["reason"]
        else:
            assert found[n]["step_time"] == one.step_time
            assert found[n]["memory.total"] == one.memory.total
            assert found[n]["feasible"] == bool(one.fits)


def test_constants_of_the_efficiency_take_their_units() -> None:
    times = sweep(MODEL, WORK, MACHINE, stream__latency=["10 us", 1e-5, "0.02 ms"])["step_time"]
    assert times[0] == times[1] < times[2]


def test_a_dp_that_is_left_open_is_a_result() -> None:
    assert sweep(MODEL, WORK, MACHINE, dp=[None, 32])["dp"].tolist() == [32.0, 32.0]
    assert sweep(MODEL, WORK, MACHINE, dp=[16, 32])["dp"].tolist() == [16, 32]


@pytest.mark.parametrize("schedule", ["gpipe", "zbv", "interleaved-1f1b", "interleaved-zero-bubble"])
def test_a_layout_without_columns_keeps_its_whole_numbers(schedule: str) -> None:
    layout = pm.Parallel(tp=2, pp=2, vpp=1 if schedule == "gpipe" else 2, schedule=schedule)
    found = sweep(MODEL, WORK, MACHINE, layout, memory_bandwidth=["1x", "2x"])
    assert found["reason"].tolist() == ["", ""]
    assert found["step_time"].tolist() == [found[n].estimate().step_time for n in (0, 1)]


def test_models_clusters_and_devices_are_axes() -> None:
    work = pm.Training(global_batch=64, sequence_length=1024)
    models, machines = ["gpt2", pm.Model.load("llama-3.1-8b")], ["dgx-h100", pm.Cluster.load("dgx-a100")]
    found = sweep(models, work, machines, devices=[8, 16], software=["nemo", "default"])
    assert found.shape == (2, 2, 2, 2)
    assert (
        found["model"][:, 0, 0, 0].tolist() == ["gpt2", "Llama-3.1-8B"] or found["model"].shape == found.shape
    )
    for n in (0, 7, 13):
        assert found[n]["step_time"] == found[n].estimate().step_time
    swapped = sweep("gpt2", work, machines[1], device=["nvidia-a100-sxm-80gb", "h200", "b200"])
    assert np.all(np.diff(swapped["memory.capacity"]) > 0)


def test_a_table_of_rows_groups_and_keeps_its_order() -> None:
    rows = [
        {"tp": 1, "schedule": "1f1b", "pp": 2}, {"tp": 2, "schedule": "gpipe", "pp": 2},
        {"tp": 2, "schedule": "1f1b", "pp": 3}, {"tp": 4, "schedule": "gpipe", "pp": 2},
    ]  # fmt: skip
    found = sweep(MODEL, WORK, MACHINE, rows=rows)
    assert found.shape == (4,)
    assert found["schedule"].tolist() == [row["schedule"] for row in rows]
    assert found["feasible"].tolist() == [True, True, False, True]
    assert [found[n]["step_time"] for n in (0, 1, 3)] == [found[n].estimate().step_time for n in (0, 1, 3)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    again = sweep(MODEL, WORK, MACHINE, rows=columns, memory_bandwidth=["1x", "2x"])
    assert again.shape == (4, 2)
    assert np.array_equal(again["step_time"][:, 0], found["step_time"], equal_nan=True)


def test_a_frame_comes_back_with_columns_added() -> None:
    frame = pd.DataFrame({"tp": [1, 2, 5], "pp": [2, 2, 1]}, index=["a", "b", "c"])
    found = sweep(MODEL, WORK, MACHINE, rows=frame, columns=["step_time"])
    out = found.to_frame()
    assert out.index.tolist() == ["a", "b", "c"]
    assert out.columns.tolist()[:5] == ["tp", "pp", "feasible", "reason", "step_time"]
    assert out.loc["a", "step_time"] == found[0].estimate().step_time
    assert math.isnan(out.loc["c", "step_time"])
    assert found.feasible.to_frame().index.tolist() == ["a", "b"]


def test_chunks_make_no_difference() -> None:
    whole, cut = grid(recompute=["none", "full"]), grid(recompute=["none", "full"], chunk=4)
    assert set(whole.columns) == set(cut.columns)
    for name, column in whole.columns.items():
        assert column.tolist() == cut[name].tolist() or np.array_equal(column, cut[name], equal_nan=True)
    assert whole.reasons() == cut.reasons()


def test_wanted_columns_alone_are_kept() -> None:
    found = grid(columns=["step_time", "memory.total", "terms"])
    results = [name for name in found.columns if name not in (*GRID, "feasible", "reason")]
    assert {name.partition(".")[0] for name in results} == {"step_time", "memory", "terms"}
    assert np.array_equal(found["step_time"], grid()["step_time"], equal_nan=True)
    assert "best by mfu:" in repr(grid(columns=["mfu"]))
    assert "first rows:" in repr(grid(columns=["memory"]))
    with pytest.raises(UnknownNameError, match="did you mean step_time"):
        grid(columns=["steptime"])


def test_the_best_rows_are_feasible_and_in_order() -> None:
    found = grid(memory_capacity=["1x", "2 GiB"])
    top = found.top(4, "mfu")
    assert (np.diff(top["mfu"]) <= 0).all()
    assert top["feasible"].all()
    assert found.best("step_time")["step_time"] == np.nanmin(
        np.where(found["feasible"], found["step_time"], np.nan)
    )
    assert found.top(1000, "step_time").shape == (int(found["feasible"].sum()),)
    assert found.top(3)["step_time"].tolist() == found.feasible.top(3)["step_time"].tolist()
    with pytest.raises(UnknownNameError, match="did you mean mfu"):
        found.top(3, "mfuu")


def test_a_front_is_what_nothing_beats() -> None:
    found = grid(recompute=["none", "full"])
    front = found.pareto("tokens_per_second", "memory.total")
    speed, size = found.feasible["tokens_per_second"], found.feasible["memory.total"]
    for a, b in zip(front["tokens_per_second"], front["memory.total"], strict=True):
        assert not np.any(((speed >= a) & (size < b)) | ((speed > a) & (size <= b)))
    assert pareto_front(np.array([2.0, 2.0, 1.0]), np.array([1.0, 1.0, 5.0])).tolist() == [2, 0]


def test_why_the_others_failed_is_counted_and_told() -> None:
    found = grid(memory_capacity=["1x", "1100 MiB"])
    counted = found.reasons()
    assert sum(counted.values()) == len(found) - int(found["feasible"].sum())
    assert "tp · pp · cp does not divide the devices" in counted
    assert "memory exceeds the device's" in counted
    lacking = found.filter(np.char.startswith(found["reason"].astype(str), "memory exceeds"))
    assert lacking[0]["reason"].startswith("memory exceeds the device's by ")
    assert lacking[0].why().startswith("memory: ")
    assert not np.isnan(lacking["step_time"]).any()
    broken = found.filter(found["reason"] == "tp · pp · cp does not divide the devices")
    assert "does not divide 32 devices; nearest: " in broken[0].why()
    assert np.isnan(broken["step_time"]).all()
    assert found.best().why() == ""


def test_nothing_feasible_says_why() -> None:
    with pytest.raises(InputError, match="none of 2 configurations is feasible: 2 x memory exceeds"):
        sweep(MODEL, WORK, MACHINE, memory_capacity=["1 KiB", "2 KiB"]).best()


def test_a_structure_that_cannot_be_marks_its_rows() -> None:
    found = sweep(MODEL, WORK, MACHINE, sharding=["zero1", "hsdp"], tp=[1, 2])
    assert found["feasible"].tolist() == [[True, True], [False, False]]
    assert found[2]["reason"].startswith("sharding = 'hsdp' needs shards")
    found = sweep(MODEL, WORK, MACHINE, precision=["bf16", "fp8", "bf17"])
    assert found["feasible"].tolist() == [True, False, False]
    assert found["reason"][1].startswith("invented has no known peak in fp8; known: ")
    assert 'unknown precision "bf17"; did you mean bf16?' in found["reason"][2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tpp": [1, 2]}, "did you mean pp or tp"),
        ({"memory_bandwith": [1e12]}, "did you mean memory_bandwidth"),
        ({"overlap__slowdwn": [0.1]}, "unknown axis"),
        ({}, "nothing varies"),
        ({"tp": []}, "empty list"),
        ({"rows": {"tp": [1, 2], "pp": [1]}}, "equally long"),
        ({"rows": [{"tp": 1}, {"pp": 1}]}, "lack"),
        ({"rows": {"tp": [1]}, "tp": [2]}, "given twice"),
        ({"rows": {}}, "no columns"),
        ({"memory_bandwidth": ["3 TB"]}, "unit of B"),
        ({"tp": np.ones((2, 2))}, "2 dimensions"),
        ({"software": ["nemmo"]}, "did you mean nemo"),
    ],
)
def test_a_slip_is_one_clear_error(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        sweep(MODEL, WORK, MACHINE, **arguments)


def test_files_and_json_hold_what_the_frame_holds(tmp_path: Path) -> None:
    found = grid(memory_bandwidth=["1x", 4e12])
    found.to_csv(tmp_path / "plans.csv")
    read = pd.read_csv(tmp_path / "plans.csv")
    assert read["step_time"].to_numpy() == pytest.approx(found["step_time"].ravel(), rel=1e-15, nan_ok=True)
    found.to_parquet(tmp_path / "plans.parquet")
    assert pd.read_parquet(tmp_path / "plans.parquet")["step_time"].equals(found.to_frame()["step_time"])
    told = json.loads(json.dumps(found.top(2).to_dict(), allow_nan=False))
    assert told["columns"]["step_time"] == found.top(2)["step_time"].tolist()
    assert found.to_dict(5)["columns"]["step_time"][4] is None or found["feasible"].ravel()[4]


def test_a_sweep_prints_as_a_short_table() -> None:
    found = grid()
    text, html = repr(found), found._repr_html_()
    assert text.startswith("18 configurations (tp x pp x micro_batch), 12 feasible")
    assert "best by step_time:" in text
    assert "6 x tp · pp · cp does not divide the devices" in text
    assert html.count("<tr>") == 6
    assert "step_time" in repr(found.best())


def test_ten_thousand_rows_with_a_few_malformed_ones() -> None:
    """Malformed rows are marked, each for its own reason, and touch no other."""
    draw = np.random.default_rng(7)
    rows = {name: draw.choice([1.0, 2.0, 4.0], 3 * CHUNK) for name in ("tp", "pp", "micro_batch")}
    clean = sweep(gpt(layers=8), WORK, MACHINE, rows=rows, columns=["step_time"])
    spoiled = {name: column.copy() for name, column in rows.items()}
    places = draw.choice(3 * CHUNK, 300, replace=False)
    for place, value in zip(places, np.resize([np.nan, 0.0, -3.0, 1e300, 2.5, np.inf], 300), strict=True):
        spoiled["pp"][place] = value
    found = sweep(gpt(layers=8), WORK, MACHINE, rows=spoiled, columns=["step_time"])
    assert found.reasons()["pp is no whole number from 1 to 10,000,000"] == 300
    others = np.setdiff1d(np.arange(3 * CHUNK), places)
    assert np.array_equal(found["step_time"][others], clean["step_time"][others], equal_nan=True)
    assert np.isnan(found["step_time"][places]).all()
