"""The few operations whose text differs between a float, an array and a symbol.

A formula imports them by name and is otherwise plain arithmetic; nothing else in perfmodel may branch on a number.

>>> import numpy as np
>>> maximum(1.0, 2.0)
2.0
>>> maximum(np.array([1.0, 3.0]), 2.0)
array([2., 3.])

A further kind of number (pandas Series, `fractions.Fraction`, numbers with uncertainties, …) is one `register` call.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from perfmodel.errors import InputError

__all__ = [
    "OPERATIONS", "Backend", "Number", "absolute", "added", "at_least", "ceil", "certain", "exp", "floor", "greater",
    "log", "log2", "maximum", "minimum", "plain", "power", "register", "sqrt", "to_float", "where",
]  # fmt: skip


class Number(Protocol):
    """What a formula may be given: float, ndarray, sympy expression, or a registered kind."""

    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


OPERATIONS = (
    "maximum",
    "minimum",
    "ceil",
    "floor",
    "sqrt",
    "log2",
    "log",
    "exp",
    "power",
    "absolute",
    "where",
)
"""Every operation a back end has to provide; the table is kept complete so that a gap fails by name."""


@dataclass(frozen=True)
class Backend:
    """One kind of number and how it does each operation.

    Parameters
    ----------
    name : shown in errors
    priority : where kinds are mixed, the highest one computes (float 0, ndarray 10, sympy 20)
    functions : one callable for each name in `OPERATIONS`; `greater` and `at_least`, too, where Python's own operators
        will not do; `plain`, where a number of this kind holds a float or an array beside something else
    """

    name: str
    priority: int
    functions: Mapping[str, Callable[..., Any]]

    def __post_init__(self) -> None:
        missing = [name for name in OPERATIONS if name not in self.functions]
        if missing:
            raise InputError(f"the number back end {self.name!r} lacks {', '.join(missing)}; it must provide all of "
                             f"{', '.join(OPERATIONS)}")  # fmt: skip


def _rounds_alike() -> bool:
    """Whether NumPy's functions of an array give the very floats of the functions of one number on this machine.

    With AVX-512 its vector instructions differ in the last bit of one power in twenty; elsewhere it calls the same
    library as Python.
    """
    samples = np.linspace(0.01, 10.0, 1024)
    return bool(np.power(samples, 2.4).tolist() == [one**2.4 for one in samples.tolist()])


def _as_array(vector: Callable[..., Any], scalar: Callable[..., float]) -> Callable[..., Any]:
    """A function of one number that rounds as NumPy's does on an array: rows of a sweep are single answers."""
    return scalar if _ALIKE else lambda *values: float(vector(*map(float, values)))


_ALIKE = _rounds_alike()
_POWER = operator.pow if _ALIKE else lambda base, exponent: float(np.power(base, exponent))
"""The power of two floats."""

_FLOAT = Backend("float", 0, {
    "maximum": lambda a, b: a if a >= b else b,
    "minimum": lambda a, b: a if a <= b else b,
    "ceil": lambda a: float(math.ceil(a)),
    "floor": lambda a: float(math.floor(a)),
    "sqrt": math.sqrt,
    "log2": _as_array(np.log2, math.log2),
    "log": _as_array(np.log, math.log),
    "exp": _as_array(np.exp, math.exp),
    "power": _as_array(np.power, operator.pow),
    "absolute": abs,
    "where": lambda condition, a, b: a if condition else b,
})  # fmt: skip


_SHORT_CUTS: dict[float, Callable[[Any], Any]] = {2.0: np.square, 0.5: np.sqrt, -1.0: lambda base: 1.0 / base}
"""Exponents for which NumPy takes another function, but only where one exponent serves a whole array."""


def _power_of_array(base: Any, exponent: Any) -> Any:
    """NumPy's power, rounded as that of one number where the exponents are an array, too."""
    found = np.power(base, exponent)
    if isinstance(exponent, np.ndarray):
        for special, function in _SHORT_CUTS.items():
            here = exponent == special
            if here.any():
                found = np.where(here, function(base), found)
    return found


_ARRAY = Backend("numpy", 10, {
    "maximum": np.maximum, "minimum": np.minimum, "ceil": np.ceil, "floor": np.floor, "sqrt": np.sqrt,
    "log2": np.log2, "log": np.log, "exp": np.exp, "power": _power_of_array, "absolute": np.absolute, "where": np.where,
})  # fmt: skip

_EXACT = Backend("fraction", 1, {
    **_FLOAT.functions,
    "power": operator.pow,
    "ceil": lambda a: Fraction(math.ceil(a)),
    "floor": lambda a: Fraction(math.floor(a)),
})  # fmt: skip
"""Exact rationals: counts that must be right to the last digit never touch a float."""

_BACKENDS: dict[type, Backend] = {
    float: _FLOAT, int: _FLOAT, bool: _FLOAT, Fraction: _EXACT,
    np.ndarray: _ARRAY, np.number: _ARRAY, np.bool_: _ARRAY,
}  # fmt: skip


def register(kind: type, backend: Backend) -> None:
    """Teach every formula a further kind of number.

    Parameters
    ----------
    kind : the type; its subclasses follow it
    backend : its operations

    Examples
    --------
    >>> from decimal import Decimal
    >>> as_float = _FLOAT.functions
    >>> register(Decimal, Backend("decimal", 5, {**as_float, "sqrt": Decimal.sqrt}))
    >>> sqrt(Decimal(2))
    Decimal('1.414213562373095048801688724')
    """
    _BACKENDS[kind] = backend
    _CHOSEN.clear()


