"""Quantities with units: the only place that reads or prints them. Inside, everything is an SI float.

Spelling is strict, because a wrong guess is a factor of 8 or of 1.07: ``GB`` is 1e9 bytes, ``GiB`` is 2**30
bytes, ``Gb`` and ``Gbit`` are bits, a count is ``FLOP`` and a rate is ``FLOP/s``.

>>> parse("3.35 TB/s", "B/s")
3350000000000.0
>>> show(80 * 2**30, "B")
'80.00 GiB'
>>> parse("3 TFLOPS", "FLOP/s")
Traceback (most recent call last):
perfmodel.errors.UnitError: "3 TFLOPS": unknown unit "TFLOPS"; write "3 TFLOP/s" (3e+12 FLOP/s)
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, WithJsonSchema

from perfmodel.errors import UnitError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Bytes", "BytesPerSecond", "Dimension", "Flop", "FlopPerSecond", "Hertz", "Seconds", "Watts", "exact",
    "parse", "ratio", "show", "units",
]  # fmt: skip

Dimension = Literal["B", "B/s", "FLOP/s", "FLOP", "s", "Hz", "W", "1"]
"""What a quantity measures, named by its SI unit; "1" is a plain number."""

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}


def _prefixed(unit: str, prefixes: Mapping[str, int], scale: Fraction = Fraction(1)) -> dict[str, Fraction]:
    return {prefix + unit: scale * factor for prefix, factor in prefixes.items()}


def _bytes(per: str = "") -> dict[str, Fraction]:
    bits = {k: v for name in ("bit", "b") for k, v in _prefixed(name + per, _DECIMAL, Fraction(1, 8)).items()}
    return _prefixed("B" + per, _DECIMAL) | _prefixed("B" + per, _BINARY) | bits


_UNITS: dict[Dimension, dict[str, Fraction]] = {
    "B": _bytes(),
    "B/s": _bytes("/s"),
    "FLOP": _prefixed("FLOP", _DECIMAL),
    "FLOP/s": _prefixed("FLOP/s", _DECIMAL),
    "s": {"s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6),
          "ns": Fraction(1, 10**9), "min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)},
    "Hz": _prefixed("Hz", _DECIMAL),
    "W": _prefixed("W", _DECIMAL),
    "1": {"": Fraction(1), "%": Fraction(1, 100)},
}  # fmt: skip

_PRINTED: dict[Dimension, tuple[str, ...]] = {
    "B": ("B", "KiB", "MiB", "GiB", "TiB", "PiB"),
    "B/s": ("B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"),
    "FLOP": ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"),
    "FLOP/s": ("FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s", "EFLOP/s"),
    "s": ("ns", "us", "ms", "s", "min", "h", "d"),
    "Hz": ("Hz", "kHz", "MHz", "GHz"),
    "W": ("W", "kW", "MW", "GW"),
    "1": ("",),
}
_PRINTED_DECIMAL = ("kB", "MB", "GB", "TB", "PB")

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*(\S*)\s*")


def units(dimension: Dimension) -> dict[str, float]:
    """Every accepted unit of a dimension with its value in the SI unit.

    Examples
    --------
    >>> units("s")
    {'s': 1.0, 'ms': 0.001, 'us': 1e-06, 'µs': 1e-06, 'ns': 1e-09, 'min': 60.0, 'h': 3600.0, 'd': 86400.0}
    """
    return {unit: float(scale) for unit, scale in _table(dimension).items()}


def parse(value: object, dimension: Dimension, *, name: str = "") -> float:
    """Read a quantity: a number is taken as SI, a string must carry its unit.

    Parameters
    ----------
    value : 3.35e12 or "3.35 TB/s"
    dimension : what it must measure: B, B/s, FLOP, FLOP/s, s, Hz, W or 1
    name : what is read; opens the message of an error

    Returns
    -------
    the quantity in the SI unit of the dimension, correctly rounded, finite and not negative

    Examples
    --------
    >>> parse("400 Gbit/s", "B/s"), parse("80 GiB", "B"), parse("1.2 us", "s")
    (50000000000.0, 85899345920.0, 1.2e-06)
    >>> parse("80 gb", "B", name="size")
    Traceback (most recent call last):
    perfmodel.errors.UnitError: size: "80 gb": unknown unit "gb"; write "80 GB" (8e+10 B) or "80 Gb" (1e+10 B)
    """
    try:
        if isinstance(value, str):
            number = _read(value, dimension)
        elif isinstance(value, Real) and not isinstance(value, bool):
            number = float(value)
        else:
            raise UnitError(f"{value!r} is not a quantity; write {_example(dimension)}")
        return _checked(number, value)
    except UnitError as error:
        raise UnitError(f"{name}: {error}" if name else str(error)) from None


def show(value: float, dimension: Dimension, digits: int = 4) -> str:
    """Print a quantity for people: memory in binary units, everything else in decimal ones.

    Parameters
    ----------
    value : in the SI unit; any float, so that differences and infeasible results print too
    dimension : what it measures
    digits : significant digits [-]

    Examples
    --------
    >>> show(3.35e12, "B/s"), show(0.0123, "s"), show(9e4, "s"), show(989.4e12, "FLOP/s")
    ('3.350 TB/s', '12.30 ms', '1.042 d', '989.4 TFLOP/s')
    """
    scales = [(unit, float(_table(dimension)[unit])) for unit in _PRINTED[dimension]]
    if value == 0 or not math.isfinite(value):
        return _joined(f"{value:g}", dimension if dimension != "1" else "")
    rounded = abs(float(f"{value:.{digits - 1}e}"))
    unit, scale = next(((u, s) for u, s in reversed(scales) if rounded >= s), scales[0])
    if rounded / scale >= 10**6 or rounded / scale < 1e-3:
        return _joined(f"{value:.{digits - 1}e}", dimension if dimension != "1" else "")
    places = max(0, digits - 1 - math.floor(math.log10(float(f"{rounded / scale:.{digits - 1}e}"))))
    return _joined(f"{value / scale:.{places}f}", unit)


def exact(value: float, dimension: Dimension) -> str:
    """The shortest text that reads back to the very same float.

    Parameters
    ----------
    value : in the SI unit, finite and not negative
    dimension : what it measures

    Examples
    --------
    >>> exact(989.4e12, "FLOP/s"), exact(80 * 2**30, "B"), exact(80e9, "B")
    ('989.4 TFLOP/s', '80 GiB', '80 GB')
    """
    value = _checked(float(value), value)
    same = (text for text in _spellings(value, dimension) if parse(text, dimension) == value)
    return min(same, key=len)


def ratio(value: object, *, name: str = "") -> float:
    """Read a factor of change: 1.5, "1.5x", "+10 %" or "-10 %".

    Parameters
    ----------
    value : the factor, or the change in percent with its sign
    name : what is read; opens the message of an error

    Returns
    -------
    the factor, above 0 [-]

    Examples
    --------
    >>> ratio("1.5x"), ratio("+10 %"), ratio(2)
    (1.5, 1.1, 2.0)
    """
    factor = math.nan
    if isinstance(value, str):
        found = re.fullmatch(rf"\s*({_NUMBER})\s*([x×%])\s*", value)
        if found and found[2] != "%":
            factor = float(found[1])
        elif found and found[1][0] in "+-":
            factor = float(1 + Fraction(found[1]) / 100)
    elif isinstance(value, Real) and not isinstance(value, bool):
        factor = float(value)
    if not (math.isfinite(factor) and factor > 0):
        opening = f"{name}: " if name else ""
        raise UnitError(f'{opening}{_quoted(value)} is not a factor above 0; write 1.5, "1.5x" or "+50 %"')
    return factor


def _table(dimension: Dimension) -> dict[str, Fraction]:
    try:
        return _UNITS[dimension]
    except (KeyError, TypeError):
        raise unknown("dimension", str(dimension), get_args(Dimension)) from None


@lru_cache(maxsize=4096)
def _read(text: str, dimension: Dimension) -> float:
    """A string to SI; exact arithmetic, so that the result is the float nearest to what is written."""
    table = _table(dimension)
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise UnitError(f'"{text}" is not a quantity; write {_example(dimension)}')
    number, unit = found.groups()
    if unit not in table:
        raise UnitError(f'"{text}": {_unit_fault(number, unit, dimension)}')
    try:
        return float(Fraction(number) * table[unit])
    except OverflowError:
        return math.inf


def _checked(number: float, given: object) -> float:
    if not math.isfinite(number):
        raise UnitError(f"{_quoted(given)} is not finite")
    if number < 0:
        raise UnitError(f"{_quoted(given)} is negative; it must be 0 or more")
    return number


def _unit_fault(number: str, unit: str, dimension: Dimension) -> str:
    """What is wrong with a unit, and which spelling to use instead."""
    if not unit:
        return f'a string needs its unit; write "{number} {dimension}" or the bare number'
    other = next((each for each in _UNITS if unit in _UNITS[each]), None)
    problem = f'"{unit}" is a unit of {other}, not of {dimension}' if other else f'unknown unit "{unit}"'
    table = _UNITS[dimension]
    alike = [each for each in table if _bare(each).casefold() == _bare(unit).casefold()]
    if not alike:
        listed = (each or "no unit" for each in table if not each.endswith(("b", "b/s")))
        return f"{problem}; accepted: {', '.join(listed)}"
    alike = [each for each in alike if _bare(each) == _bare(unit)] or alike
    return f"{problem}; write " + " or ".join(
        f'"{number} {each}" ({float(Fraction(number) * table[each]):g} {dimension})' for each in alike
    )


def _bare(unit: str) -> str:
    """A unit without its plural and without its way of saying "per second"."""
    return re.sub(r"(?i)(/s|/sec|(?<=b)ps|s)$", "", unit) or unit


def _example(dimension: Dimension) -> str:
    samples = {"B": "80 GiB", "B/s": "3.35 TB/s", "FLOP": "1.5 PFLOP", "FLOP/s": "989.4 TFLOP/s",
               "s": "1.2 us", "Hz": "1830 MHz", "W": "700 W", "1": "0.5"}  # fmt: skip
    return f'a number [{dimension}] or text such as "{samples[dimension]}"'


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _joined(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit else number


def _spellings(value: float, dimension: Dimension) -> Iterator[str]:
    """Ways to write a value, the largest units first; the last one is sure to read back unchanged."""
    names = _PRINTED[dimension] + (_PRINTED_DECIMAL if dimension == "B" else ())
    for unit in sorted(names, key=_table(dimension).__getitem__, reverse=True):
        number = value / float(_table(dimension)[unit])
        if 1 <= number < 10**6:
            yield _joined(f"{number:.15g}", unit)
    yield _joined(repr(value).removesuffix(".0"), dimension if dimension != "1" else "")


def _quantity(dimension: Dimension) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a float field accept text with units: the reader and its JSON schema."""
    accepted = "|".join(re.escape(unit) for unit in _UNITS[dimension])
    pattern = rf"^\s*\+?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{{1,3}})?\s*(?:{accepted})\s*$"
    text = {"type": "string", "pattern": pattern, "examples": [_example(dimension).split('"')[1]]}

    def read(value: Any) -> float:
        return parse(value, dimension)

    return BeforeValidator(read), WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, text]})


Bytes = Annotated[float, *_quantity("B")]
"""A size [B]."""
BytesPerSecond = Annotated[float, *_quantity("B/s")]
"""A bandwidth, one direction [B/s]."""
Flop = Annotated[float, *_quantity("FLOP")]
"""A count of floating-point operations [FLOP]."""
FlopPerSecond = Annotated[float, *_quantity("FLOP/s")]
"""A rate of floating-point operations [FLOP/s]."""
Seconds = Annotated[float, *_quantity("s")]
"""A time [s]."""
Hertz = Annotated[float, *_quantity("Hz")]
"""A frequency [Hz]."""
Watts = Annotated[float, *_quantity("W")]
"""A power [W]."""
