"""Families with experts, latents and scans: what their keys mean, which layers they make, what is refused and how."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfmodel.errors import InputError, UnsupportedError
from perfmodel.huggingface import FAMILIES, read
from perfmodel.layers import MixtureOfExperts, Mlp, SelfAttention
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.layers.linear_attention import GatedDeltaNet
from perfmodel.layers.recurrent_gate import RecurrentGate
from perfmodel.layers.state_space import Mamba, Mamba2
from perfmodel.model import Model

SHAPE = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 8, "num_attention_heads": 4}
DENSE = {**SHAPE, "num_key_value_heads": 2, "intermediate_size": 96}
MIXTRAL = {"model_type": "mixtral", **DENSE, "num_local_experts": 4, "num_experts_per_tok": 2}
QWEN = {
    "model_type": "qwen3_moe", **DENSE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
}  # fmt: skip
DEEPSEEK = {
    "model_type": "deepseek_v3", **SHAPE, "intermediate_size": 96, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "n_group": 4, "topk_group": 2, "kv_lora_rank": 16, "q_lora_rank": 24,
}  # fmt: skip
LLAMA4 = {**MIXTRAL, "model_type": "llama4_text", "head_dim": 16, "attention_chunk_size": 16}
DBRX = {
    "model_type": "dbrx", "vocab_size": 100, "d_model": 64, "n_layers": 2, "n_heads": 4,
    "attn_config": {"kv_n_heads": 2}, "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2, "ffn_hidden_size": 32},
}  # fmt: skip
JAMBA = {"model_type": "jamba", **DENSE, "num_experts": 4, "num_experts_per_tok": 2}
GRANITE = {
    "model_type": "granitemoehybrid", **DENSE, "num_local_experts": 4, "num_experts_per_tok": 2, "mamba_n_heads": 8,
}  # fmt: skip
BAMBA = {"model_type": "bamba", **DENSE, "mamba_n_heads": 8, "attn_layer_indices": [3]}
NEMOTRON = {
    "model_type": "nemotron_h", "vocab_size": 100, "hidden_size": 64, "hybrid_override_pattern": "M-*E",
    "num_attention_heads": 4, "num_key_value_heads": 2, "n_routed_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip
MAMBA2 = {
    "model_type": "mamba2", "vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_heads": 8,
    "head_dim": 16, "n_groups": 2,
}  # fmt: skip
GRIFFIN = {"model_type": "recurrent_gemma", **DENSE, "num_hidden_layers": 8}
NEXT = {**QWEN, "model_type": "qwen3_next"}
ALL = [MIXTRAL, QWEN, DEEPSEEK, LLAMA4, DBRX, JAMBA, GRANITE, BAMBA, NEMOTRON, MAMBA2, GRIFFIN, NEXT]


def kinds(model, *classes):
    """How many layers there are of each class."""
    return tuple(sum(n for layer, n in model.layers() if isinstance(layer, cls)) for cls in classes)


# --- which layers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "dense", "sparse"),
    [
        ({}, 0, 8), ({"decoder_sparse_step": 2}, 4, 4), ({"mlp_only_layers": [0, 7]}, 2, 6),
        ({"decoder_sparse_step": 3, "mlp_only_layers": [2]}, 7, 1), ({"decoder_sparse_step": 9}, 8, 0),
    ],
)  # fmt: skip
def test_steps_and_lists_say_which_layers_have_experts(changes, dense, sparse):
    assert kinds(read(QWEN | changes), Mlp, MixtureOfExperts) == (dense, sparse)


@pytest.mark.parametrize(("first", "dense"), [(0, 0), (3, 3), (99, 8), (-1, 0)])
def test_the_first_layers_are_dense(first, dense):
    model = read(DEEPSEEK | {"first_k_dense_replace": first})
    assert kinds(model, Mlp, MixtureOfExperts, LatentAttention) == (dense, 8 - dense, 8)


def test_llama_4_rotates_and_cuts_all_but_every_fourth_layer():
    model = read(LLAMA4)
    found = {
        (layer.rotary, layer.chunk): n for layer, n in model.layers() if isinstance(layer, SelfAttention)
    }
    assert found == {(True, 16): 6, (False, None): 2}
    assert kinds(model, MixtureOfExperts) == (8,)
    assert kinds(read(LLAMA4 | {"interleave_moe_layer_step": 2}), Mlp, MixtureOfExperts) == (4, 4)
    assert kinds(read(LLAMA4 | {"moe_layers": [1]}), Mlp, MixtureOfExperts) == (7, 1)
    assert kinds(read(LLAMA4 | {"moe_layers": []}), Mlp, MixtureOfExperts) == (8, 0)


def test_chunks_are_credited_by_name():
    chunked, full = (read(LLAMA4 | {"no_rope_layers": [flag] * 8}) for flag in (1, 0))
    pairs = 3 * 16 * 17 / 2 + 2 * 3 / 2  # of 50 positions: three whole chunks and one of two
    assert full.flops(sequence_length=50) - chunked.flops(sequence_length=50) == 8 * 4 * 64 * (
        50 * 51 / 2 - pairs
    )
    assert chunked.flops(sequence_length=50, attention="full") == full.flops(
        sequence_length=50, attention="full"
    )


def test_hybrids_place_their_layers():
    assert kinds(read(JAMBA), Mamba, SelfAttention, Mlp, MixtureOfExperts) == (7, 1, 4, 4)
    assert kinds(read(JAMBA | {"num_experts": 1}), Mlp, MixtureOfExperts) == (8, 0)
    assert kinds(read(BAMBA), Mamba2, SelfAttention) == (7, 1)
    assert kinds(read(GRANITE), Mamba2, SelfAttention, MixtureOfExperts) == (8, 0, 8)
    types = ["mamba", "attention"] * 4
    assert kinds(read(GRANITE | {"layer_types": types}), Mamba2, SelfAttention) == (4, 4)
    assert kinds(read(GRANITE | {"num_local_experts": 0, "num_experts_per_tok": 0}), Mlp) == (8,)
    assert kinds(read(NEMOTRON), Mamba2, SelfAttention, Mlp, MixtureOfExperts) == (1, 1, 1, 1)
    assert kinds(read(GRIFFIN), RecurrentGate, SelfAttention, Mlp) == (6, 2, 8)
    assert kinds(read(NEXT), GatedDeltaNet, SelfAttention, MixtureOfExperts) == (6, 2, 8)


def test_gpt_oss_has_sinks_in_all_layers_and_windows_in_every_other():
    model = read(MIXTRAL | {"model_type": "gpt_oss", "sliding_window": 8})
    found = [
        (layer.window, layer.sinks, n) for layer, n in model.layers() if isinstance(layer, SelfAttention)
    ]
    assert found == [(8, True, 4), (None, True, 4)]


def test_other_spellings_of_experts_are_read():
    assert read({**{k: v for k, v in QWEN.items() if k != "num_experts"}, "num_local_experts": 4}) == read(
        QWEN
    )
    renamed = {**{k: v for k, v in MIXTRAL.items() if k != "num_local_experts"}, "num_experts": 4}
    assert read(renamed) == read(MIXTRAL)
    words = {k: v for k, v in NEMOTRON.items() if k != "hybrid_override_pattern"}
    words |= {"layers_block_type": ["mamba", "mlp", "attention", "moe"]}
    assert read(words) == read(NEMOTRON)


def test_kimi_k2_is_a_deepseek_v3():
    kimi, deepseek = (read(DEEPSEEK | {"model_type": name}) for name in ("kimi_k2", "deepseek_v3"))
    assert kimi.blocks == deepseek.blocks


# --- totals that the authors state --------------------------------------------------------------------------------

STATED = {  # total and where it stands; with the biases of routers, which are buffers
    "mixtral-8x22b": (140_620_634_112, 0, "num_parameters() of mistralai/Mixtral-8x22B-v0.1"),
    "gpt-oss-20b": (20_914_757_184, 0, "num_parameters() of openai/gpt-oss-20b"),
    "gpt-oss-120b": (116_829_156_672, 0, "num_parameters() of openai/gpt-oss-120b"),
    "deepseek-v2": (235_741_434_880, 0, "safetensors of deepseek-ai/DeepSeek-V2"),
    "deepseek-v2-lite": (15_706_484_224, 0, "safetensors of deepseek-ai/DeepSeek-V2-Lite"),
    "deepseek-v3": (671_026_419_200, 58 * 256, "safetensors of deepseek-ai/DeepSeek-V3, main model"),
    "kimi-k2": (1_026_408_232_448, 60 * 384, "safetensors of moonshotai/Kimi-K2-Instruct"),
    "jamba-v0.1": (51_570_323_328, 0, "safetensors of ai21labs/Jamba-v0.1"),
    "mamba-2.8b": (2_768_345_600, 0, "num_parameters() of state-spaces/mamba-2.8b-hf"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATED)
def test_totals_that_others_state(name):
    stated, buffers, source = STATED[name]
    assert Model.load(name).parameters + buffers == stated, source


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("deepseek-v3", 36.6),
        ("kimi-k2", 31.7),
        ("qwen3-235b-a22b", 21.6),
        ("mixtral-8x7b", 12.7),
        ("glm-4.5", 32.9),
    ],
)
def test_active_parameters_without_the_table_are_what_cards_call_active(name, billions):
    assert Model.load(name).active(embedding=False) / 1e9 == pytest.approx(billions, abs=0.05)


# --- faults -------------------------------------------------------------------------------------------------------


def without(config, *keys):
    return {key: value for key, value in config.items() if key not in keys}


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            without(MIXTRAL, "num_experts_per_tok"),
            "num_experts_per_tok is missing: Experts that one token uses",
        ),
        (without(MIXTRAL, "num_local_experts"), "num_local_experts is missing: Experts of a layer"),
        (
            MIXTRAL | {"num_experts_per_tok": 5},
            "= 5 is more than num_local_experts = 4; valid: 1 to 4; nearest: 4",
        ),
        (MIXTRAL | {"num_experts_per_tok": 0}, "num_experts_per_tok must be greater than or equal to 1"),
        (
            MIXTRAL | {"num_experts": 3},
            "num_local_experts = 4 and num_experts = 3 are the same key and contradict",
        ),
        (MIXTRAL | {"num_local_experts": "8"}, "num_local_experts must be a valid integer"),
        (
            QWEN | {"mlp_only_layers": [8]},
            "mlp_only_layers names layer 8, but layers are counted from 0 to 7",
        ),
        (QWEN | {"mlp_only_layers": [-1]}, "mlp_only_layers names layer -1"),
        (without(QWEN, "num_experts_per_tok"), "num_experts_per_tok is missing"),
        (DEEPSEEK | {"n_group": 3}, "n_group = 3 must divide n_routed_experts = 8"),
        (DEEPSEEK | {"topk_group": 5}, "topk_group = 5 is more than n_group = 4"),
        (
            DEEPSEEK | {"num_experts_per_tok": 6},
            "num_experts_per_tok = 6 experts, but topk_group = 2 of n_group = 4",
        ),
        (DEEPSEEK | {"n_shared_experts": -1}, "n_shared_experts must be at least 0"),
        (DEEPSEEK | {"num_key_value_heads": 2}, "num_key_value_heads = 2 must be num_attention_heads = 4"),
        (LLAMA4 | {"moe_layers": [8]}, "moe_layers names layer 8"),
        (LLAMA4 | {"no_rope_layers": [1]}, "no_rope_layers names 1 layers, num_hidden_layers = 8"),
        (LLAMA4 | {"layer_types": ["full_attention"]}, "layer_types names 1 layers"),
        (
            DBRX | {"ffn_config": {"moe_num_experts": 4, "moe_top_k": 5}},
            "= 5 is more than moe_num_experts = 4",
        ),
        (DBRX | {"ffn_config": {"moe_num_experts": 4}}, "moe_top_k"),
        (DBRX | {"tie_word_embeddings": True}, "always has a head of its own"),
        (without(JAMBA, "num_experts_per_tok"), "num_experts_per_tok is missing"),
        (
            JAMBA | {"attn_layer_offset": 8},
            "attn_layer_offset = 8 must lie between 0 and attn_layer_period - 1 = 7",
        ),
        (GRANITE | {"num_experts_per_tok": None}, "num_experts_per_tok is missing"),
        (
            GRANITE | {"num_local_experts": 0},
            "num_experts_per_tok = 2 must lie between 0 and num_local_experts = 0",
        ),
        (GRANITE | {"layer_types": ["mamba"]}, "layer_types names 1 layers, num_hidden_layers = 8"),
        (
            GRANITE | {"mamba_n_heads": 7},
            "mamba_n_heads = 7 must divide mamba_expand · hidden_size = 2 · 64 = 128",
        ),
        (GRANITE | {"mamba_d_head": 8}, "mamba_n_heads · mamba_d_head = 8 · 8 = 64 must be mamba_expand"),
        (BAMBA | {"attn_layer_indices": [9]}, "attn_layer_indices names layer 9"),
        (BAMBA | {"mamba_n_groups": 3}, "mamba_n_groups = 3 must divide mamba_n_heads = 8"),
        (NEMOTRON | {"hybrid_override_pattern": "MX"}, "the pattern of layers names X; valid: M \\(mamba\\)"),
        (NEMOTRON | {"num_hidden_layers": 5}, "num_hidden_layers has 5 layers, the list of layers 4"),
        (without(NEMOTRON, "hybrid_override_pattern"), "hybrid_override_pattern is missing"),
        (
            without(NEMOTRON, "num_experts_per_tok"),
            "num_experts_per_tok missing: the pattern has layers of experts",
        ),
        (NEMOTRON | {"layers_block_type": ["mamba"]}, "pattern has 4 layers, the list of layers 1"),
        (
            MAMBA2 | {"num_heads": 4},
            "num_heads · head_dim = 4 · 16 = 64 must be expand · hidden_size = 2 · 64 = 128",
        ),
        (MAMBA2 | {"n_groups": 3}, "n_groups = 3 must divide num_heads = 8"),
        (GRIFFIN | {"lru_width": 66}, "num_attention_heads = 4 must divide lru_width = 66"),
        (GRIFFIN | {"block_types": ["attention", "wave"]}, "block_types"),
        (
            NEXT | {"linear_num_key_heads": 3},
            "linear_num_key_heads = 3 must divide linear_num_value_heads = 32",
        ),
        (NEXT | {"layer_types": ["linear_attention"]}, "layer_types names 1 layers"),
    ],
)
def test_contradictions_are_told(broken, told):
    with pytest.raises(InputError, match=told) as caught:
        read(broken)
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize(
    "config", [QWEN | {"layer_types": ["mamba"] * 8}, LLAMA4 | {"layer_types": ["linear_attention"] * 8},
               MIXTRAL | {"kv_lora_rank": 16}, MAMBA2 | {"num_experts": 4}]
)  # fmt: skip
def test_what_a_family_does_not_know_is_refused(config):
    with pytest.raises(UnsupportedError, match="not built yet"):
        read(config)


STRANGE = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 1, 2, 7, 10**9, 1.5, float("nan"), "", "auto", "M*", [], [0], [99], ["mamba"]]
    ),
    st.sampled_from([{}, {"moe_top_k": 99}, [["mamba"]], [None] * 8, ["full_attention"] * 8, [1] * 8, "7"]),
    st.integers(-3, 200),
)
KEYS = sorted({key for each in ALL for key in each} | {
    "layer_types", "mlp_only_layers", "layers_block_type", "attn_layer_offset", "expert_layer_offset", "mamba_d_head",
    "mamba_n_groups", "block_types", "lru_width", "moe_layers", "no_rope_layers", "time_step_rank", "mamba_dt_rank",
    "moe_latent_size", "linear_num_key_heads", "shared_intermediate_size", "first_k_dense_replace", "expand",
})  # fmt: skip


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ALL), st.lists(st.sampled_from(KEYS), max_size=2),
       st.dictionaries(st.sampled_from(KEYS), STRANGE, max_size=4), st.sampled_from([None, *FAMILIES]))  # fmt: skip
def test_whatever_is_read_gives_a_model_or_an_input_error(base, dropped, changed, model_type):
    keys = without(base, *dropped) | changed | ({"model_type": model_type} if model_type else {})
    try:
        model = read(keys)
    except InputError as error:
        assert str(error)
    else:
        assert 0 < model.active_parameters <= model.parameters
        assert (
            model.flops(sequence_length=5) > 0 if model.input == "tokens" and model.source is None else True
        )
