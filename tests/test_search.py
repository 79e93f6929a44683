"""A search finds what a loop over single estimates finds, says what became of all others, and keeps to its limits."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.estimation import estimate, fits_in_force
from perfmodel.estimation.training import estimate_training, least_training, training_memory
from perfmodel.exploration import Search, search
from perfmodel.exploration.enumeration import DEGREES
from perfmodel.exploration.keepers import Front, Leaders
from perfmodel.exploration.metrics import metric
from perfmodel.exploration.scoring import Part
from perfmodel.parallel import Parallel
from tests.strategies import any_jobs, any_model, cluster

SCHEDULES = ["1f1b", "interleaved-1f1b", "gpipe", "zbv", "dualpipev", "interleaved-zero-bubble"]
WORK = pm.Training(global_batch=24, sequence_length=512)
FEW: dict[str, Any] = {
    "cp": 1,
    "recompute": "none",
    "sequence_parallel": False,
    "micro_batch": [1, 3],
    "progress": False,
}
"""A search of some hundred layouts."""


def tight(devices: int, gib: float = 1.774) -> Any:
    """A machine whose devices have little memory, so that some layouts do not fit."""
    machine = cluster(devices)
    return machine.replace(device=machine.device.replace(memory__capacity=f"{gib} GiB"))


def every_one(found: Search) -> list[tuple[float, dict[str, Any]]]:
    """Each layout that fits, estimated alone, the best first; of equal ones the first."""
    space, rows = found.job.space, []
    for some in space.candidates():
        for place in range(some.valid):
            numbers = {name: int(some.numbers[name][place]) for name in DEGREES}
            machine = found.job.cluster.replace(devices=numbers["devices"])
            layout = some.layout.replace(**{name: numbers[name] for name in DEGREES[1:]})
            est = estimate(space.model, some.work, layout, machine)
            if est.fits:
                cost = found.objective.cost(est, found.job.terms)
                rows.append((float(cost), {**numbers, **some.structure}))
    return sorted(rows, key=lambda one: one[0])


# --- it is the brute force ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "experts"])
@pytest.mark.parametrize("objective", ["step_time", "tokens_per_second_per_device", "memory.total"])
def test_a_search_is_a_loop_over_single_estimates(kind: str, objective: str) -> None:
    model = any_model(kind, layers=4, tp=4)
    found = search(
        model, WORK, tight(8), objective=objective, top=25, schedule=SCHEDULES, sharding=["zero1", "zero3"],
        **FEW | {"recompute": ["none", "full"], "ep": [1, 2]},
    )  # fmt: skip
    expected = every_one(found)
    assert found.scores.lacking
    assert len(found) == 25 < len(expected)
    for place, (cost, row) in enumerate(expected[:25]):
        assert found.scores.kept[place].costs == (cost,)
        assert {name: found[place][name] for name in row} == row
    assert found.counts["timed"] + found.counts["beaten by their least time"] == len(expected)


def test_a_row_is_the_single_estimate_to_the_last_bit() -> None:
    found = search(
        any_model("dense", layers=8, tp=4), WORK, tight(16), top=40, devices=[8, 12, 16], progress=False
    )
    assert len({row["devices"] for row in found}) > 1
    assert {row["schedule"] for row in found} & {"zbv", "dualpipev", "interleaved-zero-bubble"}
    for row in found:
        est = row.estimate()
        assert (row["step_time"], row["mfu"], row["memory.total"]) == (
            est.step_time,
            est.mfu,
            est.memory.total,
        )
        assert row["tokens_per_second_per_device"] == est.tokens_per_second_per_device
        assert row.layout == est.layout
        assert est.fits


def test_what_became_of_candidates_adds_up() -> None:
    found = search(
        any_model("dense", layers=8, tp=4),
        WORK,
        tight(16, gib=2.14),
        devices=[4, 8, 16],
        sharding="zero3",
        **FEW,
    )
    space = found.job.space
    assert found.considered == space.size * len(list(space.structures())) == sum(found.counts.values())
    refused: Counter[str] = Counter()
    fits = lacks = 0
    for some in space.candidates():
        refused.update(some.refused)
        for place in range(some.valid):
            numbers = {name: int(some.numbers[name][place]) for name in DEGREES[1:]}
            machine = found.job.cluster.replace(devices=int(some.numbers["devices"][place]))
            chosen = fits_in_force(machine, some.work, None, None)
            memory = training_memory(space.model, some.work, some.layout.replace(**numbers), machine, chosen)
            fits, lacks = fits + bool(memory.fits), lacks + (not memory.fits)
    assert found.scores.refused == refused
    assert found.counts["do not fit"] == lacks > 0
    assert found.counts["timed"] + found.counts["beaten by their least time"] == fits
    assert sum(found.failed.values()) == lacks + sum(refused.values())
    assert list(found.failed.values()) == sorted(found.failed.values(), reverse=True)
    assert found.evaluated == fits + lacks


def test_of_equal_layouts_the_first_is_kept_whoever_answers() -> None:
    """Schedules whose time has one closed form tie; the order of enumeration decides, not who was faster."""
    given = {
        "schedule": ["gpipe", "1f1b"], "sharding": ["none", "zero1"], "recompute": "none", "sequence_parallel": False,
        "pp": 2, "progress": False,
    }  # fmt: skip
    model, machine = any_model("dense", layers=8, tp=4), cluster(8)
    alone = search(model, WORK, machine, **given)
    with ThreadPoolExecutor(4) as pool:
        together = search(model, WORK, machine, executor=pool, **given)
    assert len({one.costs for one in alone.scores.kept}) < len(alone)
    assert [one.place for one in alone.scores.kept] == [one.place for one in together.scores.kept]
    assert alone.scores.kept == together.scores.kept
    assert alone.failed == together.failed


# --- the least time -------------------------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(job=any_jobs(), name=st.sampled_from([*SCHEDULES, "looped-bfs"]), vpp=st.sampled_from([1, 2, 3]))
def test_no_schedule_is_faster_than_the_least_time(job: Any, name: str, vpp: int) -> None:
    for layout in (job.layout, job.layout.replace(schedule=name, vpp=vpp)):
        try:
            placed = layout.on(job.cluster.devices)
            placed.check(job.model, job.work)
        except InputError:
            continue
        given = (
            job.model,
            job.work,
            placed,
            job.cluster,
            fits_in_force(job.cluster, job.work, None, job.efficiency),
        )
        least, est = least_training(*given), estimate_training(*given)
        assert least.step_time <= est.step_time * (1 + 1e-12)
        assert least.memory == est.memory == training_memory(*given)


def test_layouts_that_are_beaten_by_their_least_time_are_not_timed() -> None:
    given: dict[str, Any] = {
        "recompute": "none",
        "sequence_parallel": False,
        "sharding": "zero1",
        "progress": False,
    }
    model = any_model("dense", layers=16, tp=4)
    few = search(model, WORK, cluster(16), top=1, **given)
    all_of_them = search(model, WORK, cluster(16), top=10**6, **given)
    assert few.scores.beaten > 0 == all_of_them.scores.beaten
    assert few.scores.kept[0].costs == all_of_them.scores.kept[0].costs
    assert few.considered == all_of_them.considered


# --- fronts ---------------------------------------------------------------------------------------------------------


def test_a_front_is_that_of_all_layouts() -> None:
    model, machine = any_model("dense", layers=8, tp=4), tight(16, gib=2.14)
    found = search(model, WORK, machine, top=10**6, sharding=["zero1", "zero3"], **FEW)
    points = np.array([(row["step_time"], row["memory.total"]) for row in found])
    front = found.top(1).pareto("step_time", "memory.total")
    best = sorted(
        {tuple(p) for p in points if not ((points <= p).all(axis=1) & (points < p).any(axis=1)).any()}
    )
    assert [(row["step_time"], row["memory.total"]) for row in front] == best
    assert len(best) > 1
    assert front.scores.beaten > 0


# --- limits, objectives, prices ------------------------------------------------------------------------------------


def test_limits_are_kept_and_what_exceeds_them_is_counted() -> None:
    model, machine = any_model("dense", layers=8, tp=4), cluster(16)
    free = search(model, WORK, machine, top=10**6, **FEW)
    bytes_, seconds = (np.median([row[name] for row in free]) for name in ("memory.total", "step_time"))
    bound = search(model, WORK, machine, top=10**6, memory=bytes_, step_time=seconds, **FEW)
    expected = [row for row in free if row["memory.total"] <= bytes_ and row["step_time"] <= seconds]
    assert [one["step_time"] for one in bound] == [one["step_time"] for one in expected]
    assert sum(bound.scores.outside.values()) == bound.counts["timed, beyond a limit"] > 0
    assert any(reason.startswith("memory exceeds ") and reason[15].isdigit() for reason in bound.failed)
    assert any(reason.startswith("a step takes more than ") for reason in bound.failed)


def test_money_days_and_energy() -> None:
    model, machine = any_model("dense", layers=8, tp=4), cluster(16)
    given: dict[str, Any] = {"tokens": 1e12, "price": 2.0, "power": 500.0, **FEW}
    found = search(model, WORK, machine, objective="cost", devices=[4, 8, 16], **given)
    best = found.best
    steps = 1e12 / (24 * 512)
    assert best["time_to_train"] == pytest.approx(best["step_time"] * steps)
    assert best["cost"] == pytest.approx(best["time_to_train"] * best["devices"] * 2 / 3600)
    assert best["energy"] == pytest.approx(best["time_to_train"] * best["devices"] * 500)
    assert best["devices"] == 4
    dear = search(
        model,
        WORK,
        machine,
        objective="time_to_train",
        devices=[4, 8, 16],
        budget=best["cost"] * 1.05,
        **given,
    )
    assert dear.best["cost"] <= best["cost"] * 1.05
    assert any(reason.startswith("it costs more than ") for reason in dear.failed)
    least = search(model, WORK, machine, devices=[4, 8, 16], max_devices=8, **FEW)
    assert {row["devices"] for row in least} <= {4, 8}


def test_what_a_number_needs_is_asked_for() -> None:
    model, machine = any_model("dense", layers=4, tp=4), cluster(8)
    with pytest.raises(InputError, match=r"cost needs the price .* price=2\.5"):
        search(model, WORK, machine, objective="cost")
    with pytest.raises(InputError, match="tokens=15e12"):
        search(model, WORK, machine, deadline="30 d")
    with pytest.raises(InputError, match="energy needs the power"):
        search(model, WORK, machine, **FEW).pareto("step_time", "energy")
    with pytest.raises(InputError, match="limits ttft, which Training has not"):
        search(model, WORK, machine, ttft=1.0)


def test_a_result_that_a_model_has_not_is_told() -> None:
    work = pm.Training(global_batch=64)
    found = search(pm.resnet50(), work, cluster(8), objective="tokens_per_second_per_device", progress=False)
    assert not len(found)
    assert any(reason.endswith("has no tokens_per_second_per_device") for reason in found.failed)
    images = search(
        pm.resnet50(), work, cluster(8), objective="samples_per_second_per_device", progress=False
    )
    assert images.best["dp"] == 8
    assert "samples_per_second_per_device" in images.headline


# --- what is fixed --------------------------------------------------------------------------------------------------


def test_fields_fix_and_lists_restrict() -> None:
    model, machine = any_model("dense", layers=8, tp=4), cluster(16)
    found = search(model, WORK, machine, top=500, tp=2, pp=[1, 4], **FEW | {"recompute": ["none", "full"]})
    assert {row["tp"] for row in found} == {2}
    assert {row["pp"] for row in found} == {1, 4}
    assert {row["recompute"] for row in found} == {"none", "full"}


def test_what_work_and_layout_state_is_kept() -> None:
    model, machine = any_model("dense", layers=8, tp=4), cluster(16)
    layout = Parallel(tp=4, sharding="zero3", overlap=("dp",))
    found = search(model, WORK.replace(recompute="full"), machine, layout, progress=False)
    for row in found:
        assert (row.layout.tp, row.layout.sharding, row.layout.overlap) == (4, "zero3", ("dp",))
        assert row.inputs.work.recompute == "full"
    assert "sharding" not in found.varied
    assert "recompute" not in found.varied


def test_names_that_nobody_knows_are_answered_with_near_ones() -> None:
    model, machine = any_model("dense", layers=4, tp=4), cluster(8)
    with pytest.raises(UnknownNameError, match="did you mean micro_batch"):
        search(model, WORK, machine, micro_batchs=2)
    with pytest.raises(UnknownNameError, match="did you mean step_time"):
        search(model, WORK, machine, objective="steptime")
    with pytest.raises(InputError, match="zero1"):
        search(model, WORK, machine, sharding="zero9")
    with pytest.raises(InputError, match="tp"):
        search(model, WORK, machine, tp=0)
    with pytest.raises(InputError, match="empty"):
        search(model, WORK, machine, tp=[])
    with pytest.raises(InputError, match="max_devices"):
        search(model, WORK, machine, devices=[16], max_devices=8)


def test_nothing_left_says_why() -> None:
    found = search(any_model("dense", layers=4, tp=4), WORK, tight(8, gib=0.2), progress=False)
    assert not len(found)
    with pytest.raises(InputError, match=r"none of [\d,]+ layouts is left: .*memory exceeds the device's"):
        _ = found.best
    assert "not feasible" in repr(found)


# --- inference and serving -----------------------------------------------------------------------------------------


def test_a_batch_of_inference_is_searched() -> None:
    model, machine = any_model("experts", layers=4, tp=4), cluster(8)
    work = pm.Inference(batch=8, input_length=256, output_length=64)
    found = search(model, work, machine, objective="latency", batch=[8, 16], top=10**6, progress=False)
    assert {row["batch"] for row in found} == {8, 16}
    assert {row["ep"] for row in found} > {1}
    assert [row["latency"] for row in found] == sorted(row["latency"] for row in found)
    for row in found:
        assert row["latency"] == row.estimate().latency
    bound = search(model, work, machine, tpot=found.best["tpot"], batch=[8, 16], progress=False)
    assert all(row["tpot"] <= found.best["tpot"] for row in bound)


def test_requests_are_searched() -> None:
    model, machine = any_model("dense", layers=4, tp=4), cluster(8)
    work = pm.Serving(input_length=256, output_length=64, concurrency=8)
    found = search(
        model, work, machine, objective="ttft", concurrency=[8, 32], devices=[4, 8], progress=False
    )
    best = found.best
    assert best["ttft"] == best.estimate().ttft == min(row["ttft"] for row in found)
    assert sum(found.counts.values()) == found.considered == found.job.space.size * 2
    priced = search(model, work, machine, objective="cost", price=3.6, progress=False).best
    est = priced.estimate()
    assert priced["cost"] == pytest.approx(1e6 / est.output_tokens_per_second * 8 * 1e-3)


# --- as a table, and on its way -------------------------------------------------------------------------------------


def test_it_is_printed_and_is_a_table() -> None:
    found = search(any_model("dense", layers=4, tp=4), WORK, cluster(8), top=3, **FEW)
    assert repr(found).startswith(f"{found.considered:,} layouts: ")
    assert "best by step_time" in repr(found)
    assert "<table>" in found._repr_html_()
    assert len(found.to_frame()) == len(found) == 3
    assert json.loads(json.dumps(found.to_dict()))["best"][0]["tp"] == found.best["tp"]
    assert len(found.top(2)) == 2
    assert "tp " in repr(found.best)


def test_progress_is_told_and_a_search_can_be_ended() -> None:
    told: list[tuple[int, int]] = []
    model, machine = any_model("dense", layers=4, tp=4), cluster(8)
    found = search(model, WORK, machine, **FEW | {"progress": lambda done, total: told.append((done, total))})
    assert told[-1] == (found.considered, found.considered)
    ended = search(model, WORK, machine, progress=False, cancel=lambda: len(told) > 0)
    assert ended.partial
    assert not ended.considered
    assert "ended early" in repr(ended)


@pytest.mark.parametrize("objective", ["cost", "memory.total"])
def test_a_part_is_small_to_send_and_answers_anywhere(objective: str) -> None:
    found = search(
        any_model("dense", layers=4, tp=4), WORK, cluster(8), objective=objective, price=2.0, **FEW
    )
    structure = next(found.job.space.structures())
    for keeper in (Leaders(found.objective, 5), Front(metric("ttft", pm.Serving), found.objective)):
        sent = pickle.dumps(Part(found.job, 0, structure, keeper))
        assert len(sent) < 300_000
    part = Part(found.job, 0, structure, Leaders(found.objective, 5))
    assert pickle.loads(pickle.dumps(part)).answer(None) == part.answer(None)
    assert pickle.loads(pickle.dumps(part.answer(None))) == part.answer(None)
