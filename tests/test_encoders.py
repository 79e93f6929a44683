"""Encoders, encoder-decoders, image and speech models: FLOPs equal to torch's counter, what enters them, training."""

import json
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.encoder import Encoder, Stack, encoder
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.huggingface import read
from perfmodel.layers import Mlp, Norm, Pass, Residual
from perfmodel.layers.cross_attention import CrossAttention
from perfmodel.layers.encoder_attention import EncoderAttention
from perfmodel.layers.pooling import Readout
from perfmodel.walk import walk

FOLDER = Path(__file__).parent / "golden"
FLOPS = json.loads((FOLDER / "flops.json").read_text(encoding="utf-8"))
PARAMETERS = json.loads((FOLDER / "parameters.json").read_text(encoding="utf-8"))["rows"]
ROWS = {row["model"]: row for row in PARAMETERS}
TINY = {"layers": 2, "hidden": 64, "heads": 4, "inner": 256, "vocabulary": 1000}
# what a row asks, in the words of Model.flops
ASKED = {
    "encoder": {"sequence_length": "seq"},
    "image": {"image_size": "image"},
    "seq2seq": {"sequence_length": "dec_seq", "source_length": "enc_seq"},
    "asr": {"sequence_length": "dec_seq", "source_length": "enc_frames"},
    "audio": {"samples": "samples"},
}
COMPARED = [row for row in FLOPS["rows"] if row["kind"] in ASKED]


def load(row):
    return read(keys(ROWS[row["model"]]))


def keys(row):
    return {"model_type": row["model_type"], "architectures": [row["architecture"]], **row["config"]}


def asked(row):
    return {"batch": row["batch"]} | {name: row[key] for name, key in ASKED[row["kind"]].items()}


def named(row):
    return f"{row['model']}-{row['batch']}" if "model" in row else row["architecture"]


# --- FLOPs equal to torch's ---------------------------------------------------------------------------------------


@pytest.mark.golden
@pytest.mark.parametrize("row", COMPARED, ids=named)
def test_flops_forward_equal_those_of_torch(row):
    assert load(row).flops(**asked(row), attention="full") == row["forward"]


# Rows whose forward_backward says something else than a training step does, and why.
DEPTHWISE = {"convnext-tiny", "convnext-large"}  # torch over-counts the backward of grouped convolutions
NOT_RUN = {"wav2vec2-base"}  # the counter could not run its backward


@pytest.mark.golden
@pytest.mark.parametrize("row", [row for row in COMPARED if "forward_backward" in row], ids=named)
def test_flops_of_a_training_step_equal_those_of_torch(row):
    model = load(row)
    count = model.flops(**asked(row), attention="full", mode="training")
    if row["model"] in DEPTHWISE:
        assert 3 * row["forward"] > count < row["forward_backward"]
        return
    # torch's loss was a sum over the last hidden states: a pooler had no gradient
    idle = sum(2 * row["batch"] * layer.inputs * layer.outputs for layer in poolers(model, row))
    assert count - 2 * idle == row["forward_backward"]


def poolers(model, row):
    return [layer for layer in model.exit if isinstance(layer, Readout)] if row["kind"] == "encoder" else []


def test_every_row_is_compared_or_listed():
    assert {row["kind"] for row in FLOPS["rows"]} == {*ASKED, "plain", "decoder", "decode", "clip"}
    assert {row["model"] for row in COMPARED if "forward_backward" not in row} == NOT_RUN
    assert {row["model"] for row in COMPARED} >= DEPTHWISE


@pytest.mark.golden
@pytest.mark.parametrize("row", [row for row in FLOPS["rows"] if row["kind"] == "clip"], ids=named)
def test_each_tower_equals_that_of_torch(row):
    model = load(row)
    text = read({"model_type": "siglip_text_model", **ROWS[row["model"]]["config"]["text_config"]})
    forward = text.flops(sequence_length=row["text_seq"], attention="full")
    assert forward == row["text_forward"]
    image = model.source.flops(image_size=row["image"], attention="full")
    assert image == row["vision_forward"]
    alike = 2 * text.hidden  # one text times one image
    assert model.flops(sequence_length=row["text_seq"], attention="full") == forward + image + alike


@pytest.mark.golden
def test_small_variants_equal_those_of_torch():
    """Odd images, short signals, sequences of two lengths, every family and head."""
    faults = [
        row
        for row in FLOPS["variants"]
        if read(keys(row)).flops(**row["asked"], attention="full") != row["forward"]
    ]
    assert not faults
    assert len(FLOPS["variants"]) >= 120


# --- what enters --------------------------------------------------------------------------------------------------

T5 = {
    "model_type": "t5",
    "vocab_size": 100,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
}


def test_a_source_is_as_long_as_the_sequence_unless_it_is_told():
    model = read(T5)
    assert model.flops(sequence_length=7) == model.flops(sequence_length=7, source_length=7)
    assert model.source.flops(sequence_length=9) < model.flops(sequence_length=7, source_length=9)


