"""Operations on symbols are kept as they are, and still are what they stand for."""

import pickle
import time

import pytest
import sympy

from perfmodel import ops
from perfmodel.symbols import FUNCTIONS, Node, compiled

X, Y = sympy.symbols("x y", positive=True)
EACH = {
    "maximum": (ops.maximum(X, 2), sympy.Max(X, 2)),
    "minimum": (ops.minimum(X, Y), sympy.Min(X, Y)),
    "where": (ops.where(ops.greater(X, 1), X**2, Y), sympy.Piecewise((X**2, X > 1), (Y, True))),
    "power": (ops.power(X + 1, 1.5), (X + 1) ** 1.5),
    "ceil": (ops.ceil(X / 2), sympy.ceiling(X / 2)),
    "floor": (ops.floor(X / 2), sympy.floor(X / 2)),
    "log2": (ops.log2(X), sympy.log(X, 2)),
}
POINTS = [(0.5, 3.0), (3.0, 0.25), (7.25, 7.0)]


@pytest.mark.parametrize("name", EACH)
def test_a_node_is_what_it_stands_for(name):
    node, plain = EACH[name]
    assert isinstance(node, Node)
    assert node.free_symbols == plain.free_symbols
    assert node.doit() == plain
    assert str(node) == str(plain)
    assert sympy.latex(node) == sympy.latex(plain)
    for modules in ("math", "numpy", "mpmath"):
        code = sympy.lambdify((X, Y), node, modules)
        for point in POINTS:
            values = dict(zip((X, Y), point, strict=True))
            assert float(code(*point)) == pytest.approx(float(plain.subs(values)), rel=1e-14)
            assert float(node.subs(values)) == pytest.approx(float(plain.subs(values)), rel=1e-14)


@pytest.mark.parametrize("name", ["maximum", "minimum", "where", "power", "log2"])
def test_its_derivative_is_that_of_what_it_stands_for(name):
    node, _ = EACH[name]
    code, change = (sympy.lambdify((X, Y), each, "math") for each in (node, (3 * node).diff(X)))
    for x, y in POINTS:
        step = 1e-6 * x
        assert change(x, y) == pytest.approx(
            3 * (code(x + step, y) - code(x - step, y)) / (2 * step), abs=1e-6
        )


def test_steps_are_flat():
    assert ops.ceil(X / 2).diff(X) == ops.floor(X / 2).diff(X) == 0


def test_an_exponent_may_change_too():
    assert ops.power(X, Y).diff(Y).subs({X: 2.0, Y: 3.0}) == pytest.approx(8 * 0.6931471805599453)


def test_equal_nodes_are_one():
    assert ops.maximum(X + Y, 2) is ops.maximum(Y + X, 2)
    assert ops.maximum(X, 2) != ops.maximum(X, 3)
    assert ops.maximum(X, 2) + ops.maximum(X, 2) == 2 * ops.maximum(X, 2)
    assert pickle.loads(pickle.dumps(ops.maximum(X, 2))) is ops.maximum(X, 2)


def test_numbers_are_computed_and_known_conditions_decided():
    assert ops.maximum(sympy.Integer(2), 3) == 3
    assert ops.greater(sympy.Integer(2), 3) is sympy.false
    assert ops.at_least(sympy.Integer(3), 3) is sympy.true
    assert ops.where(sympy.true, X, Y) is X
    assert set(FUNCTIONS) == {*ops.OPERATIONS, "greater", "at_least"}


def test_a_condition_on_symbols_is_left_undecided():
    """SymPy would know that a positive number is above -1, after a while."""
    assert ops.greater(X, -1) == sympy.Gt(X, -1, evaluate=False)
    assert isinstance(ops.where(ops.at_least(X, -1), X, Y), Node)


def deep(steps):
    """Choices of choices: each step doubles the tree, and adds a few nodes to the graph."""
    found = X
    for step in range(steps):
        found = ops.power(ops.where(ops.greater(found, step), found * 0.5, found + Y), 1.01) + found / 3
    return found


def test_deep_choices_are_built_at_once():
    start = time.process_time()
    assert deep(60).free_symbols == {X, Y}
    assert time.process_time() - start < 5


def test_compiled_code_computes_each_part_once():
    whole, twice = compiled((X, Y), [deep(8), X * 2])(3.0, 0.5)
    assert whole == pytest.approx(float(deep(8).subs({X: 3.0, Y: 0.5})), rel=1e-12)
    assert twice == 6.0
