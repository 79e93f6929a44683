"""A formula is the estimate: at its values, and everywhere in its regime."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel import ops
from perfmodel.errors import InputError, UnknownNameError, UnsupportedError
from perfmodel.estimation import estimate
from perfmodel.sensitivity.deriving import formula
from perfmodel.sensitivity.quantities import numbers, with_values
from perfmodel.sensitivity.reading import Norm, compared, readable, tidied
from perfmodel.sensitivity.tracing import Traced, expression_of
from tests.strategies import any_jobs, jobs

WORK = pm.Training(global_batch=512, sequence_length=8192)
MACHINE = ("peak", "memory_bandwidth", "host.launch", "overlap.slowdown", "collective.default.step")
JOB = ("global_batch", "micro_batch", "sequence_length")


def llama(devices=512, **layout):
    fields = {"tp": 8, "pp": 4, "vpp": 5, "sequence_parallel": True} | layout
    cluster = pm.Cluster.load("dgx-h100", devices=devices)
    return pm.estimate(pm.Model.load("llama-3.1-70b"), WORK, pm.Parallel(**fields), cluster)


@pytest.fixture(scope="module")
def est():
    return llama()


def named(est, names):
    return [name for name in names if name == "peak" or name in numbers(est)]


def at(est, found, name, share):
    """A point of the range of a symbol, and the estimate there."""
    room = found.range(name)
    value = room.low * (room.high / room.low) ** share
    own = {one.replace(".", "_"): one for one in numbers(est)} | {"peak": f"peak.{est.costs.dtype}"}
    return value, with_values(est, {own[name]: value})


@settings(max_examples=15, deadline=None)
@given(jobs(), st.sampled_from(MACHINE), st.floats(0.05, 0.95))
def test_a_formula_is_the_estimate_all_over_its_regime(job, name, share):
    est = estimate(**job.arguments)
    if not named(est, [name]):
        return
    found = formula(est, symbols=name)
    (symbol,) = found.symbols
    assert found() == pytest.approx(est.step_time, rel=1e-9)
    if found.values[symbol] > 0:
        value, there = at(est, found, symbol, share)
        assert found(**{symbol: value}) == pytest.approx(there.step_time, rel=1e-9)


@settings(max_examples=8, deadline=None)
@given(any_jobs())
def test_a_formula_in_several_symbols_is_the_estimate(job):
    """Schedules that are timed event by event among them; terms add up to the whole."""
    est = estimate(**job.arguments)
    found = formula(est)
    assert found() == pytest.approx(est.step_time, rel=1e-9)
    assert found.holds()
    values = {named.symbol: named.value for named in found.symbols.values()}
    assert sum(float(term.subs(values)) for term in found.terms.values()) == pytest.approx(
        est.step_time, rel=1e-9
    )
    for kind, seconds in est.terms.items():
        told = float(sympy.sympify(found.terms.get(kind, 0)).subs(values))
        assert told == pytest.approx(seconds, rel=1e-8, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(jobs(), st.sampled_from(JOB), st.sampled_from(["step_time", "memory.total"]))
def test_job_numbers_may_be_symbols(job, name, metric):
    est = estimate(**job.arguments)
    found = formula(est, metric, symbols=name)
    value = est.step_time if metric == "step_time" else est.memory.total
    assert found() == pytest.approx(value, rel=1e-9)
    room = found.range(name)
    assert room.low <= found.values[name] <= room.high


@pytest.mark.parametrize(
    "name", ["fabric.bandwidth", "global_batch", "sequence_length", "tp", "memory_bandwidth"]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_real_job_has_them_all(est, name, share):
    found = formula(est, symbols=name)
    (symbol,) = found.symbols
    value, there = at(est, found, symbol, share)
    assert found(**{symbol: value}) == pytest.approx(there.step_time, rel=1e-9)


def test_beyond_its_range_another_branch_is_taken(est):
    found = formula(est, symbols="fabric.bandwidth")
    room = found.range("fabric_bandwidth")
    low = with_values(est, {"fabric.bandwidth": room.low / 1.5})
    assert found(fabric_bandwidth=room.low / 1.5) != pytest.approx(low.step_time, rel=1e-6)
    assert not found.holds(fabric_bandwidth=room.low / 1.01)
    assert found.holds(fabric_bandwidth=np.array([room.low * 1.01, room.low / 1.01])).tolist() == [
        True,
        False,
    ]
    assert room.below in found.conditions and isinstance(room.below, sympy.Rel)


def test_a_step_in_its_batch_is_a_line(est):
    """Micro-batches on the slowest stage, and what comes once a step: time for one more sequence is a slope."""
    found = formula(est, symbols="global_batch")
    per_sequence = with_values(est, {"global_batch": 513}).step_time - est.step_time
    assert found.expression.coeff(found.symbols["global_batch"].symbol) == pytest.approx(
        per_sequence, rel=1e-9
    )
    assert found.inverse("global_batch").subs({"step_time": 0}) is not None


def test_times_and_memory_of_inference_have_formulas():
    work = pm.Inference(batch=8, input_length=1024, output_length=256)
    run = pm.estimate(pm.Model.load("llama-3.1-8b"), work, pm.Parallel(), pm.Cluster.of("h100", 1))
    for metric in ("latency", "decode_time", "prefill_time"):
        found = formula(run, metric)
        assert found() == pytest.approx(getattr(run, metric), rel=1e-9)
        assert set(found.symbols) <= {"peak", "memory_bandwidth"}
        assert "matmul" in found.terms
    # short prompts: a pass of the engine has room for all of them, whatever the batch
    run = pm.estimate(run.model, work.replace(input_length=256), run.layout, run.cluster)
    held = formula(run, "memory.total", symbols=("batch", "input_length"))
    assert held(batch=16) == pytest.approx(with_values(run, {"batch": 16}).memory.total, rel=1e-9)
    assert held() == pytest.approx(run.memory.total, rel=1e-9)


def test_a_steady_state_has_no_closed_form():
    work = pm.Serving(input_length=1024, output_length=256, concurrency=16)
    srv = pm.estimate(pm.Model.load("llama-3.1-8b"), work, pm.Parallel(), pm.Cluster.of("h100", 1))
    with pytest.raises(UnsupportedError, match="fixed point"):
        formula(srv, "tpot")


# --- what a formula offers ----------------------------------------------------------------------------------------


def test_lambdify_takes_names_and_arrays(est):
    found = formula(est, symbols=("fabric.bandwidth", "memory_bandwidth"))
    code = found.lambdify()
    assert code() == pytest.approx(est.step_time)
    assert code(memory_bandwidth=np.array([3.35e12, 6.7e12])).shape == (2,)
    assert found.lambdify("math")(fabric_bandwidth=5e10) == pytest.approx(est.step_time)
    assert found.values == {"fabric_bandwidth": 5e10, "memory_bandwidth": 3.35e12}


def test_solve_stays_in_the_regime(est):
    found = formula(est, symbols="fabric.bandwidth")
    room = found.range("fabric_bandwidth")
    aim = found(fabric_bandwidth=(room.low * room.high) ** 0.5)
    solved = found.solve("fabric_bandwidth", equals=aim)
    assert found(fabric_bandwidth=solved) == pytest.approx(aim, rel=1e-9)
    with pytest.raises(InputError, match="goes on into other regimes"):
        found.solve("fabric_bandwidth", equals=100 * est.step_time)


def test_an_inverse_is_closed_or_refused(est):
    line = formula(est, symbols="global_batch")
    inverse = sympy.lambdify(sympy.Symbol("step_time", positive=True), line.inverse("global_batch"))
    assert inverse(line(global_batch=600)) == pytest.approx(600)
    with pytest.raises(UnsupportedError, match="solve"):
        formula(est, symbols="fabric.bandwidth").inverse("fabric_bandwidth")


def test_it_is_written_as_people_write(est):
    found = formula(est, symbols=("memory_bandwidth", "peak"))
    assert found.latex().startswith(r"\mathrm{step\ time} = ")
    assert r"\right\rVert_{2.4}" in found.latex() and r"{W}" in found.latex() and r"{P}" in found.latex()
    assert found._repr_latex_().startswith("$")
    told = repr(found)
    assert "norm(" in told and "exact from" in told and "as long as" in told and "3.350 TB/s" in told
    assert "(all others)" in told
    assert found.symbols["peak"].meaning.startswith("dense peak")


def test_wrong_names_are_answered(est):
    with pytest.raises(UnknownNameError, match="memory_bandwidth"):
        formula(est, symbols="memory_bandwith")
    with pytest.raises(UnknownNameError, match="step_time"):
        formula(est, "steptime")
    with pytest.raises(UnknownNameError, match="fabric_bandwidth"):
        formula(est, symbols="fabric.bandwidth")(fabric=1.0)
    with pytest.raises(UnsupportedError, match="one configuration"):
        formula(with_values(est, {"fabric.bandwidth": np.array([1e10, 2e10])}), symbols="fabric.bandwidth")
    with pytest.raises(UnsupportedError, match="no closed form"):
        formula(llama(schedule="zbv", vpp=2), symbols="global_batch")


# --- the numbers behind it ----------------------------------------------------------------------------------------

X = sympy.Symbol("x", positive=True)


@pytest.mark.parametrize("value", [0.5, 3.0, 7.5])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.maximum(2 * x, 5.0) - ops.minimum(x, 4) / x,
        lambda x: ops.power(x, 1.5) + 2**x + x**2 + ops.power(2.0, x),
        lambda x: ops.ceil(x / 2) + ops.floor(3 * x) + ops.absolute(x - 4),
        lambda x: ops.log2(x + 1) + ops.log(x) + ops.exp(-x) + ops.sqrt(x),
        lambda x: ops.where(ops.greater(x, 2), 3 - x, 3 / x) + ops.where(x >= 1, 1.0, 2.0),
        lambda x: ops.where((x < 4) & (x > 1), x, -x) + 0 * x,
    ],
)
def test_traced_numbers_are_what_they_say(function, value):
    found = function(Traced(value, X))
    plain = function(value)
    assert found.value == pytest.approx(plain, rel=1e-14)
    assert float(found.expression.subs(X, value)) == pytest.approx(plain, rel=1e-13)
    assert all(float(gap.subs(X, value)) >= 0 for gap in found.gaps)
    assert not found.expression.has(sympy.Max, sympy.Min, sympy.Piecewise)


def test_conditions_go_with_the_numbers_that_need_them():
    x = Traced(3.0, X)
    chosen, free = ops.maximum(x, 2.0), x + 1
    assert chosen.gaps == {X - 2} and not free.gaps
    assert (chosen + free).gaps == chosen.gaps
    assert ops.maximum(x, 0.0).gaps == frozenset()
    assert expression_of(2.0) == sympy.Integer(2)
    assert ops.where(ops.greater(x, 2), "last", "first") == "last"
    with pytest.raises(UnsupportedError, match="whole"):
        round(x)


def test_expressions_are_made_to_be_read():
    assert str(readable(3 * (4 / X**2.4 + 2.0) ** (1 / 2.4))) == "3*norm(1.335, 1.782/x; p=2.4)"
    assert Norm(2, X, 3).doit() == sympy.sqrt(X**2 + 9)
    assert str(compared(X - 2.0 - 1 / X)) == "x >= 2.0 + 1/x"
    inside = X + 2.0
    assert sympy.count_ops(tidied(inside * (3 - 2 / inside))) < 4
    assert "Vert" in sympy.latex(Norm(2, X, 3) ** 2)
