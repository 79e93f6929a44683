"""From config.json to a model: every count equal to transformers', every fault told, nothing else ever raised."""

import json
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfmodel.errors import InputError, UnknownNameError, UnsupportedError
from perfmodel.huggingface import FAMILIES, read
from perfmodel.huggingface.headed import Headed
from perfmodel.huggingface.table import family
from perfmodel.huggingface.unbuilt import MODEL_TYPES
from perfmodel.model import CATALOGUE, Model, models
from perfmodel.specs.describing import field_docs

GOLDEN = json.loads((Path(__file__).parent / "golden" / "parameters.json").read_text(encoding="utf-8"))
LLAMA = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
}  # fmt: skip
BUNDLED = [name for name, origin in models().items() if origin == "bundled"]
GPT2 = {"model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12}
REQUIRED = {
    "llama", "mistral", "qwen2", "qwen3", "gpt2", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "phi3", "gemma",
    "gemma2", "starcoder2", "olmo", "olmo2", "stablelm", "cohere",
}  # fmt: skip


def config(row):
    keys = {"model_type": row["model_type"], **row["config"]}
    headed = issubclass(family(row["model_type"]), Headed)
    return keys | {"architectures": [row["architecture"]]} if headed else keys


# The counter finds a table by its class, nn.Embedding: positions and learned tokens that are bare parameters it puts
# under none of these, and of CLIP it takes no table for that of the tokens.
BARE = {"vit", "deit", "dinov2", "dinov2_with_registers", "swin", "clip", "clip_vision_model", "siglip",
        "siglip_vision_model", "sam", "sam_vision_model", "wav2vec2", "hubert", "llama4"}  # fmt: skip


def expected(row):
    """The counts of a golden row: all five, or those that tell bare parameters from no others."""
    vague = {"other_embedding_params", "embedding_params"} if row["model_type"] in BARE else set()
    return {key: row[key] for key in counts(read(GPT2)) if key not in vague}


def compared(row, model):
    """The same counts of a model."""
    return {key: value for key, value in counts(model).items() if key in expected(row)}


def counts(model):
    """The same of a model."""
    kinds = model.parameters_by_kind()
    return {
        "total_params": model.parameters,
        "embedding_params": kinds.get("embedding", 0),
        "other_embedding_params": kinds.get("position", 0),
        "lm_head_params": kinds.get("head", 0),
        "norm_and_bias_params": sum(w.size * times for w, times in model.weights() if is_vector(w, model)),
    }


def windows(model):
    return [(layer.window, times) for layer, times in model.layers() if hasattr(layer, "window")]


def is_vector(weight, model):
    """The counter takes for norms and biases what has one dimension; of norms a head, only Cohere's has two."""
    return len(weight.shape) == 1 or (weight.kind == "norm" and model.family != "cohere")


# --- equal to real software ---------------------------------------------------------------------------------------


@pytest.mark.golden
@pytest.mark.parametrize("row", GOLDEN["rows"], ids=lambda row: row["model"])
def test_published_models_are_counted_exactly(row):
    assert compared(row, read(config(row))) == expected(row)


@pytest.mark.golden
@pytest.mark.parametrize("row", GOLDEN["bundled"], ids=lambda row: row["model"])
def test_bundled_models_are_counted_exactly(row):
    model = Model.load(row["model"])
    assert compared(row, model) == expected(row)
    assert CATALOGUE.load(row["model"]).config == config(row)


VARIANTS = {name: [*rows] for name, rows in groupby(GOLDEN["variants"], key=lambda row: row["model_type"])}


@pytest.mark.golden
@pytest.mark.parametrize("model_type", sorted(VARIANTS))
def test_every_key_means_what_it_means_in_transformers(model_type):
    """Random small configurations with every flag on and off, keys absent and null."""
    faults = [
        f"{row['model']}: {row['config']}"
        for row in VARIANTS[model_type]
        if compared(row, read(config(row))) != expected(row)
    ]
    assert not faults


def test_every_family_has_golden_variants():
    assert {*VARIANTS} == {*FAMILIES}
    assert {*FAMILIES} >= REQUIRED
    assert all(len(rows) >= 8 for rows in VARIANTS.values())


NON_EMBEDDING = {  # what the authors print, without token tables and heads
    "gemma-2b": (1_981_884_416, "arXiv:2403.08295, parameter counts"),
    "gemma-7b": (7_751_248_896, "arXiv:2403.08295, parameter counts"),
    "gemma-2-2b": (2_024_517_888, "arXiv:2408.00118, parameter counts"),
    "gemma-2-9b": (8_324_201_984, "arXiv:2408.00118, parameter counts"),
    "gemma-2-27b": (26_047_480_320, "arXiv:2408.00118, parameter counts"),
    "pythia-160m": (85_056_000, "arXiv:2304.01373, Table 1"),
    "pythia-1.4b": (1_208_602_624, "arXiv:2304.01373, Table 1"),
    "pythia-6.9b": (6_444_163_072, "arXiv:2304.01373, Table 1"),
    "pythia-12b": (11_327_027_200, "arXiv:2304.01373, Table 1"),
}
TOTALS = {  # what transformers counts, or the model card states
    "gpt2": (124_439_808, "num_parameters() of openai-community/gpt2"),
    "gpt-j-6b": (6_050_882_784, "num_parameters() of EleutherAI/gpt-j-6b, the bias of its head included"),
    "phi-1.5": (1_418_270_720, "num_parameters() of microsoft/phi-1_5"),
    "phi-2": (2_779_683_840, "num_parameters() of microsoft/phi-2"),
    "falcon-7b": (6_921_720_704, "num_parameters() of tiiuae/falcon-7b"),
    "mistral-7b": (7_241_732_096, "num_parameters() of mistralai/Mistral-7B-v0.1"),
    "gemma-2-9b": (9_241_705_984, "num_parameters() of google/gemma-2-9b"),
    "gpt-neox-20b": (20_554_567_680, "model card of EleutherAI/gpt-neox-20b"),
    "bloom-176b": (176_247_271_424, "model card of bigscience/bloom"),
    "stablelm-3b": (2_795_443_200, "model card of stabilityai/stablelm-3b-4e1t"),
}


@pytest.mark.parametrize("name", TOTALS)
def test_totals_that_others_state(name):
    stated, source = TOTALS[name]
    assert Model.load(name).parameters == stated, source


@pytest.mark.parametrize("name", NON_EMBEDDING)
def test_non_embedding_parameters_that_the_authors_print(name):
    stated, source = NON_EMBEDDING[name]
    kinds = Model.load(name).parameters_by_kind()
    assert sum(kinds.values()) - kinds["embedding"] - kinds.get("head", 0) == stated, source


# --- bundled models -----------------------------------------------------------------------------------------------


ROUND = {  # billions, as the papers round them
    "gpt-22b": 22, "gpt3-175b": 175, "gpt-530b": 530, "gpt-1t": 1008, "nemotron-4-15b": 15.6, "nemotron-4-340b": 341,
}  # fmt: skip


@pytest.mark.parametrize("name", ROUND)
def test_models_described_by_hand_have_the_size_in_their_name(name):
    assert Model.load(name).parameters / 1e9 == pytest.approx(ROUND[name], rel=0.005)


def test_there_are_many_bundled_models_and_all_of_them_are_checked():
    checked = {row["model"] for row in GOLDEN["bundled"]} | {*ROUND}
    assert checked == {name for name in BUNDLED if CATALOGUE.load(name).format in ("huggingface", "decoder")}
    assert len(BUNDLED) >= 45


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_files_name_their_schema_and_their_source(name):
    path = Path(__file__).parent.parent / "model_specs" / f"{name}.yaml"
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../hardware_specs/schema/model.json"
    spec = CATALOGUE.load(name)
    assert spec.sources
    assert all(source.startswith(("config.json of huggingface.co/", "https://")) for source in spec.sources)


def test_models_are_found_by_their_repository():
    assert Model.load("meta-llama/Llama-3.1-70B-Instruct").name == "llama-3.1-70b"
    assert Model.load("Qwen/Qwen3-8B").sources[0] == "config.json of huggingface.co/Qwen/Qwen3-8B"
    assert Model.load("Qwen/Qwen3-8B").sources[1] == "unverified, as commonly stated: config"


# --- what a key means ---------------------------------------------------------------------------------------------


def test_quantisation_changes_nothing():
    assert read(LLAMA | {"quantization_config": {"bits": 4}}).parameters == read(LLAMA).parameters


def test_windows_follow_the_family():
    mistral = LLAMA | {"model_type": "mistral"}
    assert windows(read(mistral)) == [(4096, 32)]
    assert windows(read(mistral | {"sliding_window": None})) == [(None, 32)]
    qwen = LLAMA | {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 20}
    assert windows(read(qwen)) == [(None, 20), (4096, 12)]
    assert windows(read(qwen | {"use_sliding_window": False})) == [(None, 32)]
    gemma = LLAMA | {"model_type": "gemma2"}
    assert windows(read(gemma)) == [(4096, 16), (None, 16)]
    assert windows(read(gemma | {"layer_types": ["full_attention"] * 32})) == [(None, 32)]
    assert windows(read(LLAMA | {"model_type": "gemma3_text", "sliding_window": 512})) == [
        (512, 27),
        (None, 5),
    ]
    assert windows(read(LLAMA | {"model_type": "cohere2"})) == [(4096, 24), (None, 8)]
    assert windows(read(LLAMA | {"model_type": "olmo3"})) == [(4096, 24), (None, 8)]
    exaone = LLAMA | {"model_type": "exaone4", "sliding_window_pattern": "LLLG"}
    assert windows(read(exaone)) == [(4096, 24), (None, 8)]
    neo = {"model_type": "gpt_neo", "vocab_size": 9, "hidden_size": 64, "num_layers": 4, "num_heads": 4}
    assert windows(read(neo)) == [(None, 2), (256, 2)]
    smol = LLAMA | {"model_type": "smollm3", "use_sliding_window": True, "sliding_window": 8}
    assert windows(read(smol)) == [(None, 24), (8, 8)]
    assert windows(read(smol | {"no_rope_layers": [0] * 32})) == [(8, 32)]


def test_other_spellings_of_a_key_are_read():
    other = {"model_type": "gpt2", "vocab_size": 50257, "hidden_size": 768, "num_hidden_layers": 12,
             "num_attention_heads": 12, "max_position_embeddings": 1024}  # fmt: skip
    assert read(other).parameters == read(GPT2).parameters
    bloom = {
        "model_type": "bloom",
        "vocab_size": 250880,
        "n_embed": 4096,
        "num_hidden_layers": 30,
        "n_head": 32,
    }
    assert read(bloom).parameters == Model.load("bloom-7b1").parameters


def test_heads_may_have_a_size_of_their_own():
    assert read(LLAMA | {"hidden_size": 4000, "head_dim": 128}).parameters
    with pytest.raises(InputError, match="must divide hidden_size"):
        read(LLAMA | {"hidden_size": 4001})


# --- where it comes from ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "my-llama"
    home.mkdir()
    (home / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    return home


def test_a_file_its_folder_and_its_content_are_the_same(folder):
    model = Model.from_hf(folder)
    assert model.name == "my-llama"
    assert Model.from_hf(str(folder / "config.json")) == model
    assert Model.load(str(folder / "config.json")) == model
    assert read(LLAMA).blocks == model.blocks


def test_the_name_is_that_of_the_repository_if_the_file_knows_it():
    assert read(LLAMA | {"_name_or_path": "meta-llama/Llama-2-7b-hf"}).name == "Llama-2-7b-hf"
    assert read(LLAMA).name == "llama"
    assert read(LLAMA).family == "llama"


def test_a_configuration_object_is_read_by_its_dictionary():
    class Configuration:
        def to_dict(self):
            return LLAMA

    assert read(Configuration()) == read(LLAMA)


# --- multimodal models --------------------------------------------------------------------------------------------


def test_a_wrapper_of_text_alone_is_read():
    assert read({"model_type": "wrapper", "text_config": LLAMA}).parameters == read(LLAMA).parameters
    tied = read({"model_type": "wrapper", "tie_word_embeddings": True, "text_config": LLAMA})
    assert tied.parameters == read(LLAMA).parameters - 32000 * 4096


def test_a_vision_tower_is_refused_unless_only_text_is_wanted():
    both = {"model_type": "llava", "text_config": LLAMA, "vision_config": {"hidden_size": 1024}}
    with pytest.raises(
        UnsupportedError, match=r"vision_config.*text_only=True.*from_hf\(config\['text_config'\]\)"
    ):
        read(both)
    assert Model.from_hf(both, text_only=True).parameters == read(LLAMA).parameters
    flat = LLAMA | {"vision_config": {"hidden_size": 1024}}
    with pytest.raises(UnsupportedError, match="more than text"):
        read(flat)
    assert read(flat, text_only=True) == read(LLAMA)


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b'{"model_type": "llama",\n "hidden_size": 40',
            r"line 2, column 19: .*not readable as JSON.*ends too early",
        ),
        (b'{"model_type": llama}', r"line 1, column 16: .*not readable as JSON"),
        (b"", r"line 1, column 1: .*ends too early"),
        (b"[1, 2]", "holds a mapping, not a list"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "not readable as JSON"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, content, told):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_told_and_a_repository_is_not_fetched(tmp_path):
    with pytest.raises(InputError, match=r"config.json: there is no such file"):
        read(tmp_path)
    with pytest.raises(
        InputError, match=r"nothing is fetched from the network: hf download meta-llama/Llama-3.1-8B"
    ):
        read("meta-llama/Llama-3.1-8B")
    for wrong in (5, None, [], "\0"):
        with pytest.raises(InputError):
            read(wrong)


def test_an_unknown_architecture_is_answered_with_what_can_be_done():
    with pytest.raises(UnknownNameError) as caught:
        read(LLAMA | {"model_type": "qwen33"})
    message = str(caught.value)
    assert all(name in message for name in FAMILIES)
    assert "did you mean qwen3" in message
    assert "pm.decoder(" in message
    with pytest.raises(
        InputError, match=r'model_type is missing; by its architectures, add "model_type": "gpt_neox"'
    ):
        read({"architectures": ["GPTNeoXForCausalLM"]})
    with pytest.raises(InputError, match="model_type must be a string"):
        read({"model_type": ["llama"]})


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_what_is_not_built_is_said_so(model_type):
    assert model_type not in FAMILIES
    with pytest.raises(UnsupportedError, match="not built yet"):
        read({"model_type": model_type})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_experts", 64), ("num_local_experts", 8), ("n_routed_experts", 256), ("num_experts_per_tok", 2),
        ("kv_lora_rank", 512), ("add_cross_attention", True), ("is_encoder_decoder", True),
        ("layer_types", ["linear_attention"] * 32), ("architectures", ["LlamaForSequenceClassification"]),
    ],
)  # fmt: skip
def test_a_dense_family_refuses_what_it_cannot_count(key, value):
    with pytest.raises(UnsupportedError, match=f"{key}.*built"):
        read(LLAMA | {key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_experts", 1), ("num_local_experts", None), ("architectures", ["LlamaForCausalLM"])],
)
def test_keys_that_ask_for_nothing_special_are_let_pass(key, value):
    assert read(LLAMA | {key: value}) == read(LLAMA)


def test_all_faults_come_at_once():
    broken = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": -1, "intermediate_size": "11008",
              "num_attention_heads": 33, "num_key_value_heads": 7, "head_dim": None, "num_experts": 4,
              "mlp_bias": "yes", "tie_word_embeddings": 1}  # fmt: skip
    with pytest.raises(InputError) as caught:
        read(broken)
    assert not isinstance(caught.value, UnsupportedError)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 8
    for part in (
        "vocab_size is missing: Tokens known",
        "num_hidden_layers must be greater than or equal to 1, not -1",
        "intermediate_size must be a valid integer, not '11008'",
        "num_attention_heads = 33 must divide hidden_size = 4096 unless head_dim is given",
        "nearest: 32",
        "num_key_value_heads = 7 must divide num_attention_heads = 33; valid: 1, 3, 11, 33; nearest: 3",
        "num_experts = 4",
        "mlp_bias must be a valid boolean, not 'yes'",
        "tie_word_embeddings must be a valid boolean, not 1",
    ):
        assert part in faults


