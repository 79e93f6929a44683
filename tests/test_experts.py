"""Experts, latent attention and scans: weights, operations, messages and saved bytes by hand, and under every split."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.huggingface import read
from perfmodel.layers import MixtureOfExperts, Mlp, Pass
from perfmodel.layers.attention import visible_pairs
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.layers.linear_attention import GatedDeltaNet
from perfmodel.layers.moe import experts_hit
from perfmodel.layers.recurrent_gate import RecurrentGate
from perfmodel.layers.rwkv import ChannelMix, TimeMix
from perfmodel.layers.state_space import Mamba, Mamba2
from perfmodel.model import Model
from perfmodel.work import Collective, Matmul, flops, kernels, leaves, memory_bytes, total

FOLDER = Path(__file__).parent / "golden"
ROWS = json.loads((FOLDER / "parameters.json").read_text(encoding="utf-8"))["rows"]
FLOPS = json.loads((FOLDER / "flops.json").read_text(encoding="utf-8"))["rows"]
ROUTED = [row for row in ROWS if "routed_expert_params" in row]
SIZE = st.sampled_from([1, 2, 3, 8])

MOE = {"hidden": 64, "inner": 32, "experts": 8, "top_k": 2}
LAYERS = {
    "experts": MixtureOfExperts(**MOE),
    "everything": MixtureOfExperts(
        **MOE,
        shared_inner=48,
        shared_gate=True,
        router_bias=True,
        expert_bias=True,
        latent=16,
        latent_bias=True,
    ),
    "plain experts": MixtureOfExperts(**MOE, gated=False, shared_inner=48, shared_bias=True),
    "latent": LatentAttention(
        hidden=64, heads=8, plain_dim=8, rotary_dim=4, value_dim=8, kv_rank=16, q_rank=24, bias=True
    ),
    "latent, whole queries": LatentAttention(
        hidden=64, heads=8, plain_dim=8, rotary_dim=5, value_dim=8, kv_rank=16
    ),
    "mamba": Mamba(hidden=64, inner=128, state=4, rank=4, norms="learned", bias=True),
    "mamba2": Mamba2(hidden=64, heads=8, head_dim=16, state=8, groups=8, bias=True),
    "delta net": GatedDeltaNet(hidden=64, key_heads=8, value_heads=16, key_dim=8, value_dim=8),
    "recurrence": RecurrentGate(hidden=64, width=64, heads=8),
    "time mix": TimeMix(hidden=64, width=64),
    "channel mix": ChannelMix(hidden=64, inner=256),
}


def exact(sequences=2, queries=8, tp=1, cp=1, **changes):
    """One pass in exact arithmetic, so that equal means equal."""
    length = Fraction(queries)
    return Pass(Fraction(sequences), length, length, Fraction(tp), Fraction(cp))._replace(**changes)


def matrices(layer):
    """Weights that a token is multiplied with."""
    return sum(weight.size * weight.active for weight in layer.weights() if weight.kind == "matrix")


def inside(layer, p):
    """Operations that are no product with a weight: attention's pairs, products within chunks."""
    if isinstance(layer, LatentAttention):
        pairs = visible_pairs(p.queries, p.keys, causal=layer.causal)
        return 2 * p.sequences * pairs * layer.heads * (layer.key_dim + layer.value_dim)
    return sum(flops(one) for one in layer.chunk_products(p)) if hasattr(layer, "chunk_products") else 0


@pytest.fixture(params=LAYERS, name="layer")
def _layer(request):
    return LAYERS[request.param]


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sequence", [1, 8, 37, 300])
def test_forward_is_the_closed_form(layer, batch, sequence):
    """2 · tokens · the weights that a token uses, and what attention or the scan adds."""
    p = exact(batch, sequence)
    assert total(layer.forward(p), flops) == 2 * batch * sequence * matrices(layer) + inside(layer, p)


def test_backward_is_twice_forward(layer):
    p = exact(2, 24)
    twice = 2 * total(layer.forward(p), flops)
    if isinstance(layer, LatentAttention):  # scores again: a third product of the size of the keys
        twice += 2 * p.sequences * visible_pairs(p.queries, p.keys, causal=True) * layer.heads * layer.key_dim
    if isinstance(layer, Mamba2):  # its kernels keep neither scores nor states of the chunks: both again
        length = min(layer.scan_chunk, p.queries)
        scores, states = length * layer.groups, layer.heads * layer.head_dim
        twice += 2 * p.tokens * layer.state * (scores + states)
    assert total(layer.backward(p), flops) == twice


