"""Models: parameters by kind, FLOPs equal to torch's counter and to the closed form, names, formats, decoders."""

import json
from pathlib import Path

import pytest

from perfmodel.decoder import Decoder, HeadCounts, decoder
from perfmodel.errors import InputError, SpecError, UnknownNameError, UnsupportedError
from perfmodel.huggingface import read
from perfmodel.layers import Head, Mlp, Norm, Residual, SelfAttention
from perfmodel.model import Block, Model, ModelSpec, models, register_format

FOLDER = Path(__file__).parent / "golden"
FLOPS = json.loads((FOLDER / "flops.json").read_text(encoding="utf-8"))["rows"]
PARAMETERS = json.loads((FOLDER / "parameters.json").read_text(encoding="utf-8"))["rows"]
BUNDLED = [name for name, origin in models().items() if origin == "bundled"]
CONFIGS = {row["model"]: {"model_type": row["model_type"], **row["config"]} for row in PARAMETERS}
TINY = {"layers": 2, "hidden": 64, "heads": 4, "inner": 256, "vocabulary": 1000}


def attention(model):
    return [(layer, times) for layer, times in model.layers() if isinstance(layer, SelfAttention)]


def product_weights(model):
    """Weights that a token is multiplied with; a tied head is multiplied too."""
    kinds = model.parameters_by_kind()
    return kinds["matrix"] + model.vocabulary * model.head.width


# --- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
def test_parameters_are_the_sum_of_their_kinds(name):
    model = Model.load(name)
    kinds = model.parameters_by_kind()
    assert sum(kinds.values()) == model.parameters == model.active_parameters
    assert {*kinds} <= {"matrix", "norm", "bias", "embedding", "position", "head"}
    assert model.check() is model


def test_a_tied_head_counts_once():
    tied, own = decoder(**TINY, tied=True), decoder(**TINY)
    assert own.parameters - tied.parameters == 1000 * 64
    assert "head" not in tied.parameters_by_kind()


def test_a_model_knows_its_extent():
    model = decoder(**TINY, name="tiny")
    assert (model.depth, model.hidden, model.vocabulary) == (2, 64, 1000)
    assert model.head == Head(vocabulary=1000, width=64)
    headless = model.replace(exit=(), entry=())
    assert (headless.head, headless.vocabulary) == (None, 0)


def test_a_block_stands_at_least_once():
    with pytest.raises(InputError, match="repeated 0 times"):
        decoder(**TINY).replace(blocks=(Block(layers=(Norm(width=64),), repeat=0),)).check()


# --- FLOPs --------------------------------------------------------------------------------------------------------

DECODERS = [row for row in FLOPS if row["kind"] == "decoder"]
DECODES = [row for row in FLOPS if row["kind"] == "decode"]
# Of the rows of kind "decode" only the prefill is compared: Model.flops knows no cache, and the single token against it
# is the matter of the costs of inference.


@pytest.mark.golden
@pytest.mark.parametrize("row", DECODERS, ids=lambda row: f"{row['model']}-{row['batch']}x{row['seq']}")
def test_flops_equal_those_of_torch(row):
    model = read(CONFIGS[row["model"]])
    shape = {"batch": row["batch"], "sequence_length": row["seq"], "causal": False}
    assert model.flops(**shape) == row["forward"]
    assert model.flops(**shape, mode="training") == row["forward_backward"]


@pytest.mark.golden
@pytest.mark.parametrize("row", DECODES, ids=lambda row: row["model"])
def test_flops_of_a_prefill_equal_those_of_torch(row):
    assert read(CONFIGS[row["model"]]).flops(sequence_length=row["cached"], causal=False) == row["prefill"]


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2048)])
def test_flops_follow_the_closed_form(name, batch, length):
    """Forward = 2·B·S·W + 4·B·S²·layers·heads·head_dim, W the weights of the matrix products."""
    model = Model.load(name)
    heads = sum(layer.heads * layer.head_dim * times for layer, times in attention(model))
    expected = 2 * batch * length * product_weights(model) + 4 * batch * length**2 * heads
    assert model.flops(batch=batch, sequence_length=length, causal=False) == expected


