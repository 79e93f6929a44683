"""Kendall's tau over layouts."""

from __future__ import annotations

import pytest

from perfmodel.validation.ranking import kendall_tau, rankings
from perfmodel.validation.scores import Score


def row(tp, micro_batch=1, **other):
    return {
        "id": f"{tp}-{micro_batch}-{other}", "source": "s", "hardware": "h", "devices": 8, "model": {"name": "m"},
        "parallel": {"tp": tp}, "micro_batch": micro_batch, "recompute": "none",
        "measured": {"step_time_s": 1.0}, **other,
    }  # fmt: skip


def score(one, measured, predicted):
    return Score(str(one["id"]), "step_time", measured, predicted, {})


def test_tau_counts_ties_of_both_sides():
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / (2 * 3) ** 0.5)
    assert kendall_tau([1, 1], [1, 2]) == 0.0


def test_series_are_rows_that_differ_in_layout_alone():
    rows = [row(1), row(2), row(4), row(8, precision="fp8")]
    scores = [score(one, t, t) for one, t in zip(rows, (3.0, 2.0, 1.0, 0.5), strict=True)]
    (found,) = rankings(rows, scores)
    assert (found.layouts, found.tau, found.regret) == (3, 1.0, 0.0)


def test_regret_is_what_the_chosen_layout_costs():
    rows = [row(1), row(2), row(4)]
    scores = [score(one, *t) for one, t in zip(rows, ((1.0, 2.0), (1.5, 1.0), (3.0, 3.0)), strict=True)]
    assert rankings(rows, scores)[0].regret == pytest.approx(0.5)
