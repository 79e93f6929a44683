"""Dual numbers: values are those of floats and arrays, slopes those of calculus."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel import ops
from perfmodel.duals import Dual, slopes_of, variables

POSITIVE = st.floats(0.1, 10)
EACH = {
    "add": lambda x, y: 3 + x + y + 2,
    "subtract": lambda x, y: 5 - x - y - 1,
    "multiply": lambda x, y: 2 * x * y * x,
    "divide": lambda x, y: 3 / x + x / y / 2,
    "negate": lambda x, y: -x + y,
    "python power": lambda x, y: x**2 + 2**y + x**y,
    "power": lambda x, y: ops.power(ops.power(x, 1.5) + ops.power(y, 1.5), 1 / 1.5) + ops.power(2.0, x),
    "exponent": ops.power,
    "sqrt": lambda x, y: ops.sqrt(x * y),
    "log2": lambda x, y: ops.log2(x) * y,
    "log": lambda x, y: ops.log(x) * y,
    "exp": lambda x, y: ops.exp(x / y),
    "absolute": lambda x, y: ops.absolute(x - 20) + ops.absolute(y),
    "maximum": lambda x, y: ops.maximum(3 * x, 0.2) + ops.maximum(x, y + 50),
    "minimum": lambda x, y: ops.minimum(3 * x, 1000) + ops.minimum(60 + x, y),
    "where": lambda x, y: ops.where(ops.greater(x, 100), x, y * y) + ops.where(ops.at_least(y, -1), x, 0.0),
    "ceil": lambda x, y: ops.ceil(x) + y,
    "floor": lambda x, y: ops.floor(x) * y,
}  # fmt: skip


def bumped(function, x, y, step=1e-5):
    by_x = (function(x * (1 + step), y) - function(x * (1 - step), y)) / (2 * step * x)
    by_y = (function(x, y * (1 + step)) - function(x, y * (1 - step))) / (2 * step * y)
    return [by_x, by_y]


@pytest.mark.parametrize("name", EACH)
@given(x=POSITIVE, y=POSITIVE)
def test_slopes_are_those_of_calculus(name, x, y):
    function = EACH[name]
    if name in ("ceil", "floor") and abs(x - round(x)) < 1e-3:
        return
    found = function(*variables([x, y]))
    assert found.value == pytest.approx(function(x, y), rel=1e-14)
    assert slopes_of(found, 2) == pytest.approx(bumped(function, x, y), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_arrays_are_configurations(name):
    x, y = np.array([0.3, 1.7, 4.2]), np.array([[0.4], [2.9]])
    whole = EACH[name](*variables([x, y]))
    for row in range(2):
        for column in range(3):
            one = EACH[name](*variables([float(x[column]), float(y[row, 0])]))
            assert np.broadcast_to(plain(whole), (2, 3))[row, column] == pytest.approx(plain(one), rel=1e-13)
            slopes = np.broadcast_to(slopes_of(whole, 2), (2, 3, 2))[row, column]
            assert slopes == pytest.approx(slopes_of(one, 2), rel=1e-12)


def plain(value):
    return ops.plain(value)


def test_arrays_leave_arithmetic_to_dual_numbers():
    (x,) = variables([2.0])
    for found in (np.array([1.0, 3.0]) * x, np.float64(3) * x, np.array([1.0, 3.0]) - x, np.array([1.0]) / x):
        assert isinstance(found, Dual)
    assert (np.array([1.0, 3.0]) / x).slopes.tolist() == [[-0.25], [-0.75]]


def test_a_kink_takes_the_branch_that_is_taken():
    x, y = variables([1.0, 1.0])
    assert ops.maximum(x, y).slopes.tolist() == ops.minimum(x, y).slopes.tolist() == [1, 0]
    assert ops.maximum(2.0, x) == 2.0


def test_no_work_has_no_slope():
    x, _ = variables([2.0, 1.0])
    assert ops.power(0.0 * x, 0.5).slopes.tolist() == [0, 0]
    assert (0.0 * x / 1e-300).slopes.tolist() == [0, 0]


def test_comparisons_are_those_of_the_values():
    x, y = variables([1.0, 2.0])
    assert x < y and x <= 1.0 and y > 1 and y >= y
    assert x == x and x != y and x != 1.0 and not ops.certain(x == Dual(1.0, y.slopes))
    assert (np.array([0.5, 2.0]) < y).tolist() == [True, False]
    assert not ops.certain(ops.greater(x, y))


def test_a_plain_number_has_no_slopes():
    assert slopes_of(3.0, 2).tolist() == [0, 0]
    assert slopes_of(np.ones(3), 2).shape == (3, 2)
    assert ops.plain(3.0) == 3.0 and ops.plain(variables([math.pi])[0]) == math.pi
    assert repr(Dual(1.5)) == "Dual(1.5, slopes=0.0)"