def test_the_causal_mask_halves_attention_and_a_window_cuts_it():
    """A query sees itself and those before it, in a window of w the last w - 1 of them."""
    full, cut = decoder(**TINY), decoder(**TINY, windows=(8,))
    products = 2 * 100 * product_weights(full)
    assert full.flops(sequence_length=100) - products == 4 * 2 * 64 * (100 * 101 // 2)
    assert cut.flops(sequence_length=100) - products == 4 * 2 * 64 * (8 * 9 // 2 + 92 * 8)
    assert cut.flops(sequence_length=100, causal=False) == full.flops(sequence_length=100, causal=False)
    assert cut.flops(sequence_length=8) == full.flops(sequence_length=8)


def test_flops_are_exact_where_floats_are_not():
    model = Model.load("gpt-1t")
    one = model.flops(batch=1, sequence_length=2**20)
    assert one > 2**53
    assert model.flops(batch=3, sequence_length=2**20) == 3 * one
    assert isinstance(one, int)


def test_training_is_three_times_forward_and_nothing_else_is_known():
    model = decoder(**TINY)
    assert model.flops(mode="training") == 3 * model.flops()
    with pytest.raises(UnsupportedError, match="'backward'"):
        model.flops(mode="backward")


# --- names and formats --------------------------------------------------------------------------------------------


def test_a_model_prints_on_one_line():
    text = "Model('llama-3.1-70b', family='llama', 70.55 B parameters, 80 layers)"
    assert repr(Model.load("llama-3.1-70b")) == str(Model.load("llama-3.1-70b")) == text


def test_names_are_looked_up_leniently_and_wrong_ones_answered():
    assert Model.load("Llama 3.1 70B") == Model.load("llama-3.1-70b")
    with pytest.raises(UnknownNameError, match=r"did you mean llama-3\.1-70b"):
        Model.load("llama-3.1-71b")


def test_an_own_model_file_is_loaded(tmp_path, monkeypatch):
    text = "id: mine\nname: Mine\nsources: [me]\nconfidence: estimate\nformat: {}\nconfig: {}\n"
    (tmp_path / "mine.yaml").write_text(text.format("decoder", json.dumps(TINY)), encoding="utf-8")
    monkeypatch.setenv("PERFMODEL_PATH", str(tmp_path))
    assert Model.load("mine").blocks == decoder(**TINY).blocks
    assert Model.load("mine").sources == ("me",)
    assert models()["mine"] == str(tmp_path)
    (tmp_path / "mine.yaml").write_text(text.format("abacus", "{}"), encoding="utf-8")
    with pytest.raises(UnsupportedError, match=r"'abacus' is not known; known: .*decoder, .*huggingface"):
        Model.load("mine")


def test_a_further_format_is_one_call(tmp_path, monkeypatch):
    monkeypatch.setattr("perfmodel.model._FORMATS", {})
    register_format("sizes", lambda config: decoder(**TINY | config))
    path = tmp_path / "mine.yaml"
    path.write_text(
        "id: mine\nname: Mine\nsources: [me]\nconfidence: estimate\nformat: sizes\nconfig: {layers: 3}\n"
    )
    assert Model.load(str(path)).depth == 3


def test_a_model_file_needs_a_source():
    with pytest.raises(SpecError, match="a number needs a source"):
        ModelSpec(id="mine", name="Mine", sources=(), confidence="estimate", config={})


# --- decoders by hand ---------------------------------------------------------------------------------------------


def test_a_decoder_is_refused_with_every_fault():
    with pytest.raises(InputError, match="5 faults") as caught:
        decoder(layers=0, hidden=64.0, heads=4, inner="256", vocabulary=1000, gatted=True, norm="batch")
    assert "did you mean gated" in str(caught.value)
    assert "'layer' or 'rms'" in str(caught.value)
    with pytest.raises(InputError) as caught:
        decoder(**TINY | {"heads": 5, "kv_heads": 2})
    assert caught.value.faults == (
        "heads = 5 must divide hidden = 64 unless head_dim is given; valid: 1, 2, 4, 8, 16, 32, 64; nearest: 4",
        "kv_heads = 2 must divide heads = 5; valid: 1, 5; nearest: 1",
    )


def test_a_long_list_of_valid_head_counts_is_cut_around_the_nearest():
    (fault,) = HeadCounts(hidden=5040, heads=97).faults()
    assert fault.endswith("nearest: 90")
    assert fault.count(",") == 12
    assert "84, 90, 105, 112" in fault


@pytest.mark.parametrize(
    ("arrangement", "kinds"),
    [
        ("pre", [Norm, SelfAttention, Residual, Norm, Mlp, Residual]),
        ("post", [SelfAttention, Norm, Residual, Mlp, Norm, Residual]),
        ("sandwich", [Norm, SelfAttention, Norm, Residual, Norm, Mlp, Norm, Residual]),
        ("parallel", [Norm, SelfAttention, Mlp, Residual]),
    ],
)
def test_norms_stand_where_the_arrangement_says(arrangement, kinds):
    (block,) = decoder(**TINY, arrangement=arrangement).blocks
    assert [type(layer) for layer in block.layers] == kinds


@pytest.mark.parametrize(
    ("qk_norm", "parameters"),
    [("none", 0), ("shared", 2 * 16), ("per_head", (4 + 2) * 16), ("full", (4 + 2) * 16)],
)
def test_a_norm_on_queries_and_keys_has_a_scale_for_what_it_is_said_to_have(qk_norm, parameters):
    plain = decoder(**TINY, kv_heads=2)
    normed = decoder(**TINY, kv_heads=2, qk_norm=qk_norm)
    assert normed.parameters - plain.parameters == 2 * parameters
    shifted = decoder(**TINY, kv_heads=2, qk_norm=qk_norm, qk_norm_bias=True)
    assert shifted.parameters - plain.parameters == 4 * parameters


def test_windows_repeat_over_the_depth():
    model = Decoder(**TINY | {"layers": 7}, windows=(8, 8, None)).model()
    assert [(layer.window, times) for layer, times in attention(model)] == [(8, 5), (None, 2)]
    assert model.depth == 7


def test_a_narrower_token_table_is_joined_by_projections():
    model = decoder(**TINY, embedding_width=32, tied=True)
    assert model.parameters_by_kind()["embedding"] == 32 * 1000
    assert model.parameters == decoder(**TINY, tied=True).parameters - 32 * 1000 + 2 * 32 * 64
