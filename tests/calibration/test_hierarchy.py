"""A joint fit: families near their kin where they have few runs, on their own where they have many."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.calibration.hierarchy import Levels, fit_jointly, refit

RNG = np.random.default_rng(7)


def joint(families: dict[str, tuple[int, float]], *, noise: float = 0.02, outlier: float = 0.0):
    """Runs whose log time is a constant of their family, plus noise."""
    members = [("all", name) for name, (count, _) in families.items() for _ in range(count)]
    truth = np.array([value for count, value in families.values() for _ in range(count)])
    logs = truth + noise * RNG.standard_normal(len(truth))
    logs[0] += outlier
    levels = Levels(members, np.zeros(1), lambda key: np.array([0.3]))
    found = fit_jointly(lambda row, x: x[..., 0], np.exp(logs), levels, np.ones(len(members)))
    return found, lambda name: float(levels.of(found.shares, ("all", name))[0])


def test_a_family_with_many_runs_goes_its_own_way():
    _, of = joint({"a": (40, 0.5), "b": (40, -0.5)})
    assert of("a") == pytest.approx(0.5, abs=0.02)
    assert of("b") == pytest.approx(-0.5, abs=0.02)


def test_a_family_that_nobody_measured_is_typical():
    _, of = joint({"a": (40, 0.4), "b": (40, 0.2)})
    assert of("unheard of") == pytest.approx(0.2, abs=0.11)
    assert of("unheard of") < of("a")


def test_few_runs_stay_nearer_to_their_kin_than_many():
    _, few = joint({"kin": (60, 0.0), "new": (1, 0.6)})
    _, many = joint({"kin": (60, 0.0), "new": (60, 0.6)})
    assert few("new") < many("new")


def test_an_odd_run_is_let_be():
    _, of = joint({"a": (20, 0.1)}, outlier=3.0)
    assert of("a") == pytest.approx(0.1, abs=0.05)


def test_a_group_that_is_left_out_has_no_say():
    found, of = joint({"a": (30, 0.5), "b": (30, 0.0)})
    kept = np.array([member[1] != "a" for member in found.levels.members])
    shares = refit(found, kept)
    left = float(found.levels.of(shares, ("all", "a"))[0])
    assert left < of("a")
    assert left == pytest.approx(float(found.levels.of(shares, ("all", "unheard of"))[0]))


def test_a_level_of_no_width_is_held():
    levels = Levels([("held",)] * 5, np.array([0.25]), lambda key: np.zeros(1))
    found = fit_jointly(lambda row, x: x[..., 0], np.full(5, 9.0), levels, np.ones(5))
    assert found.shares.tolist() == [[0.0]]