def _sympy_backend() -> Backend:
    """The symbolic back end; built on the first symbol, so that floats never pay for importing sympy."""
    from perfmodel.symbols import FUNCTIONS

    return Backend("sympy", 20, FUNCTIONS)


def _backend_of(kind: type) -> Backend:
    found = _BACKENDS.get(kind)
    if found is None:
        for base in kind.__mro__[1:]:
            if base in _BACKENDS:
                found = _BACKENDS[base]
                break
            if base.__module__.startswith("sympy."):
                found = _sympy_backend()
                break
        if found is None:
            known = ", ".join(sorted({backend.name for backend in _BACKENDS.values()}))
            raise InputError(f"no number back end for {kind.__module__}.{kind.__qualname__}; known: {known}, sympy "
                             f"(ops.register adds one)")  # fmt: skip
        _BACKENDS[kind] = found
    return found


_PLAIN = frozenset((float, int))
"""Kinds that are compared at once, without looking for their back end."""

_CHOSEN: dict[tuple[type, ...], Backend] = {}
"""The back end for operands of these types; filled as they come."""


def _choose(*values: Any) -> Backend:
    kinds = tuple(map(type, values))
    found = _CHOSEN.get(kinds)
    if found is None:
        found = _CHOSEN[kinds] = max(map(_backend_of, kinds), key=lambda backend: backend.priority)
    return found


def maximum(a: Number, b: Number) -> Any:
    """The larger of two numbers."""
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return a if a >= b else b
    return _choose(a, b).functions["maximum"](a, b)


def minimum(a: Number, b: Number) -> Any:
    """The smaller of two numbers."""
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return a if a <= b else b
    return _choose(a, b).functions["minimum"](a, b)


def power(base: Number, exponent: Number) -> Any:
    """`base` to the power of `exponent`, for a base of 0 or more."""
    if type(base) is float and type(exponent) is float:
        return _POWER(base, exponent)
    return _choose(base, exponent).functions["power"](base, exponent)


def where(condition: Any, a: Number, b: Number) -> Any:
    """`a` where the condition holds, else `b`; arrays evaluate both, so both must be safe."""
    if type(condition) is bool or type(condition) is np.bool_:
        return a if condition else b
    numbers = [value for value in (a, b) if not isinstance(value, str)]  # names may be chosen too
    return _choose(condition, *numbers).functions["where"](condition, a, b)


def certain(condition: Any) -> bool:
    """Whether a condition is known to hold, in an array for every element; never so for a symbol.

    What would count for nothing anyway may be left out where this says so; nothing else may depend on it.

    Examples
    --------
    >>> certain(1 < 2), certain(np.array([1, 3]) < 2)
    (True, False)
    """
    if type(condition) is bool:
        return condition
    return isinstance(condition, np.ndarray | np.bool_) and bool(np.all(condition))


def greater(a: Number, b: Number) -> Any:
    """Whether the first is the larger one; a condition for `where`, which symbols leave undecided.

    Examples
    --------
    >>> greater(2.0, 1.0), greater(np.array([1.0, 3.0]), 2.0)
    (True, array([False,  True]))
    """
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return a > b
    return _choose(a, b).functions.get("greater", operator.gt)(a, b)  # type: ignore[no-untyped-call]  # of any kind


def at_least(a: Number, b: Number) -> Any:
    """Whether the first is the larger one, or as large; a condition for `where`, which symbols leave undecided."""
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return a >= b
    return _choose(a, b).functions.get("at_least", operator.ge)(a, b)  # type: ignore[no-untyped-call]  # of any kind


def ceil(a: Number) -> Any:
    """Rounded up to a whole number."""
    return _backend_of(type(a)).functions["ceil"](a)


def floor(a: Number) -> Any:
    """Rounded down to a whole number."""
    return _backend_of(type(a)).functions["floor"](a)


def sqrt(a: Number) -> Any:
    """Square root."""
    return _backend_of(type(a)).functions["sqrt"](a)


def log2(a: Number) -> Any:
    """Logarithm to base two."""
    return _backend_of(type(a)).functions["log2"](a)


def log(a: Number) -> Any:
    """Natural logarithm."""
    return _backend_of(type(a)).functions["log"](a)


def exp(a: Number) -> Any:
    """Exponential."""
    return _backend_of(type(a)).functions["exp"](a)


def absolute(a: Number) -> Any:
    """Magnitude."""
    return _backend_of(type(a)).functions["absolute"](a)


def plain(value: Any) -> Any:
    """The float or array that a number holds, where it holds something beside it; else the number itself."""
    if type(value) in _PLAIN:
        return value
    held = _backend_of(type(value)).functions.get("plain")
    return value if held is None else held(value)


def added(values: Iterable[Any], start: Any = 0) -> Any:
    """Numbers added one after the other.

    Python's own sum of floats carries what rounding loses from 3.12 on; columns cannot, and rows equal single answers.

    Parameters
    ----------
    values : numbers of any kind
    start : to begin with

    Examples
    --------
    >>> added([0.1] * 10), added([np.array([1.0, 2.0]), 1.0]).tolist()
    (0.9999999999999999, [2.0, 3.0])
    """
    for value in values:
        start = start + value
    return start


if sys.version_info < (3, 12):
    added = sum  # type: ignore[assignment]  # the same, and faster


def to_float(value: Any) -> Any:
    """A number as formulas want it: float, or float64 array (int64 overflows silently in 6·N·D); symbols pass.

    Examples
    --------
    >>> to_float(3), to_float([1, 2])
    (3.0, array([1., 2.]))
    """
    if isinstance(value, list | tuple | np.ndarray):
        return np.asarray(value, dtype=np.float64)
    if isinstance(value, int | float | np.number):
        return float(value)
    return value
