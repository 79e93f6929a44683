"""The table of operations: every entry for every kind of number, and a clear word where one is missing."""

import math
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy

from perfmodel import ops
from perfmodel.errors import InputError

# operation -> arguments, result; exact in binary where the operation is exact
CASES = {
    "maximum": [((2.0, 3.5), 3.5), ((3.5, 2.0), 3.5), ((2.0, 2.0), 2.0)],
    "minimum": [((2.0, 3.5), 2.0), ((3.5, 2.0), 2.0), ((2.0, 2.0), 2.0)],
    "ceil": [((2.25,), 3.0), ((3.0,), 3.0), ((-0.5,), 0.0)],
    "floor": [((2.25,), 2.0), ((3.0,), 3.0), ((-0.5,), -1.0)],
    "sqrt": [((2.25,), 1.5), ((0.0,), 0.0)],
    "log2": [((8.0,), 3.0), ((0.5,), -1.0)],
    "log": [((2.0,), 0.6931471805599453), ((1.0,), 0.0)],
    "exp": [((0.5,), 1.6487212707001282), ((0.0,), 1.0)],
    "power": [((2.25, 1.5), 3.375), ((0.0, 2.0), 0.0), ((4.0, -0.5), 0.5)],
    "absolute": [((-2.5,), 2.5), ((2.5,), 2.5)],
    "where": [((True, 2.0, 3.0), 2.0), ((False, 2.0, 3.0), 3.0)],
}
EACH = [
    pytest.param(name, arguments, result, id=f"{name}{arguments}")
    for name, cases in CASES.items()
    for arguments, result in cases
]


def exactly(value):
    return value if isinstance(value, bool) else Fraction(value)


def test_every_operation_has_a_case_and_a_function():
    assert set(CASES) == set(ops.OPERATIONS)
    assert set(ops.OPERATIONS) <= set(ops.__all__)
    assert all(callable(getattr(ops, name)) for name in ops.OPERATIONS)


@pytest.mark.parametrize(("name", "arguments", "result"), EACH)
def test_on_floats(name, arguments, result):
    found = getattr(ops, name)(*arguments)
    assert type(found) is float
    assert found == pytest.approx(result, rel=1e-15)


@pytest.mark.parametrize(("name", "arguments", "result"), EACH)
def test_on_arrays(name, arguments, result):
    columns = [np.array([argument, argument]) for argument in arguments]
    found = getattr(ops, name)(*columns)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, [result, result], rtol=1e-15)


@pytest.mark.parametrize(("name", "arguments", "result"), EACH)
def test_on_scalars_of_numpy(name, arguments, result):
    for kind in (np.float64, np.float32):
        scalars = [np.bool_(a) if isinstance(a, bool) else kind(a) for a in arguments]
        assert float(getattr(ops, name)(*scalars)) == pytest.approx(result, rel=1e-6)


@pytest.mark.parametrize(("name", "arguments", "result"), EACH)
def test_on_fractions(name, arguments, result):
    found = getattr(ops, name)(*map(exactly, arguments))
    assert float(found) == pytest.approx(result, rel=1e-15)
    if name in {"maximum", "minimum", "ceil", "floor", "absolute", "where"}:
        assert isinstance(found, Fraction)  # exact counts never touch a float
        assert found == exactly(result)


@pytest.mark.parametrize(("name", "arguments", "result"), EACH)
def test_on_symbols(name, arguments, result):
    """Traced with symbols, evaluated after."""
    symbols = [sympy.Symbol(f"a{place}", real=True) for place in range(len(arguments))]
    given = [
        symbol > 0 if isinstance(a, bool) else symbol for symbol, a in zip(symbols, arguments, strict=True)
    ]
    expression = getattr(ops, name)(*given)
    assert expression.free_symbols == set(symbols)
    values = {
        s: sympy.Rational(2 * a - 1 if isinstance(a, bool) else a)
        for s, a in zip(symbols, arguments, strict=True)
    }
    assert float(expression.subs(values)) == pytest.approx(result, rel=1e-15, abs=1e-15)
    numeric = sympy.lambdify(symbols, expression, "numpy")
    assert float(numeric(*map(float, values.values()))) == pytest.approx(result, rel=1e-15)


@pytest.mark.parametrize(("name", "arguments", "result"), EACH)
def test_on_sympy_numbers(name, arguments, result):
    given = [sympy.true if a is True else sympy.false if a is False else sympy.Rational(a) for a in arguments]
    assert float(getattr(ops, name)(*given)) == pytest.approx(result, rel=1e-15)


@pytest.mark.parametrize("name", ["maximum", "minimum", "power"])
def test_kinds_may_be_mixed(name):
    """The richer kind computes: an array beside a float, a symbol beside both."""
    operation = getattr(ops, name)
    column, x = np.array([1.0, 2.0, 4.0]), sympy.Symbol("x", positive=True)
    for other in (2.0, 2, np.float64(2), Fraction(2)):
        alone = [operation(value, float(other)) for value in column.tolist()]
        np.testing.assert_allclose(np.asarray(operation(column, other), dtype=float), alone, rtol=1e-15)
        assert float(operation(x, float(other)).subs(x, 4)) == alone[2]
        assert float(operation(float(other), x).subs(x, 4)) == operation(float(other), 4.0)


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (2.0, 1.0), (2.0, 2.0)])
def test_comparisons_are_those_of_the_kind(a, b):
    x = sympy.Symbol("x", positive=True)
    column = np.array([a, a])
    for name, plain in (("greater", a > b), ("at_least", a >= b)):
        compare = getattr(ops, name)
        for kind in (float, np.float64, Fraction, int):
            assert bool(compare(kind(a), kind(b))) is plain
        assert compare(column, b).tolist() == compare(a, column * 0 + b).tolist() == [plain, plain]
        assert bool(compare(x, b).subs(x, a)) is bool(compare(a, x).subs(x, b)) is plain


