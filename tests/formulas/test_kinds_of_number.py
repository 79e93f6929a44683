"""Every formula gives the same for floats, arrays and symbols; one without samples is told by name."""

import inspect

import numpy as np
import pytest
import sympy

from tests.formulas.samples import SAMPLES, modules, public_formulas

FORMULAS = public_formulas()
KNOWN = sorted(set(FORMULAS) & set(SAMPLES))


def columns_of(name):
    columns = {argument: np.array(values, dtype=np.float64) for argument, values in SAMPLES[name].items()}
    rows = [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    return columns, rows


def values(result):
    """The numbers of a result, whether it is one or several."""
    return list(result) if isinstance(result, tuple) else [result]


def evaluated(expression, symbols, row):
    """A traced expression at one row; what was traced without symbols is a number already."""
    return [
        float(sympy.lambdify(symbols, each, "numpy")(*row))
        if getattr(each, "free_symbols", ())
        else float(each)
        for each in values(expression)
    ]


def test_every_formula_has_samples_and_every_sample_a_formula():
    missing = sorted(set(FORMULAS) - set(SAMPLES))
    assert not missing, f"give these formulas sample arguments in tests/formulas/samples.py: {missing}"
    left_over = sorted(set(SAMPLES) - set(FORMULAS))
    assert not left_over, f"these samples have no formula any more: {left_over}"


def test_every_public_formula_is_exported():
    for module in modules():
        defined = {
            name.split(".")[-1] for name in FORMULAS if module.__name__.endswith(name.rsplit(".", 1)[0])
        }
        exported = {
            name for name in getattr(module, "__all__", ()) if inspect.isfunction(getattr(module, name))
        }
        assert exported == defined, module.__name__


@pytest.mark.parametrize("name", KNOWN)
def test_samples_name_every_argument(name):
    parameters = inspect.signature(FORMULAS[name]).parameters
    assert list(SAMPLES[name]) == list(parameters)
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    assert len({len(column) for column in SAMPLES[name].values()}) == 1


@pytest.mark.parametrize("name", KNOWN)
def test_a_float_gives_a_finite_float(name):
    for row in columns_of(name)[1]:
        for value in values(FORMULAS[name](**row)):
            assert type(value) is float
            assert np.isfinite(value)


@pytest.mark.parametrize("name", KNOWN)
def test_an_array_is_its_rows(name):
    formula, (columns, rows) = FORMULAS[name], columns_of(name)
    alone = np.array([values(formula(**row)) for row in rows])
    together = np.array(values(formula(**columns))).T
    np.testing.assert_allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize("name", KNOWN)
def test_one_column_beside_plain_numbers(name):
    """Sweeps vary one argument and leave the others alone."""
    formula, (columns, rows) = FORMULAS[name], columns_of(name)
    for argument, column in columns.items():
        for row in rows:
            alone = np.array([values(formula(**(row | {argument: float(value)}))) for value in column])
            together = [
                np.broadcast_to(v, column.shape) for v in values(formula(**(row | {argument: column})))
            ]
            np.testing.assert_allclose(np.array(together).T, alone, rtol=1e-12)


@pytest.mark.parametrize("name", KNOWN)
def test_a_closed_form_evaluates_to_the_same(name):
    formula, (columns, rows) = FORMULAS[name], columns_of(name)
    symbols = {argument: sympy.Symbol(argument, positive=True) for argument in columns}
    traced = formula(**symbols)
    for row in rows:
        np.testing.assert_allclose(
            evaluated(traced, list(symbols.values()), list(row.values())), values(formula(**row)), rtol=1e-12
        )


@pytest.mark.parametrize("name", KNOWN)
def test_one_symbol_beside_plain_numbers(name):
    formula, (columns, rows) = FORMULAS[name], columns_of(name)
    for argument in columns:
        symbol, row = sympy.Symbol(argument, positive=True), rows[0]
        np.testing.assert_allclose(
            evaluated(formula(**(row | {argument: symbol})), [symbol], [row[argument]]),
            values(formula(**row)),
            rtol=1e-12,
        )
