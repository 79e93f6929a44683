"""A closed form: what it gives, for which values it is exact, where it gets to a value, how it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import sympy

from perfmodel.errors import InputError, UnsupportedError, unknown
from perfmodel.sensitivity.reading import compared, readable
from perfmodel.sensitivity.scanning import last_held
from perfmodel.units import show

__all__ = ["Formula", "Named", "Range"]

REACH = 1e4
"""How far a symbol is thought to change, times its value or one over it [-]."""
ROUNDING = 1e-12
"""What a condition may miss by, of the largest value that it takes [-]."""
LONG, ALIKE = 160, 1e-6
"""Letters of a long term, and how well it has to be a share of the others to be told as that [-]."""
LETTERS = {"peak": "P", "memory_bandwidth": "W"}
"""Symbols as they are written in formulas (docs/glossary.md)."""


class Named(NamedTuple):
    """A symbol of a formula.

    Parameters
    ----------
    symbol : of SymPy
    value : in the estimate [SI]
    unit : of it
    meaning : what it is
    """

    symbol: Any
    value: float
    unit: str
    meaning: str


class Range(NamedTuple):
    """How far a symbol may go before another branch is taken, all others as they are.

    Parameters
    ----------
    low, high : of the symbol; ten thousand times its value, or one ten-thousandth of it, where nothing changes [SI]
    below, above : what ceases to hold there; None where nothing does
    """

    low: float
    high: float
    below: Any
    above: Any


@dataclass(frozen=True, repr=False)
class Formula:
    """A closed form, exact in its regime."""

    metric: str
    """What it gives."""
    value: float
    """Of the metric, in the estimate [SI]."""
    expression: Any
    """In SymPy."""
    terms: Mapping[str, Any]
    """The same by kind of work, as in `est.terms`; together they are the expression."""
    symbols: Mapping[str, Named]
    """By name."""
    gaps: tuple[Any, ...]
    """Expressions that are 0 or more in the regime in force."""

    @property
    def values(self) -> dict[str, float]:
        """The symbols' values in the estimate [SI]."""
        return {name: named.value for name, named in self.symbols.items()}

    @property
    def shown(self) -> Any:
        """The expression as it is printed: four digits, roots of sums of powers as norms."""
        return readable(self.expression)

    def lambdify(self, modules: str = "numpy") -> Callable[..., Any]:
        """The formula as a function of its symbols by name; those left out have their values of the estimate.

        Parameters
        ----------
        modules : whose functions it calls: numpy, math, mpmath, …
        """
        code = sympy.lambdify(self._arguments, self.expression, modules, cse=True)

        def function(**values: Any) -> Any:
            return code(*self._given(values))

        return function

    def __call__(self, **values: Any) -> Any:
        """The metric for other values of the symbols, numbers or arrays, whether the regime holds there or not [SI]."""
        return self._code(*self._given(values))[0]

    def holds(self, **values: Any) -> Any:
        """Whether the regime is in force for other values of the symbols: where it is, the formula is exact."""
        with np.errstate(all="ignore"):  # far away from the regime a formula may be no number at all
            sides = self._code(*self._given(values))[1:]
        met = [gap >= -ROUNDING * size for gap, size in zip(sides, self._sizes, strict=True)]
        return np.logical_and.reduce(np.broadcast_arrays(True, *met))

    def range(self, name: str) -> Range:
        """How far one symbol may go while the regime stays in force.

        Parameters
        ----------
        name : of a symbol

        Raises
        ------
        UnknownNameError
            the formula has no such symbol
        """
        start = self._named(name).value
        ends = []
        for reach in (1 / REACH, REACH):
            end = start * reach
            at = last_held(lambda points: self.holds(**{name: points}), start, end)
            ends.append((at, None if at == end else self._broken(name, at * (1 + 1e-6 * np.sign(reach - 1)))))
        (low, below), (high, above) = ends
        return Range(low, high, below, above)

    @cached_property
    def conditions(self) -> tuple[Any, ...]:
        """What ends the regime first where one of the symbols changes, as comparisons; none where nothing does."""
        ends = [self.range(name) for name in self.symbols]
        found = [gap for one in ends for gap in (one.below, one.above) if gap is not None]
        return tuple(dict.fromkeys(found))

    def solve(self, name: str, *, equals: float) -> float:
        """The value of a symbol at which the metric has a given value, in this regime.

        Parameters
        ----------
        name : of the symbol
        equals : value of the metric [SI]

        Raises
        ------
        InputError
            the metric does not get there before the regime ends; `pm.crossover` goes on into the next ones

        Examples
        --------
        >>> import perfmodel as pm
        >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
        ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
        >>> found = pm.formula(est, symbols="global_batch")
        >>> batch = found.solve("global_batch", equals=2 * est.step_time)
        >>> round(found(global_batch=batch) / est.step_time, 9)
        2.0
        """
        start, room = self._named(name).value, self.range(name)
        above = self.value > equals

        def stays(points: Any) -> Any:
            return (self(**{name: points}) > equals) == above

        ends = [end for end in (room.low, room.high) if end != start]
        found = [at for end in ends if (at := last_held(stays, start, end)) != end]
        if not found:
            raise InputError(
                f"{self.metric} does not become {equals:g} while {name} lies between {room.low:.6g} and "
                f"{room.high:.6g}, where this formula ends; pm.crossover(est, {equals:g}, …) goes on into other regimes"
            )
        return min(found, key=lambda at: abs(np.log(at / start)))

    def inverse(self, name: str) -> Any:
        """A symbol in terms of the metric and the other symbols, where the expression is a quotient of polynomials.

        Parameters
        ----------
        name : of the symbol

        Raises
        ------
        UnsupportedError
            there is no such closed form; `solve` gives numbers

        Examples
        --------
        >>> import perfmodel as pm
        >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
        ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
        >>> readable(pm.formula(est, symbols="global_batch").inverse("global_batch")).free_symbols
        {step_time}
        """
        symbol, metric = self._named(name).symbol, sympy.Symbol(self.metric, positive=True)
        polynomial = None
        if self.expression.is_rational_function(symbol):
            polynomial = sympy.Poly(sympy.fraction(sympy.together(self.expression - metric))[0], symbol)
        if polynomial is None or not 1 <= polynomial.degree() <= 2:
            raise UnsupportedError(
                f"{self.metric} has no closed inverse in {name}; solve({name!r}, equals=…) has the number"
            )
        here = {metric: self.value} | {named.symbol: named.value for named in self.symbols.values()}
        roots = sympy.roots(polynomial)
        return min(roots, key=lambda root: abs(complex(root.subs(here)) - self._named(name).value))

    def to_dict(self) -> dict[str, Any]:
        """Expression in text and LaTeX, terms, symbols with their ranges, conditions: ready for JSON."""
        symbols = {}
        for name, named in self.symbols.items():
            room = self.range(name)
            symbols[name] = {
                "value": named.value, "unit": named.unit, "meaning": named.meaning, "low": room.low, "high": room.high,
            }  # fmt: skip
        return {
            "metric": self.metric,
            "value": self.value,
            "expression": str(self.expression),
            "latex": self.latex(),
            "terms": {term: str(expression) for term, expression in self.terms.items()},
            "symbols": symbols,
            "conditions": [str(readable(condition)) for condition in self.conditions],
        }

    def latex(self) -> str:
        """The equation in LaTeX, four digits, norms by their name."""
        return f"{_letter(self.metric)} = {sympy.latex(self.shown, symbol_names=self._letters)}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.metric} = {self.value:.6g}"
        for term in self.terms:
            told = f"  {term:<14}" if len(self.terms) > 1 else "  "
            yield told + self._told(term)
        yield "with"
        for name, named in self.symbols.items():
            room = self.range(name)
            yield f"  {name} = {_told(named.value, named.unit)}: {named.meaning}"
            yield f"    exact from {_told(room.low, named.unit)} to {_told(room.high, named.unit)}"
        if self.conditions:
            yield "as long as"
            yield from (f"  {readable(condition)}" for condition in self.conditions)

    def _told(self, term: str) -> str:
        """A term as it is printed; a long one that is a fixed share of all others together, as that."""
        text = str(readable(self.terms[term]))
        if len(text) < LONG:
            return text
        rest = sympy.Add(*(expression for name, expression in self.terms.items() if name != term))
        code = sympy.lambdify(self._arguments, [self.terms[term], rest], "numpy", cse=True)
        points = [[value * (1 + 0.1 * row) ** (1 + place % 3) for place, value in enumerate(self.values.values())]
                  for row in range(4)]  # fmt: skip
        with np.errstate(all="ignore"):
            own, others = np.array([code(*point) for point in points], dtype=float).T
            shares = np.diff(own) / np.diff(others)
        if not np.ptp(shares) < ALIKE * abs(shares[0]):
            return text
        fixed = own[0] - shares[0] * others[0]
        return f"{shares[0]:.4g}*(all others) {'-' if fixed < 0 else '+'} {abs(fixed):.4g}"

    @property
    def _arguments(self) -> list[Any]:
        return [named.symbol for named in self.symbols.values()]

    @property
    def _letters(self) -> dict[Any, str]:
        return {named.symbol: _letter(name) for name, named in self.symbols.items()}

    @cached_property
    def _code(self) -> Callable[..., Any]:
        code: Callable[..., Any] = sympy.lambdify(
            self._arguments, [self.expression, *self.gaps], "numpy", cse=True
        )
        return code

    @cached_property
    def _sizes(self) -> list[float]:
        """How large the sides of each condition are, to tell a tie from a breach."""
        values = {named.symbol: named.value for named in self.symbols.values()}
        return [float(sum(abs(part.subs(values)) for part in sympy.Add.make_args(gap))) for gap in self.gaps]

    def _given(self, values: Mapping[str, Any]) -> list[Any]:
        for name in values:
            self._named(name)
        return [values.get(name, value) for name, value in self.values.items()]

    def _named(self, name: str) -> Named:
        if name not in self.symbols:
            raise unknown("symbol", name, self.symbols)
        return self.symbols[name]

    def _broken(self, name: str, value: float) -> Any:
        """The condition that a value of a symbol breaks by most."""
        with np.errstate(all="ignore"):
            found = self._code(*self._given({name: value}))[1:]
        worst = min(range(len(found)), key=lambda place: found[place] / max(self._sizes[place], 1e-300))
        return compared(self.gaps[worst])


def _letter(name: str) -> str:
    if name in LETTERS:
        return LETTERS[name]
    if name.endswith("_bandwidth"):
        return rf"B_{{\mathrm{{{_words(name.removesuffix('_bandwidth'))}}}}}"
    return rf"\mathrm{{{_words(name)}}}"


def _words(name: str) -> str:
    return name.replace("_", r"\ ").replace(".", r"\ ")


def _told(value: float, unit: str) -> str:
    return f"{value:.4g}" if unit == "-" else show(value, unit, 4)  # type: ignore[arg-type]  # one of show's own
