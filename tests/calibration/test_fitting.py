"""The robust fit: known constants come back, outliers and priors weigh what they should."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.calibration import cross_validate, fit, spread
from perfmodel.errors import InputError

SIZE = np.geomspace(1e3, 1e9, 60)
TRUTH = np.array([3e-6, 8e11])
BOUNDS = {"lower": [1e-7, 1e10], "upper": [1e-4, 1e13]}


def line(constants):
    return constants[0] + SIZE / constants[1]


def noisy(size=0.05, seed=0):
    return line(TRUTH) * np.exp(np.random.default_rng(seed).normal(0, size, SIZE.size))


def test_constants_come_back_within_their_standard_errors():
    inside = 0
    for seed in range(20):
        found = fit(line, noisy(seed=seed), [1e-6, 1e12], **BOUNDS)
        inside += int(np.sum(np.abs(found.values - TRUTH) < found.errors))
        assert np.all(np.abs(found.values / TRUTH - 1) < 0.1)
    assert 18 <= inside <= 36  # 27 of 40 expected at one standard error


def test_an_outlier_moves_little():
    measured = noisy()
    clean = fit(line, measured, [1e-6, 1e12], **BOUNDS)
    measured[30] *= 30
    spoilt = fit(line, measured, [1e-6, 1e12], **BOUNDS)
    assert np.all(np.abs(spoilt.values / clean.values - 1) < 0.03)


def test_a_prior_holds_what_the_data_do_not_show():
    def flat(constants):
        return constants[0] + 0 * SIZE * constants[1]

    found = fit(flat, np.full(60, 2e-6), [1e-6, 5e11], prior_width=[np.inf, 0.2], **BOUNDS)
    assert found.values == pytest.approx([2e-6, 5e11], rel=1e-4)
    assert found.errors[1] / found.values[1] == pytest.approx(0.2, rel=1e-3)


def test_a_tight_prior_wins_and_a_wide_one_loses():
    tight = fit(line, noisy(), [1e-6, 1e12], prior_width=1e-4, **BOUNDS)
    wide = fit(line, noisy(), [1e-6, 1e12], prior_width=10, **BOUNDS)
    free = fit(line, noisy(), [1e-6, 1e12], **BOUNDS)
    assert tight.values == pytest.approx([1e-6, 1e12], rel=1e-2)
    assert wide.values == pytest.approx(free.values, rel=1e-3)


def test_equal_bounds_hold_a_constant():
    found = fit(line, noisy(), [1e-6, 8e11], lower=[1e-7, 8e11], upper=[1e-4, 8e11])
    assert found.values[1] == pytest.approx(8e11)
    assert np.isnan(found.errors[1])
    assert not found.at_bound.any()


def test_a_bound_that_is_reached_is_told():
    found = fit(line, noisy(), [1e-5, 1e12], lower=[8e-6, 1e10], upper=[1e-4, 1e13])
    assert found.at_bound.tolist() == [True, False]
    assert np.isnan(found.errors[0])


def test_rows_without_weight_have_no_say():
    measured, weights = noisy(), np.ones(60)
    measured[::2], weights[::2] = 1.0, 0.0
    found = fit(line, measured, [1e-6, 1e12], weights=weights, **BOUNDS)
    assert np.all(np.abs(found.values / TRUTH - 1) < 0.1)
    assert np.abs(found.residuals[0]) > 1


def test_the_jacobian_is_that_of_the_logarithms():
    found = fit(line, line(TRUTH), [1e-6, 1e12], **BOUNDS)
    share = TRUTH[0] / line(TRUTH)
    assert found.jacobian == pytest.approx(np.stack([share, share - 1], axis=1), abs=1e-5)


def test_left_out_groups_are_predicted_by_the_others():
    measured = noisy()
    left = cross_validate(line, measured, [1e-6, 1e12], groups=np.arange(60) % 4, **BOUNDS)
    seen = fit(line, measured, [1e-6, 1e12], **BOUNDS).residuals
    assert spread(left).median == pytest.approx(spread(seen).median, abs=0.01)
    assert spread(left).median < 0.06


@pytest.mark.parametrize(
    ("measured", "options", "says"),
    [
        (np.zeros(60), BOUNDS, "above 0 s"),
        (np.ones(60), {**BOUNDS, "lower": [0, 1]}, "bounds above 0"),
        (np.ones(60), {**BOUNDS, "weights": np.zeros(60)}, "no rows"),
    ],
)
def test_what_can_not_be_fitted_is_refused(measured, options, says):
    with pytest.raises(InputError, match=says):
        fit(line, measured, [1e-6, 1e12], **options)


def test_no_rows_have_no_spread():
    assert spread(np.array([])).rows == 0
