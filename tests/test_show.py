"""`perfmodel show MODEL`: every bundled model as a table and as JSON with stable keys."""

import json

import pytest

from perfmodel.calibration.result import saved
from perfmodel.cli import main
from perfmodel.efficiency import Engine
from perfmodel.errors import InputError
from perfmodel.model import Model, models
from perfmodel.native import cnn, lstm_classifier
from perfmodel.report.description import described, model_table

BUNDLED = [name for name, origin in models().items() if origin == "bundled"]
KEYS = [
    "name", "family", "parameters", "active_parameters", "active", "layers", "hidden", "vocabulary", "flops_per_token",
    "flops_per_sample", "kv_bytes_per_token", "state_bytes", "parameters_by_kind", "blocks", "sources",
]  # fmt: skip


def run(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_model_is_shown(name, capsys):
    code, out, _ = run(f"show {name} --json", capsys)
    found = json.loads(out)
    assert code == 0
    assert [*found] == KEYS
    model = Model.load(name)
    assert found["parameters"] == model.parameters == sum(block["parameters"] for block in found["blocks"])
    assert sum(found["parameters_by_kind"].values()) == found["parameters"]
    assert found["active"]["all"] == found["active_parameters"] == model.active_parameters
    assert (found["flops_per_token"] is None) != (found["flops_per_sample"] is None)
    cache = found["kv_bytes_per_token"]
    assert 0 <= cache["needed"] <= cache["reserved"] == model.kv_bytes_per_token()
    for block in found["blocks"]:
        one = sum(kind["count"] * kind["parameters"] for kind in block["layers"])
        assert block["parameters"] in (one, one * block["repeat"])  # shared weights stand once
    code, out, _ = run(f"show {name}", capsys)
    assert code == 0
    for text in (f"{model.parameters:,}", "active parameters", "layers", "FLOPs a", "KV bytes a token"):
        assert text in out
    assert max(map(len, out.splitlines())) < 200


def test_a_dense_model_by_hand(capsys):
    found = json.loads(run("show llama-3.1-70b --json", capsys)[1])
    assert found["layers"] == 80
    assert found["flops_per_token"] == 139_006_050_304
    assert found["kv_bytes_per_token"] == {
        "needed": 80 * 2 * 8 * 128 * 2, "reserved": 80 * 2 * 8 * 128 * 2, "context": 8192, "element_bytes": 2,
    }  # fmt: skip
    assert [block["place"] for block in found["blocks"]] == ["entry", "block", "exit"]
    assert found["blocks"][1]["repeat"] == 80


@pytest.mark.parametrize(("context", "needed"), [(256, 26 * 1024), (1024, 4 * 1024 + 22 * 512), (8192, 5504)])
def test_windows_need_less_than_is_reserved(context, needed, capsys):
    """Gemma 3 1B: 22 layers with a window of 512, 4 without, 1 KiB a token and layer."""
    found = json.loads(run(f"show gemma-3-1b --json --context {context}", capsys)[1])
    assert found["kv_bytes_per_token"]["needed"] == needed
    assert found["kv_bytes_per_token"]["reserved"] == 26 * 1024
    text = run(f"show gemma-3-1b --context {context}", capsys)[1]
    assert ("26,624 reserved" in text) == (context > 512)
    assert "self_attention (window 512)" in text


def test_what_has_no_cache_says_so():
    table = model_table(Model.load("dlrm-mlperf"))
    assert "KV bytes a token    none" in table
    assert "FLOPs a sample" in table
    classifier = lstm_classifier(vocabulary=50, embedding=8, state=512, layers=2, classes=3)
    assert described(classifier)["state_bytes"] == 2 * 2 * 512 * 2
    assert "recurrent state" in model_table(classifier)
    pictures = cnn(image=32, channels=(8, 16), classes=10)
    assert described(pictures)["flops_per_sample"] == pictures.flops()
    assert described(pictures.replace(extent=()))["flops_per_sample"] is None


def test_an_encoder_has_no_cache_and_is_not_run_for_every_token():
    sizes = {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    bert = Model.from_hf({"model_type": "bert", "intermediate_size": 128, **sizes})
    assert described(bert)["kv_bytes_per_token"]["reserved"] == 0
    t5 = {"model_type": "t5", "vocab_size": 1000, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4}
    small, deep = (described(Model.from_hf({**t5, "num_layers": n, "num_decoder_layers": 3})) for n in (2, 8))
    assert small["kv_bytes_per_token"]["needed"] == 3 * 2 * 64 * 2
    assert small["flops_per_token"] == deep["flops_per_token"]
    assert small["parameters"] < deep["parameters"]
    places = [block["place"] for block in small["blocks"]]
    assert [place for place in places if place.startswith("source")] == places[: places.index("entry")]


def test_a_context_has_tokens(capsys):
    with pytest.raises(InputError, match="at least 1"):
        described(Model.load("gpt2"), context=0)
    assert run("show gpt2 --context 0", capsys)[0] == 2


def test_other_things_of_the_same_name_are_told(capsys):
    code, out, err = run("show default", capsys)
    assert code == 0
    assert out.startswith("A typical stack")
    assert err == "also a name of an inference engine: perfmodel show default --kind engine\n"
    code, out, err = run("show default --kind engine", capsys)
    assert "prefill_tokens" in out
    assert not err
    assert "system" in run("show mi300x --json", capsys)[2]
    assert not run("show llama-3.1-70b", capsys)[2]


def test_a_kind_alone_is_listed(capsys):
    assert run("show --kind engine", capsys)[1] == run("show engines", capsys)[1]


def test_a_file_is_shown_as_what_its_first_line_names(tmp_path, capsys):
    engine = Engine.load("vllm").replace(name="Ours")
    saved(engine, "engine", tmp_path / "ours.yaml")
    code, out, _ = run(f"show {tmp_path / 'ours.yaml'}", capsys)
    assert code == 0
    assert out.startswith("Ours (ours)")


def test_what_is_not_of_a_kind_is_told_with_what_is(capsys):
    code, _, err = run("show vlm --kind engine", capsys)
    assert code == 2
    assert 'unknown engine "vlm"; did you mean' in err
    assert "valid: device, efficiency, engine" in run("show default --kind motor", capsys)[2]
