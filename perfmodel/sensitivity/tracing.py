"""Numbers that carry their expression: branches are taken at the value, and what has to hold for that goes along.

A `Traced` number goes through the formulas like any other (`perfmodel.ops`). What comes out is the closed form of the
regime in force, without a maximum in it, and the conditions under which it is exact.

>>> from perfmodel import ops
>>> x = Traced(3.0, sympy.Symbol("x", positive=True))
>>> found = ops.maximum(2 * x, 5.0) + 1
>>> found.expression, list(found.gaps)
(2*x + 1, [2*x - 5])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy

from perfmodel import ops
from perfmodel.errors import UnsupportedError
from perfmodel.ops import Backend, register

__all__ = ["Branch", "Gaps", "Traced", "expression_of"]

CLOSED = 1e290
"""Times above it stand for ways that are not open, and are compared with nothing [s]."""
WHOLE = 1e15
"""Floats below it that are whole are exact [-]."""

Gaps = frozenset[Any]
"""Expressions that have to stay above 0, or at it."""
NONE: Gaps = frozenset()


@dataclass(frozen=True)
class Branch:
    """A comparison that is decided.

    Parameters
    ----------
    true : how
    gaps : what has to hold for that
    """

    true: bool
    gaps: Gaps

    def __bool__(self) -> bool:
        return self.true

    def __and__(self, other: Any) -> Branch:
        return Branch(self.true and bool(other), self.gaps | _gaps(other))

    __rand__ = __and__


class Traced:
    """A number with its expression.

    Parameters
    ----------
    value : the number
    expression : in symbols
    gaps : what has to hold for it
    """

    __slots__ = ("expression", "gaps", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: float, expression: Any, gaps: Gaps = NONE) -> None:
        self.value, self.expression, self.gaps = value, expression, gaps

    def __repr__(self) -> str:
        return f"Traced({self.value}, {self.expression})"

    @property
    def free_symbols(self) -> Any:
        """Symbols that it depends on: what needs whole numbers refuses it."""
        return self.expression.free_symbols

    def __add__(self, other: Any) -> Traced:
        return Traced(
            self.value + ops.plain(other), self.expression + expression_of(other), self.gaps | _gaps(other)
        )

    __radd__ = __add__

    def __sub__(self, other: Any) -> Traced:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Traced:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Traced) and other == 0:  # nothing of it is left
            return 0.0
        return Traced(
            self.value * ops.plain(other), self.expression * expression_of(other), self.gaps | _gaps(other)
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Traced:
        return Traced(
            self.value / ops.plain(other), self.expression / expression_of(other), self.gaps | _gaps(other)
        )

    def __rtruediv__(self, other: Any) -> Any:
        return other * Traced(1.0 / self.value, 1 / self.expression, self.gaps)

    def __pow__(self, other: Any) -> Traced:
        return _power(self, other)

    def __rpow__(self, other: Any) -> Traced:
        return _power(other, self)

    def __neg__(self) -> Traced:
        return Traced(-self.value, -self.expression, self.gaps)

    def __lt__(self, other: Any) -> Branch:
        return _greater(other, self)

    def __le__(self, other: Any) -> Branch:
        return _at_least(other, self)

    def __gt__(self, other: Any) -> Branch:
        return _greater(self, other)

    def __ge__(self, other: Any) -> Branch:
        return _at_least(self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traced) and other.expression == self.expression

    def __round__(self, digits: int | None = None) -> int:
        if self.free_symbols:
            raise UnsupportedError(f"{self.expression} has to be a whole number here; leave its symbols out")
        return round(self.value)


def expression_of(number: Any) -> Any:
    """A number as an expression; whole ones without a decimal point.

    Parameters
    ----------
    number : traced, or plain
    """
    if isinstance(number, Traced):
        return number.expression
    whole = isinstance(number, float) and number.is_integer() and abs(number) < WHOLE
    return sympy.Integer(int(number)) if whole else sympy.sympify(number)


def _gaps(number: Any) -> Gaps:
    return number.gaps if isinstance(number, Traced | Branch) else NONE


def _at_least(a: Any, b: Any) -> Branch:
    """Whether a is as large as b."""
    holds = bool(ops.plain(a) >= ops.plain(b))
    gaps = _gaps(a) | _gaps(b)
    if max(abs(ops.plain(a)), abs(ops.plain(b))) < CLOSED:
        gap = expression_of(a) - expression_of(b) if holds else expression_of(b) - expression_of(a)
        if gap.free_symbols and not gap.is_nonnegative:
            gaps = gaps | {gap}
    return Branch(holds, gaps)


def _greater(a: Any, b: Any) -> Branch:
    found = _at_least(b, a)
    return Branch(not found.true, found.gaps)


def _where(condition: Any, a: Any, b: Any) -> Any:
    chosen = a if condition else b
    if isinstance(chosen, str):
        return chosen
    return Traced(ops.plain(chosen), expression_of(chosen), _gaps(condition) | _gaps(chosen))


def _power(base: Any, exponent: Any) -> Traced:
    value = ops.power(ops.plain(base), ops.plain(exponent))
    gaps = _gaps(base) | _gaps(exponent)
    if ops.plain(base) == 0:
        return Traced(value, expression_of(value), gaps)
    return Traced(value, expression_of(base) ** expression_of(exponent), gaps)


def _of_one(function: str, symbolic: Callable[..., Any]) -> Callable[..., Any]:
    def traced(a: Traced) -> Traced:
        return Traced(getattr(ops, function)(a.value), symbolic(a.expression), a.gaps)

    return traced


_TRACED = Backend("traced", 30, {
    "maximum": lambda a, b: _where(_at_least(a, b), a, b),
    "minimum": lambda a, b: _where(_at_least(b, a), a, b),
    "ceil": _of_one("ceil", sympy.ceiling),
    "floor": _of_one("floor", sympy.floor),
    "sqrt": _of_one("sqrt", sympy.sqrt),
    "log2": _of_one("log2", lambda x: sympy.log(x) / sympy.log(2.0)),
    "log": _of_one("log", sympy.log),
    "exp": _of_one("exp", sympy.exp),
    "power": _power,
    "absolute": lambda a: _where(_at_least(a, 0.0), a, -a),
    "where": _where,
    "greater": _greater,
    "at_least": _at_least,
    "plain": lambda a: a.value,
})  # fmt: skip
register(Traced, _TRACED)
register(Branch, _TRACED)
