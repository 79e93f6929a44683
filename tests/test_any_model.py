"""Training steps of every kind of model: costs against exact counts, layers by hand, and what is refused by name."""

import pytest

import perfmodel as pm
from perfmodel.costs import training_costs
from perfmodel.costs.entering import training_pass
from perfmodel.costs.messages import messages
from perfmodel.costs.parts import parts
from perfmodel.errors import InputError
from perfmodel.layers import BatchNorm, Convolution, CrossAttention, Pass
from perfmodel.layers.squeeze import SqueezeExcitation
from perfmodel.work import Stream, flops, leaves, memory_bytes, total
from perfmodel.work import kernels as launched

NODE = pm.Cluster.load("dgx-h100", devices=8)
ONE = pm.Parallel(dp=1)


def reads_tokens(model):
    return model.input == "tokens" and model.fixed_length is None


def training(model, **changes):
    length = {"sequence_length": 64} if reads_tokens(model) else {}
    return pm.Training(**({"global_batch": 16} | length | changes))


def counted(model, work, mode="training", **counting):
    return model.flops(batch=work.global_batch, sequence_length=work.sequence_length, mode=mode, **counting)


SMALL = {
    "mlp": pm.mlp(inputs=64, hidden=(64, 64, 32), outputs=10),
    "cnn": pm.cnn(image=32, channels=(32, 64), hidden=(128,), classes=10),
    "lstm": pm.lstm_classifier(vocabulary=1000, embedding=128, state=256, layers=2, classes=2),
    "gru both ways": pm.lstm_classifier(
        vocabulary=100, embedding=32, state=64, layers=2, classes=2, cell="gru", bidirectional=True
    ),
    "dlrm": pm.dlrm(dense=13, bottom=(64, 16), rows=(1000, 50, 3), width=16, top=(32, 1)),
    "resnet": pm.resnet50(),
}


# --- every model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pm.models())
def test_every_bundled_model_trains(name):
    model = pm.Model.load(name)
    work = training(model)
    est = pm.estimate(model, work, pm.Parallel(), NODE)
    assert est.costs.model_flops == pytest.approx(counted(model, work), rel=1e-12)
    assert est.memory.weights == pytest.approx(2 * model.parameters)
    assert est.memory.gradients == pytest.approx(4 * model.parameters)
    assert 0 < est.mfu < 1
    assert est.samples_per_second == pytest.approx(16 / est.step_time)
    assert ("tokens/s" in str(est)) == reads_tokens(model)
    assert (est.tokens_per_second is None) != reads_tokens(model)
    assert "nan" not in str(est)
    assert "None" not in str(est)


@pytest.mark.parametrize(
    "name", [*SMALL, "bart-base", "t5-small", "swin-tiny", "convnext-tiny", "wav2vec2-base-960h"]
)
def test_the_tree_holds_what_is_counted(name):
    model = SMALL[name] if name in SMALL else pm.Model.load(name)
    work = training(model, attention="unfused")
    tree = training_costs(model, work, ONE).tree
    # unfused kernels compute what the mask hides, too; cuDNN's also the gradient of the states that cells start from
    starts = {"lstm": 2 * 4 * 256 * 256, "gru both ways": 4 * 3 * 64 * 64}.get(name, 0)
    expected = counted(model, work, attention="full") + 2 * 16 * starts
    assert total(tree, flops) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["bart-base", "whisper-tiny", "resnet-18", "swin-tiny", "albert-base-v2"])
@pytest.mark.parametrize("sharding", ["none", "zero1", "zero2", "zero3"])
def test_states_are_sharded(name, sharding):
    model = pm.Model.load(name)
    memory = pm.estimate(model, training(model), pm.Parallel(sharding=sharding), NODE).memory
    ranks = {kind: 8 if sharding in stages else 1 for kind, stages in {
        "weights": ("zero3",), "gradients": ("zero2", "zero3"), "optimizer": ("zero1", "zero2", "zero3"),
    }.items()}  # fmt: skip
    assert memory.weights * ranks["weights"] == pytest.approx(2 * model.parameters)
    assert memory.gradients * ranks["gradients"] == pytest.approx(4 * model.parameters)
    assert memory.optimizer * ranks["optimizer"] == pytest.approx(12 * model.parameters)