def test_tp_ranks_divide_the_work_but_for_what_all_of_them_repeat(layer):
    """With the sequence split outside the region, only projections to latents and shared gates are repeated."""
    p = exact(2, 24, 4, sequence_parallel=True)
    repeated = sum(
        weight.size
        for weight in layer.weights()
        if weight.kind == "matrix"
        and weight.split is None
        and weight.name not in ("router", "latent in", "latent out", "receptance")
    )
    whole = total(layer.forward(exact(2, 24)), flops)
    assert 4 * total(layer.forward(p), flops) == whole + 3 * 2 * 48 * repeated


@pytest.mark.parametrize("ep", [1, 2, 4])
@pytest.mark.parametrize("tp", [1, 2, 4])
def test_parameters_divide_and_come_back(layer, tp, ep):
    tp, ep = Fraction(tp), Fraction(ep)
    sizes = {split: sum(w.size for w in layer.weights() if w.split == split) for split in ("tp", "ep", None)}
    assert layer.local_parameters(tp, ep) == sizes["tp"] / tp + sizes["ep"] / (tp * ep) + sizes[None]
    assert layer.local_parameters(Fraction(1)) == sum(w.size for w in layer.weights())


@given(p=st.builds(
    exact, SIZE, st.sampled_from([8, 24]), st.sampled_from([1, 2, 4, 8]), sequence_parallel=st.booleans(),
    ep=st.sampled_from([1, 4]), fused_attention=st.booleans(),
))  # fmt: skip
def test_nothing_is_negative(p):
    for layer in LAYERS.values():
        for work in (layer.forward(p), layer.backward(p), layer.core(p)):
            counted = [measure(leaf) for leaf in leaves(work) for measure in (flops, memory_bytes, kernels)]
            assert all(number >= 0 for number in counted)
        assert layer.saved(p) >= layer.saved_core(p) >= 0
        assert layer.kv_bytes(100, 2) + layer.state_bytes(2) >= 0


def test_numbers_arrays_and_symbols_agree(layer):
    lengths = np.array([8.0, 16.0])
    symbol = sympy.Symbol("s", positive=True)

    def counted(length):
        p = Pass(2, length, length)
        return total(layer.forward(p), flops), total(layer.backward(p), memory_bytes), layer.saved(p)

    for at, length in enumerate(lengths):
        floats = counted(length)
        assert np.allclose([each[at] * np.ones(2)[at] for each in map(np.broadcast_to, counted(lengths), [(2,)] * 3)],
                           floats)  # fmt: skip
        symbols = [float(sympy.sympify(each).subs(symbol, length)) for each in counted(symbol)]
        assert np.allclose(symbols, floats)


def test_a_tensor_parallel_block_sends_one_all_reduce_each_way(layer):
    p = exact(tp=2)

    def sums(work):
        return [
            leaf.payload
            for leaf in leaves(work)
            if isinstance(leaf, Collective) and leaf.name == "tp all-reduce"
        ]

    assert sums(layer.forward(p)) == sums(layer.backward(p)) == [16 * 64 * 2]


def test_limits_name_what_tp_must_divide(layer):
    assert layer.tensor_limits()
    assert all(size > 0 and name for name, size in layer.tensor_limits())


# --- experts ------------------------------------------------------------------------------------------------------


def test_weights_of_experts_by_hand():
    plain, full = LAYERS["experts"], LAYERS["everything"]
    assert sum(w.size for w in plain.weights()) == 64 * 8 + 8 * 3 * 64 * 32
    routed = 8 * 3 * 16 * 32 + 8 * (64 + 16)
    shared = 3 * 64 * 48 + 64
    latent = 2 * 64 * 16 + 16 + 64
    assert sum(w.size for w in full.weights()) == 64 * 8 + 8 + routed + shared + latent
    assert sum(w.size for w in full.weights() if w.split == "ep") == routed
    assert {w.active for w in full.weights()} == {1, Fraction(2, 8)}


def test_all_experts_are_used_where_top_k_is_all():
    layer = MixtureOfExperts(**MOE | {"top_k": 8})
    assert {weight.active for weight in layer.weights()} == {1}


@pytest.mark.parametrize("top_k", [0, 9, -1])
def test_a_token_uses_at_least_one_expert_and_at_most_all(top_k):
    with pytest.raises(InputError, match=f"top_k = {top_k} must lie between 1 and the 8 experts"):
        MixtureOfExperts(**MOE | {"top_k": top_k})