@pytest.mark.parametrize("value", ["4096", True, 4096.0, -1, 0, 10**8, None, [], float("nan")])
def test_a_size_is_a_whole_number_that_can_be(value):
    with pytest.raises(InputError, match="hidden_size"):
        read(LLAMA | {"hidden_size": value})


def test_a_default_that_does_not_fit_is_called_a_default():
    small = {**LLAMA, "model_type": "qwen2", "num_attention_heads": 16}
    del small["num_key_value_heads"]
    with pytest.raises(InputError, match=r"num_key_value_heads \(by default\) = 32 must divide"):
        read(small)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (GPT2 | {"num_hidden_layers": 13}, "n_layer = 12 and num_hidden_layers = 13 are the same key and contradict"),
        (LLAMA | {"model_type": "gemma2", "layer_types": ["full_attention"]}, "names 1 layers.*they must be as many"),
        (LLAMA | {"model_type": "smollm3", "no_rope_layers": [1]}, "no_rope_layers names 1 layers"),
        ({"model_type": "gpt_neo", "vocab_size": 9, "hidden_size": 64, "num_layers": 3, "num_heads": 4,
          "attention_types": [[["global", "local"], 1]]}, "attention_types names 2 layers, num_layers = 3"),
    ],
)  # fmt: skip
def test_keys_that_contradict_each_other_are_told(broken, told):
    with pytest.raises(InputError, match=told):
        read(broken)