@pytest.mark.parametrize("name", ["bart-base", "resnet-50", "vit-base", "convnext-tiny", "albert-base-v2"])
def test_whole_blocks_are_computed_again(name):
    model = pm.Model.load(name)
    kept, again = (
        pm.estimate(model, training(model, recompute=policy), pm.Parallel(), NODE)
        for policy in ("none", "full")
    )
    assert again.memory.activations < kept.memory.activations
    assert again.hfu > again.mfu
    assert again.costs.hardware_flops - again.costs.model_flops < counted(model, kept.work, "forward")


def test_modules_to_compute_again_must_be_there():
    with pytest.raises(InputError, match="attention core"):
        pm.estimate(pm.resnet50(), pm.Training(global_batch=8, recompute="selective"), pm.Parallel(), NODE)
    work = pm.Training(global_batch=8, recompute="selective", recompute_modules=("batch norm",))
    kept, again = (
        pm.estimate(pm.resnet50(), each, pm.Parallel(), NODE)
        for each in (work.replace(recompute="none", recompute_modules=("attention core",)), work)
    )
    assert again.step_time > kept.step_time
    swin = pm.Model.load("swin-tiny")
    work = training(swin, recompute="selective", recompute_modules=("mlp",))
    assert pm.estimate(swin, work, pm.Parallel(), NODE).hfu > 0


def test_messages_of_a_source_are_not_known():
    with pytest.raises(InputError, match="that read a source"):
        messages(
            pm.Model.load("bart-base"),
            pm.Training(global_batch=8, sequence_length=64),
            pm.Parallel(dp=8),
            "ddp",
        )


# --- what enters --------------------------------------------------------------------------------------------------


def test_a_source_has_a_length_of_its_own():
    model = pm.Model.load("t5-small")
    for source in (32, 64, 512):
        work = pm.Training(global_batch=8, sequence_length=64, source_length=source)
        found = training_costs(model, work, ONE)
        assert found.model_flops == model.flops(
            batch=8, sequence_length=64, source_length=source, mode="training"
        )
        assert found.tokens == 8 * 64
    alike = training_costs(model, pm.Training(global_batch=8, sequence_length=64), ONE)
    assert alike.model_flops == model.flops(batch=8, sequence_length=64, mode="training")


def test_images_have_a_size():
    model = pm.resnet50()
    for size in (160, (192, 256)):
        found = training_costs(model, pm.Training(global_batch=4, image_size=size), ONE)
        assert found.model_flops == model.flops(batch=4, image_size=size, mode="training")
        assert (found.samples, found.tokens) == (4, None)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("gpt2", {}, "sequence_length is missing: model 'gpt2' reads tokens"),
        ("gpt2", {"sequence_length": 64, "image_size": 224}, "image_size = 224, which it does not take"),
        ("resnet-50", {"sequence_length": 64}, "its length follows from image_size"),
        ("wav2vec2-base-960h", {"sequence_length": 64}, "its length follows from samples"),
        ("dlrm-mlperf", {"sequence_length": 64}, "every sample has 1"),
        ("bart-base", {"source_length": 64}, "sequence_length is missing"),
    ],
)
def test_what_a_model_cannot_read_is_refused(name, given, told):
    with pytest.raises(InputError, match=told):
        pm.estimate(pm.Model.load(name), pm.Training(global_batch=8, **given), pm.Parallel(), NODE)


@pytest.mark.parametrize(
    ("name", "layout", "told"),
    [
        ("bart-base", {"pp": 2}, "pp = 2 hands one stream from stage to stage, but bart-base reads a source"),
        ("resnet-50", {"pp": 2}, "resnet-50 has no stream of one width between its layers"),
        ("albert-base-v2", {"pp": 2}, "albert-base-v2 has layers that share their weights"),
        ("resnet-50", {"tp": 2}, "no layer of resnet-50 is split by tensor parallelism; valid: tp = 1"),
        ("swin-tiny", {"tp": 2}, "swin-tiny works on images between its blocks"),
        ("bart-base", {"cp": 2}, "cp = 2 cuts sequences of tokens, but bart-base reads a source"),
        ("vit-base", {"cp": 2}, "vit-base reads an image"),
        ("dlrm-mlperf", {"cp": 2}, "dlrm-mlperf has no sequences"),
    ],
)
def test_layouts_without_sense_are_refused_by_a_rule(name, layout, told):
    model = pm.Model.load(name)
    with pytest.raises(InputError, match=told):
        pm.estimate(model, training(model), pm.Parallel(**layout), NODE)


