"""Native descriptions: parameters and FLOPs equal to torch modules, faults told, bundled recommenders."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.layers import Pass, SelfAttention
from perfmodel.layers.interaction import DotInteraction, EmbeddingBags, LowRankCross
from perfmodel.layers.linear import Linear
from perfmodel.layers.recurrent import Recurrent
from perfmodel.model import Block, Model
from perfmodel.native import FORMATS, cnn, dlrm, lstm_classifier, mlp, resnet50
from perfmodel.work import Matmul, flops, leaves, memory_bytes, total

FOLDER = Path(__file__).parent / "golden"
ROWS = json.loads((FOLDER / "native.json").read_text(encoding="utf-8"))["rows"]
FLOPS = json.loads((FOLDER / "flops.json").read_text(encoding="utf-8"))["rows"]
RECOMMENDER = {"dense": 4, "bottom": (16, 8), "rows": (10, 20, 30), "width": 8, "top": (16, 1)}


def described(row):
    if row["format"] == "recurrent":
        layer = Recurrent(**row["fields"])
        return Model(name=row["model"], entry=(), blocks=(Block(layers=(layer,)),), exit=())
    return FORMATS[row["format"]](**row["fields"])


@pytest.mark.golden
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["model"])
def test_counts_equal_those_of_torch(row):
    model = described(row)
    shape = {"batch": row["batch"]}
    if row["format"] in ("recurrent", "lstm"):
        shape["sequence_length"] = row["sequence_length"]
    assert model.parameters == sum(model.parameters_by_kind().values()) == row["parameters"]
    assert model.flops(**shape) == row["forward"]
    assert model.flops(**shape, mode="training") == row["forward_backward"]
    for per in ("layer", "operator", "kind"):
        for mode in ("forward", "training"):
            assert sum(model.flops(**shape, per=per, mode=mode).values()) == model.flops(**shape, mode=mode)


@pytest.mark.golden
def test_torch_modules_of_the_shared_rows_are_the_same():
    shared = {row["model"]: row for row in FLOPS if row["kind"] == "plain"}
    mine = {row["model"]: row for row in ROWS if row["model"] in shared}
    assert len(mine) == 2
    for name, row in mine.items():
        assert (row["forward"], row["forward_backward"]) == (
            shared[name]["forward"],
            shared[name]["forward_backward"],
        )
    assert (
        shared["EmbeddingBag"]["forward"]
        == 0
        == dlrm(**RECOMMENDER).flops(per="layer")["blocks.2.embedding_bags"]
    )


@pytest.mark.golden
@pytest.mark.parametrize("name", ["dlrm-criteo-kaggle", "dlrm-mlperf", "dlrm-dcnv2"])
def test_bundled_recommenders_are_the_golden_ones(name):
    (row,) = (row for row in ROWS if row["model"].startswith(name))
    model = Model.load(name)
    assert model.blocks == described(row).blocks
    assert model.name == name
    assert model.sources


def test_published_sizes():
    """DLRM of MLPerf: 24 billion embedding parameters (Criteo Terabyte, 40 M rows a table); DCNv2: 26 billion."""
    assert Model.load("dlrm-mlperf").parameters_by_kind()["embedding"] == 128 * 187_767_399
    assert Model.load("dlrm-dcnv2").parameters_by_kind()["embedding"] == 128 * 204_184_588


@pytest.mark.golden
def test_resnet_50():
    (row,) = (row for row in FLOPS if row["model"] == "resnet-50")
    model = resnet50()
    assert (model.name, model.parameters) == ("resnet-50", 25_557_032)
    assert model.flops() == row["forward"]
    assert model.flops(mode="training") == row["forward_backward"]


def test_a_perceptron_by_hand():
    model = mlp(inputs=3, hidden=(5, 5, 5), outputs=2, bias=False)
    assert model.parameters == 3 * 5 + 2 * 5 * 5 + 5 * 2
    assert [block.repeat for block in model.blocks] == [1, 2, 1]
    assert model.flops(batch=7) == 2 * 7 * model.parameters
    assert model.flops(batch=7, mode="training") == 6 * 7 * model.parameters - 2 * 7 * 15  # inputs are data
    assert model.kv_bytes_per_token() == 0


def test_a_classifier_reads_only_the_last_state():
    model = lstm_classifier(vocabulary=50, embedding=8, state=16, classes=3)
    short, long = (model.flops(sequence_length=n, per="layer") for n in (10, 20))
    assert long["blocks.0.recurrent"] == 2 * short["blocks.0.recurrent"]
    assert long["exit.readout"] == short["exit.readout"] == 2 * 16 * 3


def test_a_state_does_not_grow():
    layer = Recurrent(cell="lstm", inputs=8, state=16, layers=2, bidirectional=True, projection=4)
    assert layer.state_bytes(2) == 2 * 2 * (4 + 16) * 2
    assert Recurrent(cell="gru", inputs=8, state=16).state_bytes(4) == 16 * 4
    assert layer.kv_bytes(1000, 2) == 0
    assert not any(isinstance(layer, SelfAttention) for layer, _ in dlrm(**RECOMMENDER).layers())


@pytest.mark.parametrize(
    ("build", "fields", "says"),
    [
        (mlp, {"inputs": 3, "hidden": (), "outputs": 2}, "hidden"),
        (mlp, {"inputs": 3, "hiden": (3,), "outputs": 2}, "did you mean hidden"),
        (mlp, {"inputs": -3, "hidden": (3,), "outputs": 2}, "inputs"),
        (lstm_classifier, {"vocabulary": 9, "embedding": 8, "state": 8, "classes": 2, "cell": "ltsm"}, "'lstm'"),
        (lstm_classifier, {"vocabulary": 9, "embedding": 8, "state": 8, "classes": 2, "projection": 8}, "narrower"),
        (lstm_classifier, {"vocabulary": 9, "embedding": 8, "state": 8, "classes": 2, "cell": "gru", "projection": 4},
         "only an LSTM"),
        (cnn, {"image": 4, "channels": (8, 8, 8), "classes": 2}, "nothing is left"),
        (cnn, {"image": 32, "channels": (8,), "kernel": 4, "classes": 2}, "must be odd"),
        (dlrm, RECOMMENDER | {"bottom": (16, 7)}, "bottom ends in 7, but must end in the embeddings' width = 8"),
        (dlrm, RECOMMENDER | {"lookups": (1, 2)}, "2 numbers for 3 tables"),
        (dlrm, RECOMMENDER | {"rows": ()}, "rows"),
        (dlrm, RECOMMENDER | {"interaction": "dots"}, "'dot'"),
    ],
)  # fmt: skip
def test_a_contradiction_is_told(build, fields, says):
    with pytest.raises(InputError, match=says):
        build(**fields)


# --- the layers ---------------------------------------------------------------------------------------------------

LAYERS = [
    Linear(inputs=5, outputs=7, activation="relu"),
    Linear(inputs=5, outputs=7, bias=False),
    Recurrent(cell="lstm", inputs=5, state=8, layers=2, bidirectional=True, projection=3),
    Recurrent(cell="gru", inputs=5, state=8),
    EmbeddingBags(rows=(100, 7), width=4, lookups=(3, 1)),
    DotInteraction(vectors=5, width=4),
    LowRankCross(width=20, rank=3, layers=2),
]


def exact(sequences=2, queries=6, **changes):
    numbers = map(Fraction, (sequences, queries, queries, 1, 1))
    return Pass(*numbers)._replace(**changes)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.label)
@pytest.mark.parametrize(("sequences", "queries"), [(1, 1), (2, 6), (5, 3)])
def test_backward_is_twice_forward(layer, sequences, queries):
    p = exact(sequences, queries)
    forward, backward = total(layer.forward(p), flops), total(layer.backward(p), flops)
    assert backward == 2 * forward
    assert total(layer.spared(p, first=False), flops) <= total(layer.spared(p, first=True), flops) <= forward


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.label)
def test_work_follows_the_tokens(layer):
    """Operations and saved bytes are proportional to the batch, and halved by splitting the sequence."""
    one, three, half = exact(1), exact(3), exact(1, cp=Fraction(2))
    for work in (layer.forward, layer.backward):
        assert total(work(three), flops) == 3 * total(work(one), flops)
        assert total(work(three), memory_bytes) > total(work(one), memory_bytes)
    assert layer.saved(three) == 3 * layer.saved(one) == 6 * layer.saved(half)
    assert 2 * total(layer.forward(half), flops) == total(layer.forward(one), flops)


def test_weights_have_the_names_of_torch():
    names = [weight.name for weight in LAYERS[2].weights()]
    assert names[:5] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0"]
    assert names[5] == "weight_ih_l0_reverse"
    shapes = {weight.name: weight.shape for weight in LAYERS[2].weights()}
    assert shapes["weight_ih_l1"] == (4 * 8, 2 * 3)  # both directions, projected
    assert shapes["weight_hr_l1_reverse"] == (3, 8)


def test_steps_wait_for_each_other():
    """One product for all inputs of a cell, one with the state for each step."""
    found = {}
    layer, p = Recurrent(cell="lstm", inputs=5, state=8), exact(2, 6)
    for leaf in leaves(layer.forward(p)):
        if isinstance(leaf, Matmul):
            found[leaf.name] = (leaf.m, leaf.n, leaf.k)
    assert found == {"input": (12, 32, 5), "state": (2, 32, 8)}


def test_bags_read_rows_and_write_sums():
    bags = LAYERS[4]
    assert (bags.tables, bags.looked_up) == (2, 4)
    assert total(bags.forward(exact(2, 1)), memory_bytes) == 2 * (4 + 2) * 4 * 2
    assert EmbeddingBags(rows=(9, 9, 9), width=4, lookups=(5,)).looked_up == 15
    assert bags.saved(exact(2, 1)) == 2 * (4 + 2) * 8


def test_pairs_are_counted_once():
    dots = DotInteraction(vectors=5, width=4)
    assert (dots.pairs, dots.outputs) == (10, 14)
    assert DotInteraction(vectors=5, width=4, itself=True).outputs == 19
    assert total(dots.forward(exact(2, 1)), flops) == 2 * 2 * 5 * 5 * 4
