"""Held-out predictions: what `tools/stacks.py` left belongs to today's code, and is as good as the pages say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perfmodel.validation import validate_rows
from perfmodel.validation.scores import groups_of, read_rows
from tests.conftest import ROOT

FOUND = json.loads((ROOT / "tests/golden/held_out.json").read_text(encoding="utf-8"))
ROWS = read_rows(ROOT / "tests/golden/measurements/training.jsonl")

pytestmark = pytest.mark.golden


def errors(column: str, task: str) -> np.ndarray:
    rows = [row for row in ROWS if groups_of(row)["task"] == task]
    return np.array([FOUND["runs"][row["id"]][column] / row["measured"]["step_time_s"] - 1 for row in rows])


def test_every_run_was_held_out():
    assert set(FOUND["runs"]) == {row["id"] for row in ROWS}


def test_the_sets_were_fitted_with_this_code():
    """A change of physics needs a fit: run `make accuracy`."""
    some = ROWS[::9]
    scores = validate_rows(some).of("step_time")
    assert len(scores) == len(some)
    for score in scores:
        assert score.predicted == pytest.approx(FOUND["runs"][score.id]["fitted"], rel=1e-3), score.id


@pytest.mark.parametrize(
    ("column", "task", "median", "p90"),
    [
        ("group", "language models", 0.08, 0.30),
        ("generation", "language models", 0.10, None),
        ("source", "language models", 0.15, None),
        ("group", "others", 0.15, None),
    ],
)
def test_runs_that_the_fit_did_not_see_are_predicted_as_promised(column, task, median, p90):
    size = np.abs(errors(column, task))
    assert np.median(size) <= median
    assert p90 is None or np.percentile(size, 90) <= p90


def test_bands_are_honest():
    """Eight in ten, within six points."""
    assert FOUND["coverage"] == pytest.approx(0.8, abs=0.06)