def test_a_recurrence_is_one_sequence():
    with pytest.raises(InputError, match="works position by position"):
        pm.estimate(SMALL["lstm"], training(SMALL["lstm"]), pm.Parallel(cp=2), NODE)


def test_translators_take_tensor_parallelism():
    model = pm.Model.load("bart-large")
    whole, split = (
        pm.estimate(model, training(model), pm.Parallel(tp=tp, sharding="none"), NODE) for tp in (1, 2)
    )
    assert split.memory.weights < whole.memory.weights
    assert split.terms["tp"] > 0


# --- by hand ------------------------------------------------------------------------------------------------------


def test_only_the_first_repetition_sees_data():
    model = pm.mlp(inputs=64, hidden=(64, 64), outputs=10)
    p = training_pass(model, pm.Training(global_batch=8), pm.Parallel(dp=1, micro_batch=8))
    backward = [total(work, flops) for block in parts(model, p).blocks for work in block.backward()]
    assert backward == [2 * 8 * 64 * 64, 4 * 8 * 64 * 64, 4 * 8 * 64 * 10]


def test_steps_of_a_recurrence_wait_for_each_other():
    """Two cells of 50 steps: forward a product and the gates each step, backward the same, but for the first state."""
    model = SMALL["lstm"]
    times = [
        pm.estimate(
            model,
            training(model, sequence_length=length),
            pm.Parallel(),
            NODE,
            efficiency=pm.Efficiency.of(NODE.device.architecture),
        ).step_time
        for length in (64, 128)
    ]
    assert times[1] / times[0] == pytest.approx(2, rel=0.05)


def image(side, **formats):
    p = Pass(sequences=2, queries=side * side, keys=side * side, extent=(side, side))
    return p._replace(**formats)


def test_a_convolution_moves_each_operand_once():
    """Two images of 56 × 56 with 64 channels, 3 × 3 filters, 16 bits; the filters' gradient is added to in 32 bits."""
    layer, p = Convolution(inputs=64, outputs=64, kernel=(3, 3), padding=(1,), bias=False), image(56)
    tensor, filters = 2 * 56 * 56 * 64, 9 * 64 * 64
    of_input, of_filters = layer.backward(p).parts
    assert memory_bytes(layer.forward(p)) == pytest.approx(2 * (2 * tensor + filters))
    assert memory_bytes(of_input) == pytest.approx(2 * (2 * tensor + filters))
    assert memory_bytes(of_filters) == pytest.approx(2 * 2 * tensor + 2 * 4 * filters)
    assert flops(layer.forward(p)) == flops(of_input) == flops(of_filters) == 2 * tensor * 9 * 64


@pytest.mark.parametrize(
    ("changes", "dtype", "effort"),
    [
        ({}, "bf16", 1),
        ({}, "fp32", 16 / 36),
        ({"stride": (2,)}, "fp32", 1),
        ({"groups": 16}, "fp32", 1),
        ({"groups": 16}, "bf16", 1),
        ({"groups": 32}, "bf16", 1),
        ({"inputs": 96, "outputs": 96, "groups": 8}, "bf16", (16 / 12) ** 2),
        ({"inputs": 3}, "fp16", 4 / 3),
        ({"inputs": 3}, "tf32", 4 / 3),
        ({"outputs": 20}, "fp16", 24 / 20),
    ],
)
def test_what_units_compute_for_a_convolution(changes, dtype, effort):
    layer = Convolution(**{"inputs": 128, "outputs": 128, "kernel": (3, 3), "padding": (1,)} | changes)
    work = layer.forward(image(28, dtype=dtype))
    assert (work.kernel, work.effort) == ("convolution", pytest.approx(effort))
    assert flops(work) == 2 * work.m * layer.outputs * layer.inputs // layer.groups * 9


