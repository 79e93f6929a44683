"""A program gives what the formulas give, to the last bit, on every kind of number."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel import ops
from perfmodel.errors import InputError
from perfmodel.estimation.training import estimate_training
from perfmodel.program import Noted, Program

FITS = pm.Efficiency.of("Hopper", "default")
WORK = ("global_batch", "sequence_length")


def calculation(a: Any, b: Any) -> dict[str, Any]:
    """Every operation, on numbers above zero."""
    return {
        **{
            name: getattr(ops, name)(a)
            for name in ("ceil", "floor", "sqrt", "log2", "log", "exp", "absolute")
        },
        "larger": ops.maximum(a, b) + ops.minimum(2.0, b),
        "chosen": ops.where(ops.greater(a, b) & ops.at_least(b, 0.5), a, b * 3),
        "unchosen": ops.where(~(ops.greater(a, 2.0) | ops.greater(b, 2.0)), 1.0, -a),
        "power": ops.power(a, 2.4) + a**2,
        "arithmetic": (1 - a) / (b + 2) * 3 + 7 // b + a % 3 - 1 / a,
        "compared": ops.where(a < b, 1.0, ops.where(a <= b, 2.0, ops.where(a == b, 3.0, 4.0))),
        "constant": 7.0,
        "given": a,
    }


@given(st.floats(0.1, 9.0), st.floats(0.1, 9.0))
def test_every_operation_is_written_down(a, b):
    assert Program.of(calculation, ("a", "b"))(a=a, b=b) == calculation(a, b)


def test_arrays_that_broadcast_and_rows_in_blocks():
    program, a, b = Program.of(calculation, ("a", "b")), np.linspace(0.1, 9, 5), np.linspace(0.2, 5, 3)
    for name, value in calculation(a[:, None], b).items():
        assert np.array_equal(program(a=a[:, None], b=b)[name], value), name
    rows = program.rows({"a": a, "b": 2.0}, block=2)
    for name, value in calculation(a, 2.0).items():
        assert np.array_equal(rows[name], np.broadcast_to(value, 5)), name


def test_symbols_run_through_it():
    a = sympy.Symbol("a", positive=True)
    assert Program.of(lambda x: {"y": 2 * x + 1}, ["x"])(x=a)["y"] == 2 * a + 1


def test_what_no_result_needs_is_left_out_and_equal_operations_are_one():
    program = Program.of(lambda x: {"one": (x + 1) * (x + 1), "other": x / 7}, ["x"])
    assert [line.operation for line in program.lines] == ["add", "mul", "truediv"]
    assert [line.operation for line in program.only("one").lines] == ["add", "mul"]
    assert len(program.only("one").constants) == 1


def test_constants_that_are_equal_and_not_the_same_stay_apart():
    program = Program.of(lambda x: {"up": x * 0.0, "down": x * -0.0, "whole": x * 0}, ["x"])
    found = program(x=3)
    assert np.signbit(found["down"])
    assert not np.signbit(found["up"])
    assert type(found["whole"]) is int


def test_a_branch_on_an_input_is_refused():
    with pytest.raises(InputError, match="no branches"):
        Program.of(lambda x: {"y": 1 if x > 2 else 0}, ["x"])


def test_a_program_travels_to_other_processes():
    program = Program.of(calculation, ("a", "b"))
    before = program(a=2.0, b=3.0)
    assert pickle.loads(pickle.dumps(program))(a=2.0, b=3.0) == before


def answers(est: Any) -> dict[str, Any]:
    """Every number of an estimate."""
    memory = {name: value for name, value in est.memory._asdict().items() if value is not None}
    metrics = {name: getattr(est, name) for name in ("step_time", "mfu", "hfu", "fits", "tokens_per_second")}
    return (
        metrics | memory | est.resources | {f"{name} of all": seconds for name, seconds in est.terms.items()}
    )


def estimated(model: Any, work: Any, layout: Any, cluster: Any, numbers: dict[str, Any]) -> dict[str, Any]:
    of_work = {name: value for name, value in numbers.items() if name in WORK}
    of_layout = {name: value for name, value in numbers.items() if name not in WORK}
    work, layout = work.model_copy(update=of_work), layout.model_copy(update=of_layout)
    return answers(estimate_training(model, work, layout, cluster, FITS))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "gpt2", "mixtral-8x7b"]),
    st.sampled_from(["none", "zero1", "zero3"]),
    st.sampled_from(["none", "selective", "full"]),
    st.booleans(),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 3]),
)
def test_a_whole_estimate_is_one_straight_line(
    name, sharding, recompute, sequence_parallel, tp, pp, micro_batch, rounds
):
    model, cluster = pm.Model.load(name), pm.Cluster.load("dgx-h100", devices=64)
    layout = pm.Parallel(sharding=sharding, sequence_parallel=sequence_parallel)
    work = pm.Training(global_batch=1, sequence_length=1024, recompute=recompute)
    dp = 64 // (tp * pp)
    numbers = {"tp": tp, "pp": pp, "dp": dp, "micro_batch": micro_batch}
    numbers["global_batch"] = dp * micro_batch * pp * rounds
    program = Program.of(lambda **these: estimated(model, work, layout, cluster, these), numbers)
    one = program(**numbers)
    assert one == estimated(model, work, layout, cluster, numbers)
    columns = {each: np.full(3, float(number)) for each, number in numbers.items()}
    for each, column in program.rows(columns, block=2).items():
        assert (column == one[each]).all(), each


def test_a_noted_number_is_no_number_to_numpy():
    program = Program.of(lambda x: {"y": np.float64(2.0) * x, "z": np.array([1.0, 2.0]) + x}, ["x"])
    assert program(x=3.0)["y"] == 6.0
    assert program(x=3.0)["z"].tolist() == [4.0, 5.0]
    assert Noted.__array_ufunc__ is None
