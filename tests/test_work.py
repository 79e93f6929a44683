"""The tree of work: leaves counted by hand, nodes folded over small trees, all kinds of number."""

from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.work import (
    Attention,
    Collective,
    Matmul,
    Overlap,
    Pipeline,
    Repeat,
    Serial,
    Stage,
    Stages,
    Stream,
    flops,
    kernels,
    leaves,
    memory_bytes,
    total,
)

UP = Matmul("up", 8, 4, 2)  # 2 · 8 · 4 · 2 = 128 FLOP
DOWN = Matmul("down", 8, 2, 4)  # 128 FLOP
NORM = Stream("norm", 100, "norm", 2)
GATHER = Collective("gather", "all_gather", 1000, "tp")
LAYER = Serial("layer", (NORM, UP, DOWN, GATHER))


def core(*, backward=False, **sizes):
    shape = {
        "sequences": 3,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "queries": 8,
        "keys": 32,
        "pairs": 100,
    }
    return Attention("core", **(shape | sizes), backward=backward)


def pipeline(**changes):
    fields = {
        "name": "pipeline", "entry": Stream("entry", 1000), "body": Repeat("layers", 12, UP),
        "exit": Matmul("head", 1, 1, 1000), "send": Repeat("sends", 2, Collective("send", "send", 7, "pp")),
        "stages": 4, "chunks": 1, "micro_batches": 8,
        "held": Stages(*(Stage(name, 0.25, 1, 1, 0) for name in ("first", "middle", "last"))),
    }  # fmt: skip
    return Pipeline(**(fields | changes))


def payload(leaf):
    return leaf.payload if isinstance(leaf, Collective) else 0


# --- leaves -------------------------------------------------------------------------------------------------------


def test_a_product_counts_two_a_multiply_add():
    assert flops(Matmul("x", 3, 5, 7)) == 2 * 3 * 5 * 7
    assert flops(Matmul("x", 3, 5, 7, batch=11)) == 11 * 2 * 3 * 5 * 7


def test_a_product_moves_each_operand_once():
    # A is 3 x 7, B is 7 x 5, C is 3 x 5
    assert memory_bytes(Matmul("x", 3, 5, 7)) == 2 * (21 + 35 + 15)
    assert memory_bytes(Matmul("x", 3, 5, 7, operand_bytes=1, result_bytes=4)) == 21 + 35 + 4 * 15
    assert memory_bytes(Matmul("x", 3, 5, 7, batch=11)) == 11 * 2 * (21 + 35 + 15)


def test_an_accumulated_product_reads_its_result_too():
    once, added = (memory_bytes(Matmul("x", 3, 5, 7, result_bytes=4, accumulate=a)) for a in (False, True))
    assert added - once == 4 * 15
    assert flops(Matmul("x", 3, 5, 7, accumulate=True)) == 2 * 3 * 5 * 7


def test_attention_is_two_products_forward_and_five_backward():
    # q·k and p·v: each 2 · pairs · head_dim a head and sequence
    assert flops(core()) == 2 * (2 * 100 * 16) * 4 * 3
    assert flops(core(backward=True)) == 2.5 * flops(core())


def test_attention_never_stores_its_scores():
    # q and the result: 8 rows of 4 heads; k and v: 32 rows of 2 heads; all 16 wide, 2 bytes, 3 sequences
    assert memory_bytes(core()) == 3 * 2 * 16 * (2 * 8 * 4 + 2 * 32 * 2)
    assert memory_bytes(core(backward=True)) == 2 * memory_bytes(core())
    assert memory_bytes(core(pairs=200)) == memory_bytes(core())


def test_streams_and_messages_do_no_arithmetic():
    assert (flops(NORM), memory_bytes(NORM), kernels(NORM)) == (0, 100, 2)
    assert (flops(GATHER), memory_bytes(GATHER), kernels(GATHER)) == (0, 0, 1)
    assert kernels(UP) == kernels(core()) == 1


# --- nodes --------------------------------------------------------------------------------------------------------


def test_series_add_and_repeats_multiply():
    tree = Serial("model", (Repeat("layers", 3, LAYER), UP))
    assert total(tree, flops) == 3 * 256 + 128
    assert total(tree, kernels) == 3 * (2 + 1 + 1 + 1) + 1
    assert total(tree, payload) == 3000
    assert total(Serial("nothing", ()), flops) == 0
    assert total(Repeat("half", Fraction(1, 2), LAYER), flops) == 128


def test_hidden_work_counts_and_what_it_hides_behind_does_not_count_again():
    hidden = Overlap("hidden", GATHER, behind=LAYER)
    assert total(hidden, payload) == 1000
    assert total(hidden, flops) == 0
    assert total(Serial("both", (LAYER, hidden)), flops) == total(LAYER, flops)
    assert [leaf.name for leaf in leaves(hidden)] == ["gather"]


def test_leaves_come_once_and_in_order():
    tree = Serial(
        "model", (NORM, Repeat("layers", 5, Serial("layer", (UP, DOWN))), Overlap("hidden", GATHER, UP))
    )
    assert [leaf.name for leaf in leaves(tree)] == ["norm", "up", "down", "gather"]
    assert [leaf.name for leaf in leaves(pipeline())] == ["entry", "up", "head", "send"]
    assert list(leaves(UP)) == [UP]


def test_a_pipeline_counts_the_mean_over_its_stages():
    # one micro-batch through all stages: 12 · 128 + 2000 FLOP, of which a device does a quarter, 8 times
    assert total(pipeline(), flops) == 8 * (12 * 128 + 2000) / 4
    assert total(pipeline(stages=1), flops) == 8 * (12 * 128 + 2000)
    # every device sends for itself
    assert total(pipeline(), payload) == 8 * 2 * 7
    assert total(pipeline(stages=2), payload) == 8 * 2 * 7


@given(stages=st.integers(1, 64), micro_batches=st.integers(1, 64), repeats=st.integers(0, 20))
def test_all_stages_together_do_the_whole_work(stages, micro_batches, repeats):
    body = Repeat("layers", repeats, LAYER)
    tree = pipeline(stages=Fraction(stages), micro_batches=micro_batches, body=body)
    assert stages * total(tree, flops) == micro_batches * (repeats * 256 + 2000)


@pytest.mark.parametrize("measure", [flops, memory_bytes, kernels])
def test_totals_are_the_same_for_every_kind_of_number(measure):
    def tree(tokens, width, repeats):
        product = Matmul("product", tokens, width, 2 * width, accumulate=True)
        stream = Stream("stream", tokens * width * 4, launches=tokens)
        attention = core(sequences=tokens, head_dim=width, pairs=tokens * tokens)
        parts = Serial("parts", (product, Repeat("streams", repeats, stream), attention))
        return pipeline(body=parts, micro_batches=repeats, stages=width)

    rows = [(8.0, 4.0, 3.0), (16.0, 2.0, 0.5), (1.0, 1.0, 1.0)]
    alone = [total(tree(*row), measure) for row in rows]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    np.testing.assert_allclose(total(tree(*columns), measure), alone, rtol=1e-12)
    symbols = sympy.symbols("tokens width repeats", positive=True)
    traced = sympy.lambdify(symbols, total(tree(*symbols), measure), "numpy")
    np.testing.assert_allclose(traced(*columns), alone, rtol=1e-12)
