"""Memory: values worked by hand, limits, and how they scale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.formulas.memory import activation_bytes_gpt_layer, sharded

SIZE = st.integers(1, 10**6)


def test_sharded_by_hand():
    assert sharded(size=24.0, ranks=8) == 3.0
    # ZeRO's example: 7.5 B parameters, 12 bytes of optimizer states each, over 64 ranks (arXiv:1910.02054, figure 1)
    assert sharded(size=12 * 7.5e9, ranks=64) == pytest.approx(1.40625e9)


def test_sharded_limits():
    assert sharded(size=24.0, ranks=1) == 24.0
    assert sharded(size=0.0, ranks=8) == 0.0


@given(size=st.floats(0, 1e15), ranks=SIZE)
def test_all_ranks_together_keep_the_whole(size, ranks):
    assert ranks * sharded(size=size, ranks=ranks) == pytest.approx(size, rel=1e-12)


def test_activations_of_a_layer_by_hand():
    # s 4, b 2, h 8, a 2: 34 · 64 = 2176 bytes of rows and 5 · 2 · 16 · 2 = 320 bytes of scores
    assert activation_bytes_gpt_layer(sequence_length=4, micro_batch=2, hidden=8, heads=2, tp=1) == 2176 + 320


def test_activations_of_gpt_3_are_the_published_ratio():
    """Korthikanti et al. 2022, section 4.2: 5 a s / h is 80 for GPT-3 and 64 for MT-NLG."""
    gpt_3 = {"sequence_length": 2048, "micro_batch": 1, "hidden": 12288, "heads": 96}
    assert activation_bytes_gpt_layer(**gpt_3, tp=1) / (2048 * 12288) == pytest.approx(34 + 80)
    mt_nlg = {"sequence_length": 2048, "micro_batch": 1, "hidden": 20480, "heads": 128}
    assert activation_bytes_gpt_layer(**mt_nlg, tp=1) / (2048 * 20480) == pytest.approx(34 + 64)


def test_activations_limits():
    # without heads nothing but rows is kept
    no_heads = activation_bytes_gpt_layer(sequence_length=100, micro_batch=1, hidden=64, heads=0, tp=1)
    assert no_heads == 34 * 100 * 64


@given(sequence_length=SIZE, micro_batch=SIZE, hidden=SIZE, heads=st.integers(1, 256), tp=st.integers(1, 64))
def test_activations_scale_with_the_batch_and_divide_by_tp(sequence_length, micro_batch, hidden, heads, tp):
    shape = {"sequence_length": sequence_length, "hidden": hidden, "heads": heads}
    one = activation_bytes_gpt_layer(**shape, micro_batch=1, tp=1)
    assert activation_bytes_gpt_layer(**shape, micro_batch=micro_batch, tp=1) == pytest.approx(
        micro_batch * one
    )
    assert tp * activation_bytes_gpt_layer(**shape, micro_batch=1, tp=tp) == pytest.approx(one)
    # the scores grow with the square of the sequence
    twice = activation_bytes_gpt_layer(
        **shape | {"sequence_length": 2 * sequence_length}, micro_batch=1, tp=1
    )
    assert twice - 2 * one == pytest.approx(2 * 5 * heads * float(sequence_length) ** 2, rel=1e-6)