@given(experts=st.sampled_from([2, 8, 64, 256]), share=st.integers(1, 64), tokens=st.integers(1, 10_000))
def test_experts_hit_are_close_to_what_chance_says(experts, share, tokens):
    top_k = max(experts // share, 1)
    hit = experts_hit(experts, top_k, tokens)
    assert min(top_k, experts) <= hit <= experts
    if top_k < experts / 2:
        assert hit == pytest.approx(experts * (1 - (1 - top_k / experts) ** tokens), abs=0.02 * experts)


def test_products_are_grouped_by_expert():
    """1024 tokens in pairs over 8 experts: 256 rows each; backward sums over those rows."""
    layer, p = LAYERS["experts"], exact(1, 1024)
    up, down = (
        leaf for leaf in leaves(layer.forward(p)) if isinstance(leaf, Matmul) and leaf.name.startswith("ex")
    )
    for leaf, n, k in ((up, 64, 64), (down, 64, 32)):
        assert (float(leaf.batch), float(leaf.m)) == (
            pytest.approx(8, rel=0.001),
            pytest.approx(256, rel=0.001),
        )
        assert (leaf.n, leaf.k) == (n, k)
    grads = [leaf for leaf in leaves(layer.backward(p)) if getattr(leaf, "accumulate", False)]
    assert [float(g.k) for g in grads if g.name.startswith("ex")] == [pytest.approx(256, rel=0.001)] * 2


def test_few_tokens_read_few_experts():
    layer = MixtureOfExperts(hidden=64, inner=32, experts=256, top_k=8)
    one, many = (total(layer.forward(Pass(batch, 1, 1)), memory_bytes) for batch in (1, 4096))
    weights = 2 * 3 * 64 * 32  # bytes of one expert
    assert one < 10 * weights + 2 * 64 * 256 + 100_000
    assert many > 256 * weights


@pytest.mark.parametrize(("together", "tokens"), [(False, 16), (True, 8)])
def test_experts_send_every_routed_copy_there_and_back(together, tokens):
    p = exact(tp=2, ep=4, sequence_parallel=together)
    layer = LAYERS["experts"]
    for work in (layer.forward(p), layer.backward(p)):
        sent = [leaf for leaf in leaves(work) if isinstance(leaf, Collective) and leaf.axis == "ep"]
        assert [(leaf.kind, leaf.payload) for leaf in sent] == [("all_to_all", tokens * 2 * 64 * 2)] * 2


def test_ep_ranks_do_as_much_as_before_on_fewer_experts():
    """Each has tokens of its own: the same rows, of which each expert gets more."""
    layer = LAYERS["experts"]
    alone, shared = (total(layer.forward(exact(ep=ep)), flops) for ep in (1, 4))
    assert alone == shared
    up = next(leaf for leaf in leaves(layer.forward(exact(4, 64, ep=4))) if leaf.name == "experts up")
    assert float(up.batch) == pytest.approx(2, rel=0.01)
    assert up.batch * up.m == 4 * 64 * 2


def test_experts_keep_every_routed_copy():
    # input 64; each of two copies its input 64 and gate, up and product 32 each; 32-bit scores of 8 experts
    assert LAYERS["experts"].saved(exact()) == 16 * (2 * (64 + 2 * (64 + 3 * 32)) + 4 * 8)


@pytest.mark.golden
@pytest.mark.parametrize("row", ROUTED, ids=lambda row: row["model"])
def test_active_parameters_are_those_of_transformers(row):
    model = read({"model_type": row["model_type"], **row["config"]})
    assert model.routed_parameters == row["routed_expert_params"]
    assert model.active_parameters == row["active_params_per_token"]
    assert model.active(embedding=False) == row["active_params_without_token_embedding"]
    assert model.active(embedding=False, head=False) == model.active(embedding=False) - row["lm_head_params"]


def test_dense_models_use_all_they_have():
    model = decoder(layers=2, hidden=64, heads=4, inner=256, vocabulary=1000)
    assert (model.active_parameters, model.routed_parameters) == (model.parameters, 0)


def test_one_expert_is_a_feed_forward_with_a_router():
    one = MixtureOfExperts(hidden=64, inner=32, experts=1, top_k=1)
    assert matrices(one) == matrices(Mlp(hidden=64, inner=32)) + 64


# --- latent attention ---------------------------------------------------------------------------------------------


def test_weights_of_latent_attention_by_hand():
    # keys and values: 64 -> 16 + 4, norm 16, 16 -> 8 · 16; queries: 64 -> 24, norm 24, 24 -> 8 · 12; 8 · 8 -> 64
    named = 64 * 20 + 16 + 16 * 128 + 64 * 24 + 24 + 24 * 96 + 64 * 64
    assert sum(w.size for w in LAYERS["latent"].weights()) == named + 20 + 24 + 64


def test_only_the_latent_is_cached():
    assert LAYERS["latent"].kv_bytes(100, 2) == 100 * (16 + 4) * 2


@pytest.mark.golden
def test_deepseek_decodes_with_its_projections_absorbed():
    """Torch expands the latents of all 1025 positions for one new token; absorbed, heads look at latents instead."""
    row = next(row for row in FLOPS if row["model"] == "deepseek-v3" and row["kind"] == "decode")
    model, layers, heads, keys = Model.load("deepseek-v3"), 61, 128, 1025
    products = 2 * model.active(embedding=False) - 2 * sum(
        w.size * n for w, n in model.weights() if w.kind == "norm"
    )
    absorbed = 2 * layers * heads * keys * (512 + 64 + 512)
    assert model.flops(mode="decode", cached=1024) == products + absorbed
    expanded = 2 * layers * (1024 * 512 * heads * (128 + 128) + heads * keys * (192 + 128))
    assert row["decode"] == products + expanded


@pytest.mark.parametrize("fused", [False, True])
def test_latents_in_context_parallelism_pass_keys_and_values_of_every_head(fused):
    p = exact(2, 8, 2, 4, fused_attention=fused)
    sent = [leaf.payload for leaf in leaves(LAYERS["latent"].forward(p)) if getattr(leaf, "axis", "") == "cp"]
    assert sent == [2 * 8 * 4 * (12 + 8) * 2]


# --- scans --------------------------------------------------------------------------------------------------------


def test_weights_of_scans_by_hand():
    sizes = {name: sum(w.size for w in layer.weights()) for name, layer in LAYERS.items()}
    assert sizes["mamba"] == (
        64 * 256 + 256 + 128 * 5 + 128 * 12 + 4 * 128 + 128 + 128 * 4 + 128 + 128 * 64 + 64 + 4 + 4 + 4
    )
    assert sizes["mamba2"] == 64 * (128 + 256 + 8) + 392 + 256 * 5 + 3 * 8 + 128 + 128 * 64 + 64
    assert sizes["delta net"] == 64 * (256 + 128 + 32) + 256 * 4 + 2 * 16 + 8 + 128 * 64
    assert sizes["recurrence"] == 2 * (64 * 64 + 64) + 64 * 5 + 2 * (8 * 8 * 8 + 64) + 64 + 64 * 64 + 64
    assert sizes["time mix"] == 2 * 64 + 3 * 64 + 4 * 64 * 64
    assert sizes["channel mix"] == 2 * 64 + 2 * 64 * 256 + 64 * 64


@pytest.mark.golden
@pytest.mark.parametrize(
    ("model", "length", "convolution"), [("mamba2-130m", 2048, 1792), ("mamba2-130m", 1024, 1792)]
)
def test_what_torch_counts_of_mamba2_and_why_it_is_more(model, length, convolution):
    """Scores once a head instead of once a group, states joined by a product, a padded convolution: 24 layers."""
    kind, key = {2048: ("decoder", "forward"), 1024: ("decode", "prefill")}[length]
    row = next(row for row in FLOPS if row["model"] == model and row["kind"] == kind)
    heads, state, size, chunk = 24, 128, 64, 256
    chunks = length // chunk
    scores = 2 * length * chunk * state * (heads - 1)
    joined = 2 * (chunks + 1) ** 2 * heads * size * state
    padded = 2 * convolution * 4 * (length + 3)
    ours = Model.load(model).flops(sequence_length=length)
    assert row[key] == ours + 24 * (scores + joined + padded)


@pytest.mark.golden
def test_what_torch_counts_of_mamba_and_why_it_is_more():
    """A padded convolution and the read of the state as a product: 24 layers, 16 tokens."""
    row = next(row for row in FLOPS if row["model"] == "mamba-130m" and row["kind"] == "decoder")
    ours = Model.load("mamba-130m").flops(sequence_length=16)
    assert row["forward"] == ours + 24 * (2 * 1536 * 4 * (16 + 3) + 2 * 16 * 1536 * 16)


def test_states_do_not_grow_with_the_sequence():
    for name in ("mamba", "mamba2", "delta net", "recurrence", "time mix"):
        assert LAYERS[name].kv_bytes(10**6, 2) == 0
        assert LAYERS[name].state_bytes(2) > 0
    assert LAYERS["mamba"].state_bytes(2) == 128 * (4 * 4 + 4 * 2)
