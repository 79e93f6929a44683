"""Closed forms made fit to be read: norms by their name, four digits, comparisons without differences."""

from __future__ import annotations

from typing import Any

import sympy

__all__ = ["Norm", "compared", "readable", "tidied"]

DIGITS = 4
"""Significant digits of a number that is printed."""
LONG, FEW = 100_000, 100
"""Whole numbers below the one, and fractions of a denominator below the other, are printed as they are [-]."""
NEAR = 1e-9
"""Exponents that are whole to this are whole [-]."""


class Norm(sympy.Function):  # type: ignore[misc]  # sympy has no types
    """The p-norm of some times, p first: the larger one where they differ much, their sum where p is 1.

    Examples
    --------
    >>> x = sympy.Symbol("x", positive=True)
    >>> print(Norm(2, 3 * x, 4))
    norm(3*x, 4; p=2)
    >>> Norm(2, 3 * x, 4).doit()
    sqrt(9*x**2 + 16)
    """

    def doit(self, **hints: Any) -> Any:
        """In powers."""
        exponent, *parts = (each.doit(**hints) for each in self.args)
        return sum(part**exponent for part in parts) ** (1 / exponent)

    def _sympystr(self, printer: Any, *_: Any) -> str:
        exponent, *parts = map(printer._print, self.args)
        return f"norm({', '.join(parts)}; p={exponent})"

    def _latex(self, printer: Any, exp: Any = None, **_: Any) -> str:
        exponent, *parts = map(printer._print, self.args)
        inside = r",\ ".join(parts)
        shown = rf"\left\lVert {inside} \right\rVert_{{{exponent}}}"
        return shown if exp is None else f"{shown}^{{{exp}}}"


def tidied(expression: Any) -> Any:
    """An expression multiplied out, where that makes it shorter; it stays the same number.

    Parameters
    ----------
    expression : of positive symbols
    """
    below = {power.base for power in expression.atoms(sympy.Pow) if power.exp == -1 and power.base.is_Add}
    held = {
        denominator: sympy.Dummy(positive=True) for denominator in below
    }  # so that they cancel as a whole
    opened = sympy.expand_mul(expression.xreplace(held)).xreplace({dummy: old for old, dummy in held.items()})
    return min((expression, opened), key=sympy.count_ops)


def readable(expression: Any) -> Any:
    """An expression as it is printed; not for computing.

    Parameters
    ----------
    expression : of positive symbols

    Examples
    --------
    >>> x = sympy.Symbol("x", positive=True)
    >>> print(readable(2 * (1 / x**2 + 0.111111111) ** 0.5))
    2*norm(0.3333, 1/x; p=2)
    """
    return _rounded(_in_norms(expression))


def compared(gap: Any) -> Any:
    """What has to be 0 or more, as a comparison of its two sides.

    Parameters
    ----------
    gap : a difference

    Examples
    --------
    >>> x = sympy.Symbol("x", positive=True)
    >>> print(compared(3 - 2.0 / x))
    3 >= 2.0/x
    """
    parts = sympy.Add.make_args(gap)
    smaller = [part for part in parts if part.could_extract_minus_sign()]
    larger = [part for part in parts if part not in smaller]
    return sympy.Ge(sympy.Add(*larger), -sympy.Add(*smaller), evaluate=False)


def _in_norms(expression: Any) -> Any:
    """Roots of sums of powers as norms of their bases."""
    if not expression.args:
        return expression
    parts = [_in_norms(part) for part in expression.args]
    base, exponent = expression.as_base_exp() if expression.is_Pow else (expression, sympy.S.One)
    if base.is_Add and exponent.is_Number and exponent > 0 and not exponent.is_integer:
        roots = [_whole(sympy.powdenest(part**exponent, force=True)) for part in base.args]
        if not any(part.could_extract_minus_sign() for part in base.args):
            return Norm(_whole(1 / exponent), *map(_in_norms, roots))
    return expression.func(*parts)


def _whole(expression: Any) -> Any:
    """Numbers that are whole but for rounding, as whole numbers, in exponents."""
    if expression.is_Number:
        return _nearest(expression)
    powers = {
        power: power.base ** _nearest(power.exp)
        for power in expression.atoms(sympy.Pow)
        if power.exp.is_Number
    }
    return expression.xreplace(powers)


def _nearest(number: Any) -> Any:
    whole = round(float(number))
    return sympy.Integer(whole) if abs(float(number) - whole) < NEAR else number


def _rounded(expression: Any) -> Any:
    return expression.xreplace({number: _short(number) for number in expression.atoms(sympy.Number)})


def _short(number: Any) -> Any:
    """A number of few digits: whole ones as they are, simple fractions too."""
    if (number.is_Integer and abs(number) < LONG) or (
        number.is_Rational and number.q < FEW and abs(number.p) < LONG
    ):
        return number
    whole = number.is_Float and float(number).is_integer() and abs(number) < LONG
    return sympy.Integer(int(number)) if whole else sympy.Float(number, DIGITS)
