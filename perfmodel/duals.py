"""Dual numbers: a value with its derivatives, which go through every formula beside it (forward-mode differentiation).

A `Dual` holds a value and its slopes in any number of directions at once. Arithmetic and the functions of
`perfmodel.ops` carry both by the chain rule, so that one pass through the formulas gives a prediction and all of its
derivatives, exact to rounding; a value may be an array over configurations. At a kink (`maximum` of two that tie) the
slopes are those of the branch that is taken there: one-sided. What steps (`ceil`, `floor`) is flat.

>>> from perfmodel import ops
>>> x, y = variables([3.0, 4.0])
>>> ops.sqrt(x * x + y * y)
Dual(5.0, slopes=[0.6 0.8])
>>> ops.maximum(x, 2 * y).slopes
array([0., 2.])

References
----------
Griewank, Walther (2008), Evaluating Derivatives, 2nd edition, chapter 3, doi:10.1137/1.9780898717761
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from perfmodel import ops
from perfmodel.ops import Backend, register

__all__ = ["Dual", "slopes_of", "variables"]


class Dual:
    """A number with its derivatives.

    Parameters
    ----------
    value : a float, or an array over configurations
    slopes : derivatives, along the last axis; 0.0 where none of them is any
    """

    __slots__ = ("slopes", "value")
    __array_ufunc__ = None  # arrays leave arithmetic with dual numbers to these
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, slopes: Any = 0.0) -> None:
        self.value, self.slopes = value, slopes

    def __repr__(self) -> str:
        return f"Dual({self.value}, slopes={np.asarray(self.slopes)})"

    def __add__(self, other: Any) -> Dual:
        value, slopes = _parts(other)
        return Dual(self.value + value, self.slopes + slopes)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Dual:
        value, slopes = _parts(other)
        return Dual(self.value - value, self.slopes - slopes)

    def __rsub__(self, other: Any) -> Dual:
        return Dual(other - self.value, -self.slopes)

    def __mul__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            slopes = _along(other.value) * self.slopes + _along(self.value) * other.slopes
            return Dual(self.value * other.value, slopes)
        return Dual(self.value * other, _along(other) * self.slopes)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Dual:
        value, slopes = _parts(other)
        quotient = self.value / value
        return Dual(quotient, (self.slopes - _along(quotient) * slopes) / _along(value))

    def __rtruediv__(self, other: Any) -> Dual:
        quotient = other / self.value
        return Dual(quotient, -_along(quotient) * self.slopes / _along(self.value))

    def __pow__(self, other: Any) -> Dual:
        return _power(self, other)

    def __rpow__(self, other: Any) -> Dual:
        return _power(other, self)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slopes)

    def __lt__(self, other: Any) -> Any:
        return self.value < _value(other)

    def __le__(self, other: Any) -> Any:
        return self.value <= _value(other)

    def __gt__(self, other: Any) -> Any:
        return self.value > _value(other)

    def __ge__(self, other: Any) -> Any:
        return self.value >= _value(other)

    def __eq__(self, other: object) -> Any:
        """Alike in value and in all slopes: only then one may stand for the other."""
        value, slopes = _parts(other)
        return (self.value == value) & np.all(np.asarray(self.slopes) == slopes, axis=-1)


def variables(values: Sequence[Any]) -> list[Dual]:
    """Numbers to differentiate by, each a direction of its own.

    Parameters
    ----------
    values : floats or arrays

    Examples
    --------
    >>> variables([3.0, 4.0])[1]
    Dual(4.0, slopes=[0. 1.])
    """
    return [Dual(value, slopes) for value, slopes in zip(values, np.eye(len(values)), strict=True)]


def slopes_of(number: Any, directions: int) -> Any:
    """Derivatives of a number in so many directions, along the last axis; none of a plain number.

    Parameters
    ----------
    number : of any kind
    directions : how many [-]

    Examples
    --------
    >>> slopes_of(2.0, 3)
    array([0., 0., 0.])
    """
    value, slopes = _parts(number)
    return np.broadcast_to(slopes, (*np.shape(value), directions))


def _value(number: Any) -> Any:
    return number.value if isinstance(number, Dual) else number


def _parts(number: Any) -> tuple[Any, Any]:
    return (number.value, number.slopes) if isinstance(number, Dual) else (number, 0.0)


def _along(value: Any) -> Any:
    """A value as a factor of slopes, whose last axis are the directions."""
    return value[..., None] if isinstance(value, np.ndarray) else value


def _where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, np.ndarray):
        return a if condition else b
    (value_a, slopes_a), (value_b, slopes_b) = _parts(a), _parts(b)
    return Dual(np.where(condition, value_a, value_b), np.where(_along(condition), slopes_a, slopes_b))


def _power(base: Any, exponent: Any) -> Dual:
    """A base of 0 has no slope: what is 0 here is no work at all, whatever the rates."""
    (x, of_x), (p, of_p) = _parts(base), _parts(exponent)
    value = ops.power(x, p)
    there = ops.where(ops.greater(x, 0), x, 1.0)
    slopes = _along(ops.where(ops.greater(x, 0), p * value / there, 0.0)) * of_x
    if isinstance(exponent, Dual):
        slopes = slopes + _along(value * ops.log(there)) * of_p
    return Dual(value, slopes)


def _chained(function: str, slope: Any) -> Any:
    """A function of one number, given its derivative in terms of argument and value."""

    def carried(x: Dual) -> Dual:
        value = getattr(ops, function)(x.value)
        return Dual(value, _along(slope(x.value, value)) * x.slopes)

    return carried


register(Dual, Backend("dual", 15, {
    "maximum": lambda a, b: _where(_value(a) >= _value(b), a, b),
    "minimum": lambda a, b: _where(_value(a) <= _value(b), a, b),
    "ceil": lambda a: ops.ceil(a.value),
    "floor": lambda a: ops.floor(a.value),
    "sqrt": _chained("sqrt", lambda x, value: 0.5 / value),
    "log2": _chained("log2", lambda x, value: 1.0 / (x * math.log(2.0))),
    "log": _chained("log", lambda x, value: 1.0 / x),
    "exp": _chained("exp", lambda x, value: value),
    "power": _power,
    "absolute": lambda a: _where(a.value >= 0, a, -a),
    "where": _where,
    "plain": _value,
}))  # fmt: skip
