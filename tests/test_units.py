"""Units: strict reading, readable printing, and an exact round trip."""

import math
import re
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from perfmodel import units
from perfmodel.errors import UnitError, UnknownNameError

DIMENSIONS = get_args(units.Dimension)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("80 GiB", "B", 80 * 2**30),
        ("80GB", "B", 80e9),
        ("989.4 TFLOP/s", "FLOP/s", 989.4e12),
        ("1.2 us", "s", 1.2e-6),
        ("1.2 µs", "s", 1.2e-6),
        ("400 Gbit/s", "B/s", 50e9),
        ("400 Gb/s", "B/s", 50e9),
        ("700 W", "W", 700.0),
        ("1830 MHz", "Hz", 1.83e9),
        ("52.4 MB", "B", 52.4e6),
        ("2 h", "s", 7200.0),
        ("3.8e25 FLOP", "FLOP", 3.8e25),
        ("0.25", "1", 0.25),
        ("25 %", "1", 0.25),
        (5, "B", 5.0),
        (np.int64(5), "B", 5.0),
        (np.float32(0.5), "s", 0.5),
    ],
)
def test_parse_reads_what_the_field_writes(text, dimension, value):
    assert units.parse(text, dimension) == value
    assert type(units.parse(text, dimension)) is float


@pytest.mark.parametrize(
    ("text", "dimension", "advice"),
    [
        ("80 gb", "B", 'unknown unit "gb"; write "80 GB" (8e+10 B) or "80 Gb" (1e+10 B)'),
        ("3 TFLOPS", "FLOP/s", 'unknown unit "TFLOPS"; write "3 TFLOP/s" (3e+12 FLOP/s)'),
        ("3 TFLOP", "FLOP/s", '"TFLOP" is a unit of FLOP, not of FLOP/s; write "3 TFLOP/s"'),
        ("5 GBps", "B/s", 'unknown unit "GBps"; write "5 GB/s" (5e+09 B/s)'),
        ("5 Gbps", "B/s", 'unknown unit "Gbps"; write "5 Gb/s" (6.25e+08 B/s)'),
        ("5 GB", "B/s", 'write "5 GB/s"'),
        ("5 s", "B", '"s" is a unit of s, not of B; accepted: B, kB, MB'),
        ("1e9", "B/s", 'a string needs its unit; write "1e9 B/s" or the bare number'),
        ("fast", "B/s", 'not a quantity; write a number [B/s] or text such as "3.35 TB/s"'),
        ("nan s", "s", "not a quantity"),
        ("-3 s", "s", '"-3 s" is negative'),
        (-3, "s", "-3 is negative"),
        (math.nan, "s", "nan is not finite"),
        (math.inf, "s", "inf is not finite"),
        ("1e999 EFLOP", "FLOP", "is not finite"),
        (True, "B", "True is not a quantity"),
        (None, "B", "None is not a quantity"),
        ([1.0], "B", "is not a quantity"),
    ],
)
def test_parse_refuses_and_says_the_accepted_spelling(text, dimension, advice):
    with pytest.raises(UnitError) as caught:
        units.parse(text, dimension)
    assert advice in str(caught.value)


def test_parse_names_what_it_reads():
    with pytest.raises(UnitError, match=r'^capacity: "80 gb"'):
        units.parse("80 gb", "B", name="capacity")


def test_an_unknown_dimension_is_told():
    with pytest.raises(UnknownNameError, match="unknown dimension"):
        units.parse("1 kg", "kg")


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (80 * 2**30, "B", "80.00 GiB"),
        (8.59e10, "B", "80.00 GiB"),
        (2**20, "B", "1.000 MiB"),
        (1023.9999 * 2**20, "B", "1.000 GiB"),
        (512, "B", "512.0 B"),
        (0, "B", "0 B"),
        (450e9, "B/s", "450.0 GB/s"),
        (989.4e12, "FLOP/s", "989.4 TFLOP/s"),
        (999.96e12, "FLOP/s", "1.000 PFLOP/s"),
        (3.8e25, "FLOP", "3.800e+25 FLOP"),
        (1.2e-6, "s", "1.200 us"),
        (5e-10, "s", "0.5000 ns"),
        (75, "s", "1.250 min"),
        (54 * 86400, "s", "54.00 d"),
        (-0.003, "s", "-3.000 ms"),
        (math.inf, "s", "inf s"),
        (1.83e9, "Hz", "1.830 GHz"),
        (0.5, "1", "0.5000"),
        (1234.5678, "1", "1235"),
    ],
)
def test_show_prints_one_readable_unit(value, dimension, text):
    assert units.show(value, dimension) == text


def test_show_takes_significant_digits():
    assert units.show(1 / 3, "s", digits=2) == "333 ms"
    assert units.show(2 / 3 * 1e12, "B/s", digits=6) == "666.667 GB/s"


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.sampled_from(DIMENSIONS))
def test_exact_reads_back_to_the_same_float(value, dimension):
    assert units.parse(units.exact(value, dimension), dimension) == value


@given(st.fractions(0, 10**6), st.sampled_from([(d, u) for d in DIMENSIONS for u in units.units(d) if u]))
def test_parse_rounds_correctly(number, unit_of):
    dimension, unit = unit_of
    text = f"{float(number)!r} {unit}"
    scale = units._UNITS[dimension][unit]
    assert units.parse(text, dimension) == float(Fraction(repr(float(number))) * scale)


@given(st.floats(min_value=1e-12, max_value=1e30), st.sampled_from(DIMENSIONS))
def test_show_reads_back_to_four_digits(value, dimension):
    assert units.parse(units.show(value, dimension), dimension) == pytest.approx(value, rel=6e-4)


def test_exact_prefers_the_unit_that_is_shortest():
    assert units.exact(96e9, "B") == "96 GB"
    assert units.exact(114688, "B") == "112 KiB"
    assert units.exact(3.35e12, "B/s") == "3.35 TB/s"
    assert units.exact(0.0, "s") == "0 s"
    with pytest.raises(UnitError, match="negative"):
        units.exact(-1.0, "s")


@pytest.mark.parametrize(
    ("given_", "factor"), [("1.5x", 1.5), ("+10 %", 1.1), ("-10%", 0.9), (2, 2.0), ("2 ×", 2.0)]
)
def test_ratio_reads_a_factor_of_change(given_, factor):
    assert units.ratio(given_) == factor


@pytest.mark.parametrize("given_", ["50 %", "0x", "-1x", -2, True, None, "fast", math.nan, "1.5", "-100 %"])
def test_ratio_refuses_what_is_ambiguous(given_):
    with pytest.raises(
        UnitError, match=r'bandwidth: .* is not a factor above 0; write 1.5, "1.5x" or "\+50 %"'
    ):
        units.ratio(given_, name="bandwidth")


def test_quantity_fields_take_numbers_and_text_and_say_so_in_their_schema():
    adapter = TypeAdapter(units.BytesPerSecond)
    assert adapter.validate_python("3.35 TB/s") == adapter.validate_python(3.35e12) == 3.35e12
    number, text = adapter.json_schema()["anyOf"]
    assert number == {"type": "number", "minimum": 0}
    assert re.fullmatch(text["pattern"], "3.35 TB/s")
    assert not re.fullmatch(text["pattern"], "3.35 TBps")
    assert re.fullmatch(text["pattern"], text["examples"][0])