@pytest.mark.parametrize(
    ("kernels", "dtype", "fields", "passes"),
    [
        ("fused", "bf16", {}, (3, 5)),
        ("fused", "bf16", {"activation": "relu"}, (3, 5)),
        ("fused", "bf16", {"activation": "relu", "adds": 1}, (4, 7)),
        ("eager", "bf16", {"activation": "relu"}, (3 + 2, 3 + 5)),
        ("eager", "bf16", {"activation": "relu", "adds": 1}, (3 + 3 + 2, 3 + 5 + 3)),
        ("fused", "fp32", {"activation": "relu", "adds": 1}, (3 + 3 + 2, 3 + 5 + 3)),
    ],
)
def test_passes_of_a_batch_norm(kernels, dtype, fields, passes):
    layer, p = BatchNorm(width=64, **fields), image(56, kernels=kernels, dtype=dtype)
    tensor = 2 * 56 * 56 * 64 * 2
    assert total(layer.forward(p), memory_bytes) == passes[0] * tensor
    assert total(layer.backward(p), memory_bytes) == passes[1] * tensor
    assert layer.saved(p) == tensor


@pytest.mark.parametrize(
    ("kernels", "fields", "passes", "launches"),
    [
        ("eager", {"activation": "relu"}, 2 + 2, 2),
        ("eager", {"activation": "relu", "adds": 1}, 2 + 3 + 2, 3),
        ("xla", {"activation": "relu", "adds": 1}, 2 + 1, 1),
        ("fused", {"activation": "relu"}, 0, 0),
        ("fused", {"activation": "relu", "adds": 1}, 1, 0),
    ],
)
def test_a_batch_norm_whose_statistics_are_known(kernels, fields, passes, launches):
    """A kernel each, one for all by a compiler, or none: a part of the convolution, which reads what is added."""
    layer, p = (
        BatchNorm(width=64, **fields),
        image(56, kernels=kernels, dtype="bf16")._replace(forward_only=True),
    )
    assert total(layer.forward(p), memory_bytes) == passes * 2 * 56 * 56 * 64 * 2
    assert total(layer.forward(p), launched) == launches


def test_images_a_second():
    est = pm.estimate(
        pm.resnet50(),
        pm.Training(global_batch=2048, precision="fp16", optimizer="sgd_momentum"),
        pm.Parallel(micro_batch=256, sharding="none"),
        NODE,
    )
    assert est.samples_per_second == pytest.approx(2048 / est.step_time)
    assert est.samples_per_second_per_device == pytest.approx(est.samples_per_second / 8)
    assert "images/s" in str(est)
    assert est.to_dict()["samples_per_second"] == est.samples_per_second
    assert est.to_dict()["tokens_per_second"] is None


def test_dropout_of_cross_attention_is_a_kernel_of_its_own():
    """Scores of 2 sequences, 4 heads, 8 queries, 6 keys in 16 bits: read, written, and a mask of one byte."""
    layer = CrossAttention(hidden=32, heads=4, head_dim=8)
    p = Pass(2, 8, 8, source=6, fused_attention=False, dropout=True)
    bare = p._replace(dropout=False)
    for work in (layer.forward, layer.backward):
        more = total(work(p), memory_bytes) - total(work(bare), memory_bytes)
        assert more == 2 * 4 * 8 * 6 * (2 + 2 + 1)


def test_squeeze_and_excitation_by_hand():
    """64 channels of two images of 56 × 56: three passes forward, four backward; two thin products of two rows."""
    layer, p = SqueezeExcitation(width=64, squeezed=4), image(56)
    tensor = 2 * 56 * 56 * 64 * 2
    streams = [
        sum(leaf.bytes for leaf in leaves(work) if isinstance(leaf, Stream))
        for work in (layer.forward(p), layer.backward(p))
    ]
    assert streams == [3 * tensor, 4 * tensor]
    assert total(layer.forward(p), flops) == 2 * 2 * 2 * 64 * 4
    assert total(layer.backward(p), flops) == 2 * total(layer.forward(p), flops)


def test_resnext_is_counted_as_published():
    assert pm.Model.load("resnext-101-32x4d").parameters == 44_177_704
    assert pm.Model.load("resnext50_32x4d").parameters == 25_028_904
    assert pm.Model.load("resnet-50").parameters == 25_557_032
