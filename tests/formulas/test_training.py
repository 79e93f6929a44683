"""Utilisation and FLOPs of training: values worked by hand, limits, and how they scale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.formulas.training import model_flops_utilisation, optimizer_steps_time, palm_flops_per_token

COUNT = st.floats(1, 1e15)


def test_utilisation_by_hand():
    # 60 FLOP in 2 s on 3 devices of 20 FLOP/s
    assert model_flops_utilisation(flops=60.0, devices=3, peak=20.0, step_time=2.0) == 0.5


def test_utilisation_limits():
    assert model_flops_utilisation(flops=0.0, devices=8, peak=1e15, step_time=1.0) == 0.0
    full = model_flops_utilisation(flops=8e15, devices=8, peak=1e15, step_time=1.0)
    assert full == 1.0


@given(
    flops=COUNT,
    devices=st.integers(1, 10**6),
    peak=COUNT,
    step_time=st.floats(1e-3, 1e3),
    factor=st.floats(0.1, 10),
)
def test_utilisation_scales(flops, devices, peak, step_time, factor):
    base = model_flops_utilisation(flops=flops, devices=devices, peak=peak, step_time=step_time)
    for changed in (
        {"flops": flops / factor, "devices": devices, "peak": peak, "step_time": step_time},
        {"flops": flops, "devices": devices * factor, "peak": peak, "step_time": step_time},
        {"flops": flops, "devices": devices, "peak": peak * factor, "step_time": step_time},
        {"flops": flops, "devices": devices, "peak": peak, "step_time": step_time * factor},
    ):
        assert model_flops_utilisation(**changed) == pytest.approx(base / factor, rel=1e-12)


def test_palm_flops_by_hand():
    # 6 · 100 for the weights; 2 layers of 3 heads of 4: 12 · 24 · 5 for the scores of 5 tokens
    assert (
        palm_flops_per_token(parameters=100, layers=2, heads=3, head_dim=4, sequence_length=5) == 600 + 1440
    )


def test_palm_flops_reproduce_the_paper():
    """Chowdhery et al. 2022, appendix B: PaLM 540B at 238.3 K tokens/s on 6144 TPU v4 of 275 TFLOP/s is 46.2 % MFU."""
    token = palm_flops_per_token(parameters=540e9, layers=118, heads=48, head_dim=256, sequence_length=2048)
    found = model_flops_utilisation(flops=token * 238.3e3, devices=6144, peak=275e12, step_time=1.0)
    assert found == pytest.approx(0.462, abs=0.001)


def test_palm_flops_limits():
    # without attention the six FLOPs a parameter and token
    assert palm_flops_per_token(parameters=7e9, layers=0, heads=1, head_dim=1, sequence_length=1) == 6 * 7e9


@given(parameters=COUNT, layers=st.integers(1, 200), sequence_length=st.integers(1, 10**6))
def test_only_attention_grows_with_the_sequence(parameters, layers, sequence_length):
    shape = {"layers": layers, "heads": 32, "head_dim": 128}
    one = palm_flops_per_token(parameters=parameters, **shape, sequence_length=sequence_length)
    two = palm_flops_per_token(parameters=parameters, **shape, sequence_length=2 * sequence_length)
    assert two - one == pytest.approx(12 * layers * 32 * 128 * sequence_length, rel=1e-6, abs=1e-9 * one)


def test_training_time_by_hand():
    # 100 tokens in steps of 20 are 5 steps of 3 s
    assert optimizer_steps_time(tokens=100.0, tokens_per_step=20.0, step_time=3.0) == 15.0
    assert optimizer_steps_time(tokens=0.0, tokens_per_step=20.0, step_time=3.0) == 0.0


@given(tokens=COUNT, tokens_per_step=COUNT, step_time=st.floats(1e-3, 1e3), factor=st.floats(0.1, 10))
def test_training_time_scales(tokens, tokens_per_step, step_time, factor):
    base = optimizer_steps_time(tokens=tokens, tokens_per_step=tokens_per_step, step_time=step_time)
    longer = optimizer_steps_time(
        tokens=factor * tokens, tokens_per_step=tokens_per_step, step_time=step_time
    )
    bigger = optimizer_steps_time(
        tokens=tokens, tokens_per_step=factor * tokens_per_step, step_time=step_time
    )
    assert (longer, bigger) == pytest.approx((factor * base, base / factor), rel=1e-12)
