"""Named software: which set a name finds, what it does to the operator fits, and how wide its band is."""

from __future__ import annotations

import math

import pytest

from perfmodel.calibration.constants import CONSTANTS, from_fit, to_fit
from perfmodel.efficiency import Efficiency, Residuals, Software, SoftwareFit, software
from perfmodel.errors import InputError, UnknownNameError, UnsupportedError
from perfmodel.estimation import estimate
from perfmodel.parallel import Parallel
from perfmodel.workload import Training
from tests.strategies import cluster, gpt, ideal

SETS = sorted(software())
WORK = Training(global_batch=64, sequence_length=512)


def step(constants: SoftwareFit, layout: Parallel | None = None, devices: int = 16, work: Training = WORK):
    stack = Software.load("default").replace(constants=constants, on={})
    return estimate(
        gpt(), work, layout or Parallel(), cluster(devices), efficiency=ideal().under(stack, "imaginary")
    )


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ("NeMo 24.07", "nemo"),
        ("Megatron-Bridge (NeMo 26.02)", "megatron-bridge"),
        ("Megatron-LM", "megatron-lm"),
        ("Megatron-DeepSpeed", "megatron-deepspeed"),
        ("MLPerf submission", "mlperf"),
        ("MLPerf submission images", "mlperf-images"),
        ("PyTorch FSDP + torch.compile", "pytorch-fsdp"),
        ("PyTorch NGC 21.03", "pytorch"),
        ("TensorFlow1 NGC 20.06 (XLA)", "tensorflow1"),
        ("something else", "default"),
    ],
)
def test_a_stated_name_finds_its_set(stated, found):
    assert Software.of(stated).id == found


def test_a_wrong_name_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="torchtitan"):
        Efficiency.of("Hopper", "tochtitan")
    with pytest.raises(UnknownNameError, match="nemo"):
        estimate(gpt(), WORK, Parallel(), cluster(8), software="nemmo")


@pytest.mark.parametrize("name", SETS)
def test_a_set_says_where_it_comes_from_and_how_well_it_holds(name):
    stack = Software.load(name)
    assert stack.sources
    assert stack.residual
    assert stack.residuals is not None
    assert stack.residuals.rows > 0


# --- constants ----------------------------------------------------------------------------------------------------


def test_neutral_constants_change_nothing_but_the_launch_rate():
    alone = estimate(gpt(), WORK, Parallel(), cluster(16), efficiency=ideal())
    assert step(SoftwareFit(launch=0.0)).step_time == pytest.approx(alone.step_time)


@pytest.mark.parametrize(
    ("name", "slower"),
    [("matmul", 0.5), ("attention", 0.5), ("pointwise", 2.0), ("scale_up", 0.5), ("fabric", 0.5),
     ("overlapped", 0.2), ("launch", 1e-2), ("gap", 1e-3), ("step", 1.0), ("straggling", 0.1)],
)  # fmt: skip
def test_every_constant_that_is_worse_makes_a_step_slower(name, slower):
    layout = Parallel(tp=2, overlap=("dp",) if name == "overlapped" else (), bucket=10_000)
    base = step(SoftwareFit(launch=0.0), layout).step_time
    assert step(SoftwareFit(launch=0.0).replace(**{name: slower}), layout).step_time > base


def test_a_second_outside_the_model_is_a_second():
    base, more = step(SoftwareFit()), step(SoftwareFit(step=1.0))
    assert more.step_time - base.step_time == pytest.approx(1.0, rel=0.05)
    assert more.terms["host"] >= 1.0


def test_straggling_counts_the_doublings_of_the_nodes():
    one, four = (step(SoftwareFit(straggling=0.1, launch=0.0), devices=n) for n in (8, 32))
    assert one.terms.get("stragglers", 0.0) == 0.0
    assert four.terms["stragglers"] / (four.step_time - four.terms["stragglers"]) == pytest.approx(0.2)


def test_no_link_carries_more_than_its_bandwidth():
    fits = Efficiency.load("hopper").under(
        Software.load("default").replace(constants=SoftwareFit(scale_up=2.0), on={}), "Hopper"
    )
    assert fits.collective_for("scale_up").all_gather <= 1.0


def test_a_stack_is_carried_to_an_architecture_that_it_was_not_measured_on():
    typical = Software.load("default")
    there = next(iter(typical.on))
    stack = typical.replace(id="mine", on={}, constants=typical.constants.replace(matmul=0.5))
    ratio = typical.on[there].matmul / typical.constants.matmul
    assert stack.fit(there).matmul == pytest.approx(0.5 * ratio)
    assert stack.fit("never built") == stack.constants


def test_constants_survive_the_way_to_a_fit_and_back():
    fit = SoftwareFit(matmul=0.9, attention=0.7, pointwise=2.5, overlapped=0.75, step=0.03, gap=2e-6)
    back = to_fit(from_fit(fit))
    for constant in CONSTANTS:
        assert getattr(back, constant.name) == pytest.approx(getattr(fit, constant.name), abs=1e-8)
    assert {constant.name for constant in CONSTANTS} == set(SoftwareFit.model_fields)


# --- bands --------------------------------------------------------------------------------------------------------


def test_a_band_holds_the_estimate_of_an_unbiased_stack_and_widens_with_its_level():
    est = estimate(gpt(), WORK, Parallel(), cluster(8), software="nemo")
    narrow, wide = est.step_time_range(0.5), est.step_time_range(0.9)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


def test_quantiles_are_straight_between_and_exponential_beyond():
    spread = Residuals(rows=100, levels=(0.1, 0.5, 0.9), log_error=(-0.2, 0.0, 0.2))
    assert spread.quantile(0.3) == pytest.approx(-0.1)
    assert spread.quantile(0.02) == pytest.approx(-0.2 - 0.2 * math.log(5) / math.log(5))
    assert spread.quantile(0.98) == pytest.approx(-spread.quantile(0.02))


def test_a_band_needs_a_level_and_a_spread():
    est = estimate(gpt(), WORK, Parallel(), cluster(8), software="nemo")
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        est.step_time_range(80)
    alone = estimate(gpt(), WORK, Parallel(), cluster(8), efficiency=ideal())
    with pytest.raises(UnsupportedError, match="name a software"):
        alone.step_time_range()


def test_quantiles_that_do_not_ascend_are_refused():
    with pytest.raises(InputError, match="ascend"):
        Residuals(rows=3, levels=(0.1, 0.9), log_error=(0.1, -0.1))
