"""Operations on SymPy expressions that are kept as they are.

SymPy tries to decide which of two expressions is larger, to fold choices into each other and to split powers. On an
expression as large as a whole step that takes minutes or never ends, and it decides nothing. The nodes here are built
at once: equal ones are one object, and SymPy compares and sorts them by number instead of by what they hold. They
print, evaluate, substitute and derive as the functions of SymPy that they stand for; `doit` turns them into these.

`perfmodel.ops` imports this module once a symbol has come, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import sympy
from sympy.logic.boolalg import BooleanAtom

__all__ = ["FUNCTIONS", "Node", "compiled"]

_SERIAL = count()
_KNOWN: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()


class Node(sympy.Expr):  # type: ignore[misc]  # sympy has no types
    """An operation on expressions that nothing simplifies; numbers alone are computed."""

    is_real = True
    function: Callable[..., Any]
    """What it stands for, as SymPy has it."""

    def __new__(cls, *given: Any) -> Any:
        """The one node of these arguments, or a number where all of them are."""
        args = tuple(map(_expression, given))
        if all(isinstance(each, sympy.Number | BooleanAtom) for each in args):
            return cls.function(*args)
        return _KNOWN.get((cls, args)) or cls._made(args)

    @classmethod
    def _made(cls, args: tuple[Any, ...]) -> Node:
        node: Node = super().__new__(cls, *args)
        node._serial, node._free = (
            next(_SERIAL),
            frozenset[Any]().union(*(each.free_symbols for each in args)),
        )
        _KNOWN[cls, args] = node
        return node

    def shown(self) -> Any:
        """The same in SymPy's own function, not simplified."""
        return self.function(*self.args, evaluate=False)

    def doit(self, **hints: Any) -> Any:
        """The whole expression in SymPy's own functions; may take SymPy very long."""
        return self.function(*(each.doit(**hints) for each in self.args))

    @property
    def free_symbols(self) -> set[Any]:
        """Symbols that it depends on."""
        return set(self._free)

    def _hashable_content(self) -> tuple[Any, ...]:
        return (self._serial,)

    def sort_key(self, order: Any = None) -> Any:
        """Nodes are sorted by age."""
        one = sympy.S.One
        return self.class_key(), (1, (self._serial,)), one.sort_key(), one

    def _eval_evalf(self, prec: int) -> Any:
        return self.func(*(each._evalf(prec) if isinstance(each, sympy.Expr) else each for each in self.args))

    def computed(self) -> Any:
        """The same, as code computes it."""
        return self.shown()

    def _printed(self, printer: Any, *_: Any) -> Any:
        return printer._print(self.shown())

    def _coded(self, printer: Any, *_: Any) -> Any:
        return printer._print(self.computed())

    _sympystr = _latex = _pretty = _printed
    _pythoncode = _numpycode = _mpmathcode = _ccode = _coded


class Maximum(Node):
    """The larger of two."""

    function = sympy.Max

    def _eval_derivative(self, symbol: Any) -> Any:
        a, b = self.args
        return Chosen(compared(sympy.Ge, a, b), a.diff(symbol), b.diff(symbol))


class Minimum(Node):
    """The smaller of two."""

    function = sympy.Min

    def _eval_derivative(self, symbol: Any) -> Any:
        a, b = self.args
        return Chosen(compared(sympy.Le, a, b), a.diff(symbol), b.diff(symbol))


class Chosen(Node):
    """One of two, by a condition."""

    def __new__(cls, condition: Any, a: Any, b: Any) -> Any:
        """The one node of these arguments, or one of both where the condition is decided."""
        known = _expression(condition)
        if isinstance(known, BooleanAtom):
            return _expression(a if known else b)
        return super().__new__(cls, known, a, b)

    @staticmethod
    def function(condition: Any, a: Any, b: Any, **options: Any) -> Any:
        """A Piecewise."""
        return sympy.Piecewise((a, condition), (b, True), **options)

    def _eval_derivative(self, symbol: Any) -> Any:
        condition, a, b = self.args
        return Chosen(condition, a.diff(symbol), b.diff(symbol))


class Power(Node):
    """One to the power of another."""

    function = sympy.Pow

    def computed(self) -> Any:
        """The same, of a base that rounding has not made negative."""
        base, exponent = self.args
        return sympy.Pow(sympy.Max(base, 0, evaluate=False), exponent, evaluate=False)

    def _eval_derivative(self, symbol: Any) -> Any:
        base, exponent = self.args
        of_base = exponent * Power(base, exponent - 1) * base.diff(symbol)
        change = exponent.diff(symbol)
        return of_base if change == 0 else of_base + self * sympy.log(base) * change


class Ceiling(Node):
    """Rounded up."""

    function = sympy.ceiling

    def _eval_derivative(self, symbol: Any) -> Any:
        return sympy.S.Zero


class Floor(Node):
    """Rounded down."""

    function = sympy.floor

    def _eval_derivative(self, symbol: Any) -> Any:
        return sympy.S.Zero


class BinaryLogarithm(Node):
    """Logarithm to base two."""

    @staticmethod
    def function(value: Any, **options: Any) -> Any:
        """A quotient of natural logarithms."""
        return sympy.log(value, **options) / sympy.log(2) if options else sympy.log(value, 2)

    def _eval_derivative(self, symbol: Any) -> Any:
        return self.args[0].diff(symbol) / self.args[0] / sympy.log(2)


def _expression(value: Any) -> Any:
    return sympy.Symbol(value) if isinstance(value, str) else sympy.sympify(value)


def compared(relation: Any, a: Any, b: Any) -> Any:
    """A relation of two expressions; decided for numbers alone.

    Parameters
    ----------
    relation : a relation of SymPy
    a, b : what is compared

    Returns
    -------
    a condition
    """
    left, right = _expression(a), _expression(b)
    return relation(left, right, evaluate=all(isinstance(each, sympy.Number) for each in (left, right)))


def compiled(symbols: Sequence[Any], expressions: Sequence[Any], modules: str = "math") -> Callable[..., Any]:
    """Python code of some expressions, each part of them computed once.

    `sympy.lambdify` walks through an expression as through a tree, which takes very long where parts stand in many
    places; here it sees each part once.

    Parameters
    ----------
    symbols : arguments of the function
    expressions : what it computes
    modules : whose functions it calls: math, numpy or mpmath

    Returns
    -------
    a function that gives a list

    Examples
    --------
    >>> x = sympy.Symbol("x", positive=True)
    >>> compiled([x], [Maximum(x, 2) ** 2, Maximum(x, 2)])(3.0)
    [9.0, 3.0]
    """
    parts, short = sympy.cse(list(expressions))
    code: Callable[..., Any] = sympy.lambdify(list(symbols), short, modules, cse=lambda given: (parts, given))
    return code


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "maximum": Maximum,
    "minimum": Minimum,
    "ceil": Ceiling,
    "floor": Floor,
    "sqrt": sympy.sqrt,
    "log2": BinaryLogarithm,
    "log": sympy.log,
    "exp": sympy.exp,
    "power": Power,
    "absolute": sympy.Abs,
    "where": Chosen,
    "greater": lambda a, b: compared(sympy.Gt, a, b),
    "at_least": lambda a, b: compared(sympy.Ge, a, b),
}
"""What `perfmodel.ops` does with symbols."""