# --- nothing else is ever raised ----------------------------------------------------------------------------------

CONFIGS = [config(row) for row in GOLDEN["rows"] + GOLDEN["variants"]]
KEYS = sorted({key for each in CONFIGS for key in each} | {
    "text_config", "vision_config", "architectures", "layer_types", "num_experts", "_name_or_path", "attention_types",
    "quantization_config", "is_encoder_decoder",
})  # fmt: skip
STRANGE = st.one_of(
    st.sampled_from(
        [None, True, False, -1, 0, 1, 7, 1.5, float("inf"), float("nan"), 10**9, 10**30, "", "12"]
    ),
    st.sampled_from(
        [[], {}, [[]], {"a": 1}, ["x"], [None], [[["global"], 10**9]], b"x", {1: 2}, GPT2, "llama"]
    ),
    st.sampled_from([*FAMILIES, *MODEL_TYPES]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CONFIGS), st.lists(st.sampled_from(KEYS), max_size=3),
       st.dictionaries(st.sampled_from(KEYS), STRANGE, max_size=4), st.booleans())  # fmt: skip
def test_whatever_is_read_gives_a_model_or_an_input_error(base, dropped, changed, text_only):
    keys = {key: value for key, value in base.items() if key not in dropped} | changed
    try:
        model = read(keys, text_only=text_only)
    except InputError as error:
        assert str(error)
    else:
        assert model.parameters > 0


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40) | st.integers(0, 300).map(lambda n: json.dumps(LLAMA).encode()[:n]))
def test_whatever_a_file_holds_gives_a_model_or_an_input_error(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    try:
        read(path)
    except InputError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_families_say_what_every_key_is(model_type):
    cls = family(model_type)
    assert {*cls.model_fields} <= {*field_docs(cls)}
    assert cls.__doc__
