"""Layers: weights, operations, messages and saved bytes, equal to closed forms and conserved under every split."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.formulas.memory import activation_bytes_gpt_layer
from perfmodel.layers import (
    Embedding,
    Head,
    Mlp,
    Norm,
    Pass,
    PositionTable,
    Projection,
    Residual,
    SelfAttention,
)
from perfmodel.layers.attention import visible_pairs
from perfmodel.work import Attention, Collective, Matmul, Stream, flops, kernels, leaves, memory_bytes, total
from tests.strategies import gpt, models

SIZE = st.sampled_from([1, 2, 3, 8])


def exact(sequences=2, queries=8, tp=1, cp=1, **changes):
    """One pass in exact arithmetic, so that equal means equal."""
    numbers = map(Fraction, (sequences, queries, queries, tp, cp))
    return Pass(*numbers)._replace(**changes)


def matrices(model):
    """Weights that multiply every token: all matrices, and the head also where it is tied."""
    kinds = model.parameters_by_kind()
    tied = model.head.vocabulary * model.head.width if model.head.tied else 0
    return kinds["matrix"] + kinds.get("head", 0) + tied


def scores(model, tokens, sequence, *, products=2):
    """FLOPs of full attention: `products` of 2 a multiply-add over every pair, head and dimension."""
    attention = [(layer, n) for layer, n in model.layers() if isinstance(layer, SelfAttention)]
    return 2 * products * tokens * sequence * sum(n * layer.heads * layer.head_dim for layer, n in attention)


def attention(**changes):
    return SelfAttention(**({"hidden": 64, "heads": 8, "kv_heads": 4, "head_dim": 16} | changes))


def traffic(work):
    """Bytes that a ring sends for the messages of a tree, in units of payload · (p - 1) / p."""
    weight = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1}
    return total(work, lambda leaf: weight[leaf.kind] * leaf.payload if isinstance(leaf, Collective) else 0)


# --- parameters ---------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    # queries 8 · 16, keys and values 2 · 4 · 16 from 64; output 128 to 64
    assert sum(w.size for w in attention().weights()) == 64 * (128 + 128) + 128 * 64
    biased = attention(qkv_bias=True, output_bias=True).weights()
    assert sum(w.size for w in biased if w.kind == "bias") == 256 + 64
    assert sum(w.size for w in Mlp(hidden=6, inner=10).weights()) == 6 * 20 + 10 * 6
    assert sum(w.size for w in Mlp(hidden=6, inner=10, gated=False, bias=True).weights()) == 2 * 60 + 10 + 6
    assert [w.size for w in Norm(width=6, bias=True).weights()] == [6, 6]
    assert Norm(width=6, weight=False).weights() == ()
    assert [w.size for w in Embedding(vocabulary=10, width=6).weights()] == [60]
    assert [w.size for w in PositionTable(positions=5, width=6).weights()] == [30]
    assert [w.size for w in Projection(inputs=5, outputs=6).weights()] == [30]
    assert [w.size for w in Head(vocabulary=10, width=6, bias=True).weights()] == [60, 10]
    assert Head(vocabulary=10, width=6, tied=True).weights() == ()
    assert Residual(width=6).weights() == ()


@pytest.mark.parametrize(
    ("kind", "queries", "keys"),
    [("none", 0, 0), ("shared", 16, 16), ("per_head", 128, 64), ("full", 128, 64)],
)
def test_norms_on_queries_and_keys(kind, queries, keys):
    plain = sum(w.size for w in attention().weights())
    assert sum(w.size for w in attention(qk_norm=kind).weights()) == plain + queries + keys
    assert sum(w.size for w in attention(qk_norm=kind, qk_norm_bias=True).weights()) == plain + 2 * (
        queries + keys
    )


@given(model=models(tp=4), tp=st.sampled_from([1, 2, 4]))
def test_parameters_divide_and_come_back(model, tp):
    tp = Fraction(tp)
    for layer, _ in model.layers():
        whole = sum(w.size for w in layer.weights())
        copied = sum(w.size for w in layer.weights() if w.split is None)
        if isinstance(layer, SelfAttention) and layer.kv_heads < tp:
            continue  # key-value heads are copied; see below
        assert tp * layer.local_parameters(tp) == whole + (tp - 1) * copied


# --- operations ---------------------------------------------------------------------------------------------------


@given(model=models(), batch=SIZE, sequence=st.integers(1, 40))
def test_forward_is_the_closed_form(model, batch, sequence):
    """2 · tokens · weights + 4 · B · S² · heads · head_dim, attention in full."""
    tokens = batch * sequence
    p = exact(batch, sequence)
    expected = 2 * tokens * matrices(model) + scores(model, tokens, sequence)
    assert total(model.attending("full").forward(p), flops) == expected
    assert total(model.attending("full").forward(p._replace(fused_attention=False)), flops) == expected
    assert model.flops(batch=batch, sequence_length=sequence, attention="full") == expected
    assert (
        model.flops(batch=batch, sequence_length=sequence, attention="full", mode="training") == 3 * expected
    )


@given(
    batch=SIZE, sequence=st.integers(1, 40), window=st.sampled_from([None, 1, 7, 100]), causal=st.booleans()
)
def test_a_mask_credits_the_pairs_it_hides(batch, sequence, window, causal):
    model = gpt(windows=(window,))
    counted = sum(
        1
        for query in range(sequence)
        for key in range(sequence)
        if not causal or (key <= query and (window is None or key > query - window))
    )
    assert visible_pairs(sequence, window or sequence if causal else sequence, causal=causal) == counted
    attention = "windowed" if causal else "full"
    masked = model.flops(batch=batch, sequence_length=sequence, attention=attention)
    linear = 2 * batch * sequence * matrices(model)
    assert masked - linear == 4 * batch * counted * 2 * 64  # two layers of width 64


@pytest.mark.parametrize(
    ("layer", "times"),
    [
        (Mlp(hidden=64, inner=256), 2),
        (Mlp(hidden=64, inner=256, gated=False, bias=True), 2),
        (Projection(inputs=64, outputs=96), 2),
        (Head(vocabulary=1000, width=64), 2),
        (Embedding(vocabulary=1000, width=64), 2),
    ],
)
@given(p=st.builds(exact, SIZE, SIZE, SIZE))
def test_backward_of_linear_layers_is_twice_forward(layer, times, p):
    assert total(layer.backward(p), flops) == times * total(layer.forward(p), flops)


@given(p=st.builds(exact, SIZE, SIZE, st.sampled_from([1, 2, 4]), SIZE), causal=st.booleans())
def test_backward_of_attention_is_two_and_a_half_cores_and_twice_the_projections(p, causal):
    layer = attention(causal=causal)
    forward, backward, core = (
        total(part, flops) for part in (layer.forward(p), layer.backward(p), layer.core(p))
    )
    assert backward == 2 * (forward - core) + Fraction(5, 2) * core
    # products one by one, nothing recomputed: two for each of the two
    eager = p._replace(fused_attention=False)
    assert total(layer.backward(eager), flops) == 2 * total(layer.forward(eager), flops)


@given(
    model=models(tp=4), tp=st.sampled_from([1, 2, 4]), cp=SIZE, together=st.booleans(), fused=st.booleans()
)
def test_splitting_divides_the_operations_exactly(model, tp, cp, together, fused):
    """tp and cp ranks together do what one device would: no more, no less."""
    one = exact(2, 24, fused_attention=fused)
    split = exact(2, 24, tp, cp, fused_attention=fused, sequence_parallel=together)
    for layer, _ in model.layers():
        copies = 1 if isinstance(layer, Projection) and not together else tp
        if isinstance(layer, SelfAttention) and layer.kv_heads < tp:
            continue  # key-value heads are copied, and so is their projection
        for whole, share in (
            (layer.forward(one), layer.forward(split)),
            (layer.backward(one), layer.backward(split)),
        ):
            assert copies * cp * total(share, flops) == total(whole, flops)


@pytest.mark.parametrize("bias", [False, True])
def test_copied_key_value_heads_are_held_on_every_rank(bias):
    """Two key-value heads over 8 ranks: each rank holds one whole head, its keys and its values."""
    layer, p = attention(kv_heads=2, qkv_bias=bias), exact(tp=8)
    assert layer.local_parameters(Fraction(8)) == (64 + bias) * (16 + 2 * 16) + 16 * 64
    # saved: the input, one query head, one key and one value head, one result
    assert layer.saved(p) - layer.saved_core(p) == 16 * 2 * (64 + 16 + 2 * 16 + 16)
    rotated = [leaf for leaf in leaves(layer.forward(p)) if leaf.name == "rotary"]
    assert [leaf.bytes for leaf in rotated] == [16 * (16 + 16) * 2 * 2]


def test_copied_key_value_heads_are_computed_on_every_rank():
    layer, tp = attention(kv_heads=2), 8
    whole, share = total(layer.forward(exact()), flops), total(layer.forward(exact(tp=tp)), flops)
    projection = 2 * 16 * 64 * 2 * 16  # 16 tokens, from 64 to one key and one value head of 16
    assert tp * share == whole + (tp - 2) * projection


@given(
    p=st.builds(
        exact,
        SIZE,
        st.sampled_from([8, 24]),
        SIZE,
        SIZE,
        sequence_parallel=st.booleans(),
        dropout=st.booleans(),
    )
)
def test_nothing_is_negative(p):
    for layer, _ in gpt(heads=8).layers():
        for work in (layer.forward(p), layer.backward(p), layer.core(p)):
            assert all(
                measure(leaf) >= 0 for leaf in leaves(work) for measure in (flops, memory_bytes, kernels)
            )
        assert layer.saved(p) >= layer.saved_core(p) >= 0


# --- kernels and bytes of single layers ---------------------------------------------------------------------------


def test_streams_by_hand():
    p = exact(2, 8)  # 16 tokens of 2 bytes
    norm, add = Norm(width=6), Residual(width=6)
    assert [leaf.bytes for leaf in leaves(norm.forward(p))] == [16 * 6 * 2 * 2]
    assert [leaf.bytes for leaf in leaves(norm.backward(p))] == [16 * 6 * 3 * 2]
    assert [leaf.bytes for leaf in leaves(add.forward(p))] == [16 * 6 * 3 * 2]
    # with dropout a mask of one byte is written, too
    assert [leaf.bytes for leaf in leaves(add.forward(p._replace(dropout=True)))] == [16 * 6 * (3 * 2 + 1)]
    gated, plain = Mlp(hidden=6, inner=10), Mlp(hidden=6, inner=10, gated=False)
    for layer, passes in ((gated, 3), (plain, 2)):
        assert [leaf.bytes for leaf in leaves(layer.forward(p)) if isinstance(leaf, Stream)] == [
            16 * 10 * passes * 2
        ]


@given(tp=st.sampled_from([1, 2, 4]))
def test_sequence_parallelism_divides_norms_and_residuals(tp):
    apart, together = (exact(2, 8, tp, sequence_parallel=flag) for flag in (False, True))
    for layer in (Norm(width=64), Residual(width=64)):
        for work in (layer.forward, layer.backward):
            assert tp * total(work(together), memory_bytes) == total(work(apart), memory_bytes)
            assert total(work(apart), memory_bytes) == total(work(exact(2, 8)), memory_bytes)


def test_a_weight_gradient_is_added_to_in_its_own_format():
    p = exact()._replace(gradient_bytes=4)
    dgrad, wgrad = (
        leaf for leaf in leaves(Projection(inputs=5, outputs=6).backward(p)) if isinstance(leaf, Matmul)
    )
    assert (dgrad.m, dgrad.n, dgrad.k, dgrad.accumulate, dgrad.result_bytes) == (16, 5, 6, False, 2)
    assert (wgrad.m, wgrad.n, wgrad.k, wgrad.accumulate, wgrad.result_bytes) == (5, 6, 16, True, 4)


def test_flash_attention_is_one_kernel_a_ring_step():
    kernel = [
        leaf for leaf in leaves(attention().forward(exact(2, 8, tp=2, cp=4))) if isinstance(leaf, Attention)
    ]
    assert [(k.heads, k.kv_heads, k.queries, k.keys) for k in kernel] == [(4, 2, 2, 2)]
    # 4 ring steps over a quarter of the pairs that a rank has: 8 · 9 / 2 of them, over 4 ranks and 4 steps
    assert kernel[0].pairs == Fraction(36, 16)


# --- messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [attention(), Mlp(hidden=64, inner=256)])
def test_a_tensor_parallel_block_sends_what_megatron_sends(layer):
    """One all-reduce forward and one backward; with sequence parallelism the same traffic, and the input once more."""
    payload = 16 * 64 * 2
    plain, together = exact(tp=2), exact(tp=2, sequence_parallel=True)

    def kinds(work):
        return [leaf.kind for leaf in leaves(work) if isinstance(leaf, Collective) and leaf.axis == "tp"]

    assert kinds(layer.forward(plain)) == ["all_reduce"]
    assert kinds(layer.backward(plain)) == ["all_reduce"]
    assert kinds(layer.forward(together)) == ["all_gather", "reduce_scatter"]
    assert kinds(layer.backward(together)) == ["all_gather", "all_gather", "reduce_scatter"]
    only_tp = total(
        layer.forward(plain), lambda leaf: leaf.payload if getattr(leaf, "axis", "") == "tp" else 0
    )
    assert only_tp == payload
    if isinstance(layer, Mlp):
        assert traffic(layer.forward(plain)) == traffic(layer.forward(together)) == 2 * payload
        assert traffic(layer.backward(together)) == traffic(layer.backward(plain)) + payload


@pytest.mark.parametrize("layer", [attention(), Mlp(hidden=64, inner=256)])
@given(tp=st.sampled_from([1, 2, 4, 8]), together=st.booleans())
def test_overlap_changes_when_messages_travel_but_not_how_much(layer, tp, together):
    p = exact(tp=tp, sequence_parallel=together)
    for work in (layer.forward, layer.backward):
        assert traffic(work(p._replace(overlap_tensor=True))) == traffic(work(p))


@given(cp=SIZE, kv_heads=st.sampled_from([1, 2, 4, 8]), tp=st.sampled_from([1, 2]))
def test_the_ring_passes_keys_and_values_and_back_their_gradients(cp, kv_heads, tp):
    layer, p = attention(kv_heads=kv_heads), exact(2, 8, tp, cp)
    payload = (
        2 * 8 * 2 * max(kv_heads / tp, 1) * 16 * 2
    )  # sequences, positions, k and v, heads, dimension, bytes

    def ring(work):
        return [(leaf.kind, leaf.payload) for leaf in leaves(work) if getattr(leaf, "axis", "") == "cp"]

    assert ring(layer.forward(p)) == [("all_gather", payload)]
    assert ring(layer.backward(p)) == [("all_gather", payload), ("reduce_scatter", payload)]


# --- activations --------------------------------------------------------------------------------------------------


def kept(model, p):
    """Bytes saved by one layer of a model, and what recomputing the core gives back."""
    layers = model.blocks[0].layers
    return sum(layer.saved(p) for layer in layers), sum(layer.saved_core(p) for layer in layers)


@given(
    heads=st.sampled_from([8, 16]), head_dim=SIZE, batch=SIZE, sequence=st.integers(1, 64),
    tp=st.sampled_from([1, 2, 8]),
)  # fmt: skip
def test_a_gpt_layer_keeps_what_korthikanti_counts(heads, head_dim, batch, sequence, tp):
    """Eq. 4 of arXiv:2205.05198: sbh (34 + 5 as/h) / t, and 34 sbh / t once the core is recomputed (table 2)."""
    hidden = heads * head_dim
    p = exact(batch, sequence, tp, fused_attention=False, dropout=True, sequence_parallel=True)
    saved, core = kept(gpt(hidden=hidden, heads=heads), p)
    rows = Fraction(sequence * batch * hidden, tp)
    assert saved - core == 34 * rows
    assert core == 5 * Fraction(heads * sequence**2 * batch, tp)
    published = activation_bytes_gpt_layer(
        sequence_length=sequence, micro_batch=batch, hidden=hidden, heads=heads, tp=tp
    )
    assert float(saved) == pytest.approx(published, rel=1e-14)


def test_what_makes_up_the_34_bytes():
    """Attention 11 and its norm 2, feed-forward 19 and its norm 2 (section 4.1: 11 + 19 + 4)."""
    p = exact(1, 1, fused_attention=False, dropout=True)
    norm, attend, add, _, mlp, _ = gpt(hidden=64, heads=4).blocks[0].layers
    assert norm.saved(p) / 64 == 2  # its input
    assert (
        attend.saved(p) - attend.saved_core(p) + add.saved(p)
    ) / 64 == 11  # input 2, q k v 6, result 2, mask 1
    assert (mlp.saved(p) + add.saved(p)) / 64 == 19  # input 2, before and after GeLU 8 each, mask 1


@given(tp=st.sampled_from([1, 2, 8]))
def test_without_sequence_parallelism_norms_and_residuals_stay_whole(tp):
    """Eq. 2 of arXiv:2205.05198: sbh (10 + 24 / t + 5 as / ht)."""
    p = exact(2, 16, tp, fused_attention=False, dropout=True)
    saved, core = kept(gpt(hidden=64, heads=8), p)
    assert saved - core == 2 * 16 * 64 * (10 + Fraction(24, tp))


@pytest.mark.parametrize(
    ("element_bytes", "dropout", "fused", "recompute_core", "bytes_alive"),
    [  # h 1024, a 16, b 4, s 1024: bytes that torch 2.13's saved_tensors_hooks found, without norm statistics
        (2, True, False, False, 478_150_656), (2, True, False, True, 142_606_336),
        (2, False, False, False, 268_435_456), (2, False, False, True, 134_217_728),
        (4, True, False, False, 880_803_840), (4, True, False, True, 276_824_064),
        (4, False, False, False, 536_870_912), (4, False, False, True, 268_435_456),
        (2, False, True, True, 134_217_728),
    ],
)  # fmt: skip
def test_a_gpt_layer_keeps_what_torch_keeps(element_bytes, dropout, fused, recompute_core, bytes_alive):
    p = exact(4, 1024, fused_attention=fused, dropout=dropout, element_bytes=element_bytes)
    saved, core = kept(gpt(hidden=1024, heads=16), p)
    assert saved - core * recompute_core == bytes_alive


def test_fused_attention_keeps_one_number_a_row():
    p = exact(2, 16)
    saved, core = kept(gpt(hidden=64, heads=8), p)
    assert saved - core == 32 * 2 * 16 * 64
    assert core == 2 * 16 * 8 * 4


def test_a_gated_layer_keeps_gate_up_and_product():
    # fused kernels: input, gate, up and product; unfused eager code keeps the activated gate as well
    assert Mlp(hidden=6, inner=10).saved(exact()) == 16 * 2 * (6 + 3 * 10)
    # grouped-query attention: input 64, q 128, k and v 64 each, result 128
    assert attention().saved(exact()) - attention().saved_core(exact()) == 16 * 2 * (64 + 128 + 2 * 64 + 128)


def test_the_ends_keep_tokens_and_logits():
    p = exact(2, 8, tp=2)
    assert Embedding(vocabulary=1000, width=64).saved(p) == 16 * 8
    assert PositionTable(positions=8, width=64).saved(p) == 0
    head = Head(vocabulary=1000, width=64)
    assert head.logits_bytes(p) == 16 * 500 * 4
    assert head.saved(p) == 16 * 64 * 2 + 16 * 500 * 4
    assert Projection(inputs=5, outputs=6).saved(p) == 16 * 5 * 2


def test_fp8_quantises_what_enters_a_product_and_nothing_else() -> None:
    """Forward casts and transposes the input, backward the output's gradient; attention and head stay in 16 bits."""
    p = Pass(1, 64, 64, dtype="fp8", operand_bytes=1)
    layer = Mlp(hidden=8, inner=32, gated=False)
    up = next(leaf for leaf in leaves(layer.forward(p)) if leaf.name == "mlp up")
    assert (up.dtype, up.operand_bytes, up.result_bytes) == ("fp8", 1, 2)
    assert up.quantise_bytes == 64 * 8 * (2 + 1 + 1)
    assert memory_bytes(up) == 1 * 8 * (64 + 32) + 2 * 64 * 32 + 64 * 8 * 4
    dgrad, wgrad = (
        next(leaf for leaf in leaves(layer.backward(p)) if leaf.name == name)
        for name in ("mlp up dgrad", "mlp up wgrad")
    )
    assert (dgrad.quantise_bytes, wgrad.quantise_bytes) == (64 * 32 * 4, 0)
    rest = [*leaves(attention().core(p)), *leaves(Head(vocabulary=10, width=8).forward(p))]
    assert {leaf.dtype for leaf in rest if hasattr(leaf, "dtype")} == {"bf16"}
    assert all(getattr(leaf, "quantise_bytes", 0) == 0 for leaf in rest)