def test_where_chooses_elementwise_and_takes_names_too():
    column = np.array([1.0, 5.0])
    np.testing.assert_array_equal(ops.where(column > 2, 0.0, column), [1.0, 0.0])
    assert ops.where(column > 2, "last", "first").tolist() == ["first", "last"]
    assert ops.where(np.True_, "last", "first") == "last"
    x = sympy.Symbol("x", positive=True)
    chosen = ops.where(x > 2, "last", "first")
    assert (str(chosen.subs(x, 1)), str(chosen.subs(x, 3))) == ("first", "last")


def test_a_back_end_with_a_gap_fails_by_name():
    whole = ops._FLOAT.functions
    for gap in ops.OPERATIONS:
        rest = {name: function for name, function in whole.items() if name != gap}
        with pytest.raises(InputError, match=f"'holey' lacks {gap}; it must provide all of maximum"):
            ops.Backend("holey", 1, rest)


def test_every_built_in_back_end_is_complete():
    built = [ops._FLOAT, ops._ARRAY, ops._EXACT, ops._sympy_backend()]
    assert [backend.name for backend in built] == ["float", "numpy", "fraction", "sympy"]
    for backend in built:
        assert set(ops.OPERATIONS) <= set(backend.functions)
    assert sorted(built, key=lambda b: b.priority) == [ops._FLOAT, ops._EXACT, ops._ARRAY, built[3]]


def test_a_further_kind_is_one_call(monkeypatch):
    monkeypatch.setattr(ops, "_BACKENDS", dict(ops._BACKENDS))

    class Money(Decimal):
        pass

    with pytest.raises(InputError, match="no number back end"):
        ops.maximum(Money(2), Money(3))
    ops.register(Decimal, ops.Backend("decimal", 5, {**ops._FLOAT.functions, "sqrt": Decimal.sqrt}))
    assert ops.maximum(Decimal(2), Decimal(3)) == 3
    assert ops.sqrt(Decimal(4)) == 2
    assert ops.maximum(Money(2), Money(3)) == 3  # subclasses follow
    assert ops.maximum(Money(2), 1) == 2


@pytest.mark.parametrize("thing", ["3 TB/s", None, [1.0], {"a": 1}, object()])
@pytest.mark.parametrize("name", ["maximum", "ceil", "where"])
def test_what_is_no_number_is_one_clear_error(name, thing):
    given = {"maximum": (thing, 1.0), "ceil": (thing,), "where": (thing, 1.0, 2.0)}[name]
    with pytest.raises(InputError) as told:
        getattr(ops, name)(*given)
    kind = type(thing).__name__
    assert str(told.value).startswith(f"no number back end for builtins.{kind}; known: ")
    assert "float" in str(told.value)
    assert "ops.register adds one" in str(told.value)


@pytest.mark.parametrize("given", [[70_000_000_000], (70_000_000_000,), np.array([70_000_000_000])])
def test_columns_become_floats_before_they_overflow(given):
    column = ops.to_float(given)
    assert column.dtype == np.float64
    assert (6 * column * ops.to_float(np.array([15_000_000_000_000])))[0] == 6.3e24


@pytest.mark.parametrize("given", [3, np.int64(3), np.int32(3), np.float32(3), 3.0])
def test_scalars_become_floats(given):
    assert type(ops.to_float(given)) is float
    assert ops.to_float(given) == 3.0


def test_other_kinds_pass_the_door_unchanged():
    for value in (sympy.Symbol("x"), Fraction(1, 3)):
        assert ops.to_float(value) is value


def test_large_whole_numbers_stay_exact():
    assert ops.maximum(2**63 + 1, 2**63) == 2**63 + 1
    assert ops.ceil(Fraction(2**63 + 1, 2)) == 2**62 + 1


def test_long_sums_of_maxima_are_built_at_once():
    """Simplifying each maximum would take seconds; it is never needed here."""
    symbols = sympy.symbols("x0:40 y0:40 z0:40", positive=True)
    start = time.perf_counter()
    rows = zip(symbols[:40], symbols[40:80], symbols[80:], strict=True)
    whole = sum(ops.maximum(ops.maximum(x, y), z) for x, y, z in rows)
    assert time.perf_counter() - start < 1.0
    values = dict(zip(symbols, range(1, 121), strict=True))
    numeric = sympy.lambdify(symbols, whole, "math", cse=True)
    assert numeric(*values.values()) == sum(range(81, 121))


def test_infinity_is_a_number():
    assert ops.maximum(math.inf, 1.0) == math.inf
    assert ops.minimum(math.inf, 1.0) == 1.0


@pytest.mark.parametrize("name", ["power", "log2", "log", "exp"])
def test_one_number_rounds_as_an_array_does(name: str) -> None:
    """To the last bit: rows of a sweep are single estimates, whatever the machine's vector instructions do."""
    numbers = np.linspace(1e-6, 30.0, 5000)
    more = (2.4,) if name == "power" else ()
    one = getattr(ops, name)
    assert one(numbers, *more).tolist() == [one(number, *more) for number in numbers.tolist()]


@pytest.mark.parametrize("exponent", [2.0, 0.5, 1.0, -1.0, 3.0])
def test_an_exponent_rounds_alike_in_a_column(exponent: float) -> None:
    numbers = np.linspace(1e-6, 30.0, 5000)
    column = ops.power(numbers, np.full(5000, exponent))
    assert column.tolist() == [ops.power(number, exponent) for number in numbers.tolist()]
