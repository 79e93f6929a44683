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
