"""A user's own runs give a software set of their own."""

from __future__ import annotations

import json

import pytest

import perfmodel as pm
from perfmodel.calibration import calibrate_stack
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.validation import validate_rows
from perfmodel.validation.scores import read_rows
from tests.conftest import ROOT

RUNS = read_rows(ROOT / "tests/golden/measurements/training.jsonl")


def slowed(factor: float, count: int = 10):
    """Runs whose measured time is what is predicted, so many times over."""
    rows = [row for row in RUNS if str(row["software"]).startswith("NeMo (dgxc")][:count]
    predicted = {score.id: score.predicted for score in validate_rows(rows).of("step_time")}
    return [{**row, "measured": {"step_time_s": factor * predicted[str(row["id"])]}} for row in rows]


def test_constants_follow_the_runs_and_errors_shrink():
    found = calibrate_stack(slowed(1.3))
    assert found.before.median == pytest.approx(1 - 1 / 1.3, rel=0.05)
    assert found.held.median < 0.5 * found.before.median
    assert found.runs == 10


def test_runs_that_are_as_predicted_change_little():
    found = calibrate_stack(slowed(1.0))
    assert found.held.median < 0.01


def test_a_set_is_written_and_read_again(tmp_path):
    path = tmp_path / "mine.yaml"
    found = calibrate_stack(slowed(1.2, 4))
    saved = found.save(path)
    assert pm.Software.load(str(path)) == saved
    assert saved.id == "mine"
    assert "matmul" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_runs_of_several_stacks_are_refused():
    two = [next(row for row in RUNS if str(row["software"]).startswith(name)) for name in ("NeMo", "MXNet")]
    with pytest.raises(UnsupportedError, match="one stack at a time"):
        calibrate_stack(two)


def test_rows_without_a_time_are_refused():
    with pytest.raises(InputError, match="perfmodel validate says why"):
        calibrate_stack([{**RUNS[0], "measured": {}}])


def test_a_fit_begins_with_the_constants_of_the_architecture():
    found = calibrate_stack(slowed(1.0, 4))
    start = pm.Software.load("nemo")
    (there,) = found.architectures
    assert found.start == start
    assert found.software.fit(there).model_dump() == pytest.approx(start.fit(there).model_dump(), rel=0.02)
    assert set(found.software.on) == set(start.on)


def test_what_is_left_out_is_told():
    runs = slowed(1.3)
    assert calibrate_stack(runs).unseen.startswith("each source, model, hardware")
    kin = [
        run | {"source": "own", "model": runs[0]["model"], "hardware": runs[0]["hardware"]}
        for run in runs[:3]
    ]
    alike = calibrate_stack([run | {"software": runs[0]["software"]} for run in kin])
    assert alike.unseen == "each row left out in turn"
    assert alike.held.rows == 3


def test_advice_and_questions_take_a_set_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    saved = calibrate_stack(slowed(1.2, 4)).save(path)
    job = (
        pm.Model.load("llama-3.1-8b"),
        pm.Training(global_batch=128, sequence_length=4096),
        pm.Parallel(tp=2),
        pm.Cluster.load("dgx-h100"),
    )
    est = pm.estimate(*job, software=str(path))
    assert est.step_time == pm.estimate(*job, efficiency=saved).step_time
    assert pm.what_if(est, tp=4).after.step_time > 0
    assert len(pm.advise(est))