def test_steps_run_the_source_first_and_see_their_own_lengths():
    whisper = read({"model_type": "whisper", "vocab_size": 100, "d_model": 32, "max_source_positions": 50,
                    "encoder_attention_heads": 4, "decoder_attention_heads": 4})  # fmt: skip
    steps = [*walk(whisper, Pass(2, 7, 7, source=100, extent=(100,)))]
    assert [steps[0].label, steps[-1].label] == ["source.entry.convolution", "exit.head"]
    lengths = {
        step.label: step.seen.queries for step in steps if step.label.endswith(("encoder_attention", "table"))
    }
    assert lengths == {
        "source.entry.position_table": 50, "source.blocks.0.encoder_attention": 50, "entry.position_table": 7,
        "blocks.0.encoder_attention": 7,
    }  # fmt: skip
    assert {step.seen.source for step in steps if step.label == "blocks.0.cross_attention"} == {50}


def test_decoding_reads_the_source_from_the_cache():
    model = read(T5)
    layer = model.flops(mode="decode", cached=9, source_length=20, per="layer")
    assert not [label for label in layer if label.startswith("source")]
    query = output = 2 * 32 * 32
    core = 4 * 20 * 32
    assert layer["blocks.0.cross_attention"] == 2 * (query + output + core)
    started = model.flops(mode="prefill", sequence_length=1, source_length=20, per="layer")
    keys_and_values = 2 * 20 * 32 * 64
    assert started["blocks.0.cross_attention"] == 2 * (query + output + core + keys_and_values)


def test_a_model_of_images_takes_its_own_size_or_another():
    model = read({"model_type": "resnet"})
    assert model.flops() == model.flops(image_size=224) == model.flops(image_size=(224, 224))
    assert model.flops(image_size=(224, 112)) < model.flops()


@pytest.mark.parametrize(
    ("config", "asked", "told"),
    [
        (T5, {"image_size": 224}, "image_size = 224, which it does not take; it takes source_length"),
        (T5, {"source_length": 0}, "source_length = 0 must be a whole number of at least 1"),
        ({"model_type": "bert"}, {"source_length": 7}, "it takes none of them"),
        ({"model_type": "vit"}, {"sequence_length": 7}, "its length follows from image_size"),
        ({"model_type": "vit"}, {"image_size": (224, 0.5)}, "must be a whole number"),
        ({"model_type": "wav2vec2"}, {"samples": 10}, "too small, entry.convolution.2 leaves nothing of it"),
        ({"model_type": "clip"}, {"source_length": 7}, "it takes image_size"),
    ],
)
def test_what_does_not_enter_is_refused(config, asked, told):
    with pytest.raises(InputError, match=told):
        read(config).flops(**asked)


def test_what_nothing_takes_is_answered_with_near_names():
    with pytest.raises(UnknownNameError, match="did you mean image_size"):
        read({"model_type": "vit"}).flops(images_size=3)


# --- descriptions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrangement", "kinds"),
    [
        ("pre", [Norm, EncoderAttention, Residual, Norm, CrossAttention, Residual, Norm, Mlp, Residual]),
        ("post", [EncoderAttention, Residual, Norm, CrossAttention, Residual, Norm, Mlp, Residual, Norm]),
    ],
)
def test_blocks_stand_as_the_arrangement_says(arrangement, kinds):
    fields = {key: value for key, value in TINY.items() if key != "vocabulary"}
    (block,) = Stack(**fields, arrangement=arrangement, reads=True).blocks()
    assert [type(layer) for layer in block.layers] == kinds
    assert block.repeat == 2


def test_an_encoder_is_refused_with_every_fault():
    with pytest.raises(InputError, match="3 faults") as caught:
        encoder(**TINY | {"layers": -1, "hidden": "64", "arrangement": "side"})
    assert "'pre' or 'post'" in str(caught.value)
    with pytest.raises(InputError, match="heads = 5 must divide hidden = 64"):
        encoder(**TINY | {"heads": 5})


def test_shared_layers_run_often_and_count_once():
    own, shared = (Encoder(**TINY | {"layers": n}, shared=n > 1) for n in (1, 6))
    assert own.model().parameters == shared.model().parameters
    assert shared.model().flops(sequence_length=4) == 6 * own.model().flops(sequence_length=4)


def test_keys_may_go_without_bias():
    with_bias, without = (encoder(**TINY, key_bias=each).parameters for each in (True, False))
    assert with_bias - without == 2 * 64


# --- training -----------------------------------------------------------------------------------------------------

CLUSTER = pm.Cluster.load("dgx-h100", devices=8)


@pytest.mark.parametrize(("name", "length"), [("bert-large", 512), ("vit-large", 197), ("dinov2-base", 1370)])
def test_encoders_are_trained(name, length):
    model = pm.Model.load(name)
    work = pm.Training(global_batch=64, sequence_length=length)
    whole = pm.estimate(model, work, pm.Parallel(micro_batch=8), CLUSTER)
    split = pm.estimate(model, work, pm.Parallel(tp=2, micro_batch=8), CLUSTER)
    assert 0 < whole.mfu < 1
    assert split.memory.total < whole.memory.total


def test_an_image_becomes_so_many_tokens():
    with pytest.raises(
        InputError, match="sequence_length = 512, but an image of 224 × 224 becomes 197 tokens"
    ):
        pm.estimate(
            pm.Model.load("vit-base"),
            pm.Training(global_batch=8, sequence_length=512),
            pm.Parallel(),
            CLUSTER,
        )
