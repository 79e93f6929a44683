"""Memory against real software: what torch keeps for backward of one layer, of a whole step, and under FSDP2."""

import json
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.costs import training_costs
from perfmodel.costs.entering import training_pass
from perfmodel.costs.memory import block_activations
from perfmodel.costs.parts import parts
from perfmodel.decoder import decoder
from perfmodel.layers import Pass
from perfmodel.layers.kept import KERNELS, activation_tensors
from perfmodel.parallel import Parallel
from perfmodel.work import leaves
from perfmodel.workload import OPTIMIZERS, Training
from tests.strategies import gpt

GOLDEN = Path(__file__).parent / "golden"
RECOMPUTE = {None: "none", "attention core": "selective", "full": "full"}
ATTENTION = {"eager": "unfused", "sdpa": "flash"}


def rows(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))["rows"]


# --- one layer ----------------------------------------------------------------------------------------------------


def told(row):
    return "-".join(str(row[key]) for key in ("layer", "attention", "dtype", "dropout", "recompute", "h"))


def one_layer(row):
    sizes = {"layers": 1, "hidden": row["h"], "heads": row["a"], "vocabulary": 64}
    if row["layer"] == "GPT":
        return gpt(**sizes, inner=4 * row["h"], activation="gelu")
    return decoder(**sizes, inner=row["f"], kv_heads=row["kv"])


def kept(row):
    """Bytes that the layer of a row keeps, in plain PyTorch."""
    model, work = (
        one_layer(row),
        Training(
            global_batch=row["b"], sequence_length=row["s"], precision=row["dtype"], dropout=row["dropout"] > 0,
            recompute=RECOMPUTE[row["recompute"]], attention=ATTENTION[row["attention"]], kernels="eager",
        ),
    )  # fmt: skip
    p = training_pass(model, work, Parallel(dp=1, micro_batch=row["b"]))
    return block_activations(parts(model, p).blocks[0], work)


@pytest.mark.golden
@pytest.mark.parametrize("row", rows("memory_layers"), ids=told)
def test_a_layer_keeps_what_torch_keeps(row):
    assert kept(row) == row["alive_bytes_per_layer"]


@pytest.mark.parametrize("kernels", KERNELS)
def test_every_choice_of_kernels_keeps_more_than_the_one_before(kernels):
    """A Llama layer in 16 bits: sbh (2 norm + e (q + o + k + v + tensors · f / h)), norm 4, 10, 8 with its output."""
    p = Pass(2, 64, 64, kernels=kernels)
    block = decoder(layers=1, hidden=64, heads=4, inner=256, vocabulary=8).blocks[0]
    rows, statistics = 2 * 64, {"eager": 4, "transformers": 4}.get(kernels, 0)
    norm = {"eager": 8, "transformers": 6}.get(kernels, 2)
    tables = 4 * 64 * 16 * 2 if kernels == "eager" else 0
    tensors = activation_tensors(kernels, "silu", gated=True)
    expected = rows * 64 * (2 * (norm + 2) + 2 * 4 + 2 * tensors * 4) + 2 * rows * statistics + tables
    softmax = rows * 4 * 4
    assert sum(layer.saved(p) for layer in block.layers) == expected + softmax


@pytest.mark.parametrize("kernels", KERNELS)
def test_tensor_and_context_ranks_divide_what_is_kept(kernels):
    """But for tables and masks, which every tensor rank has whole."""
    block = gpt(hidden=64, heads=8).blocks[0]
    one = Pass(2, 64, 64, kernels=kernels)
    split = one._replace(tp=4, cp=2, sequence_parallel=True)
    assert 8 * sum(layer.saved(split) for layer in block.layers) == sum(
        layer.saved(one) for layer in block.layers
    )


# --- a whole step -------------------------------------------------------------------------------------------------


def step(row):
    """Memory of the one stage of a row, as transformers runs it."""
    mode, world = row.get("mode", "autocast"), row.get("world", 1)
    formats = {
        "fp32": {"precision": "fp32"}, "autocast": {"precision": "bf16", "weight_dtype": "fp32"},
        "bf16": {"precision": "bf16", "optimizer": "adamw_pure", "gradient_dtype": "bf16"},
    }  # fmt: skip
    work = Training(
        global_batch=row["batch"] * world, sequence_length=row["seq"], kernels="transformers", **formats[mode],
        attention=ATTENTION[row["attention"]], recompute="full" if row.get("checkpoint_layers") else "none",
    )  # fmt: skip
    layout = Parallel(dp=world, micro_batch=row["batch"], sharding="zero3" if "world" in row else "none")
    return training_costs(pm.Model.load(row["model"]), work, layout).memory[0]


def step_told(row):
    return "-".join(
        str(row.get(key, "")) for key in ("model", "batch", "mode", "attention", "checkpoint_layers", "world")
    )


STEPS, SHARDED = rows("memory_steps"), rows("memory_fsdp")


def tensors(model):
    """Parameter tensors in torch: Llama keeps queries, keys, values, gate and up apart, and GPT-2 merges the first."""
    pieces = {} if model.family == "gpt2" else {"qkv": 3, "up": 2}
    return sum(times * pieces.get(weight.name, 1) for weight, times in model.weights())


@pytest.mark.golden
@pytest.mark.parametrize("row", [row for row in STEPS if row["mode"] != "autocast"] + SHARDED, ids=step_told)
def test_a_step_keeps_what_transformers_keeps(row):
    """Token numbers are torch's `Other` and `Inputs`; the loss and its weight are 8 or 16 bytes more."""
    found = row["after_forward"]
    kept = found["Activation"] + found.get("Other", 0) + found.get("Inputs", 0)
    assert kept - step(row).activations in (8, 16)


@pytest.mark.golden
def test_autocast_keeps_more_than_is_counted():
    """Casts of the weights are counted with the buffers; the residual stream in 32 bits that norms keep is not: 5 %."""
    (row,) = (row for row in STEPS if row["mode"] == "autocast")
    found, memory = row["after_forward"], step(row)
    kept = found["Activation"] + found["Other"]
    cast = 2 * row["params"]
    assert memory.buffers == row["peak"]["Temp"] + cast
    assert (memory.activations + cast) / kept == pytest.approx(1, abs=0.06)


@pytest.mark.golden
@pytest.mark.parametrize("row", STEPS, ids=step_told)
def test_states_of_a_step_are_those_of_torch(row):
    """AdamW has a counter of 4 bytes a tensor, too."""
    found, memory = row["after_backward"], step(row)
    assert memory.weights == found["Parameter"]
    assert memory.gradients == found["Gradient"]
    assert memory.optimizer + 4 * tensors(pm.Model.load(row["model"])) == found["Optstate"]


@pytest.mark.golden
@pytest.mark.parametrize("row", SHARDED, ids=step_told)
def test_states_under_fsdp_are_those_of_torch(row):
    """32-bit shards of weights and gradients, and of two moments; the counters are whole on every rank."""
    found, memory = row["after_forward"], step(row)
    assert memory.weights == found["Sharded Param"]
    assert memory.gradients == row["params"] * 4 / row["world"]
    if row["world"] == 1:  # of several ranks the peak comes before there are gradients
        assert memory.gradients == row["peak"]["Sharded Grad"]
    assert memory.optimizer + 4 * tensors(pm.Model.load(row["model"])) == found["OptState"]


@pytest.mark.golden
@pytest.mark.parametrize("row", [row for row in SHARDED if row["world"] > 1], ids=step_told)
def test_buffers_under_fsdp_are_those_of_torch(row):
    """At the loss: embedding, final norm and head gathered, one layer ahead, and two gradients of the logits."""
    peak = row["peak"]
    assert step(row).buffers == peak["Unsharded Param"] + peak["All Gather"] + peak["Temp"]


@pytest.mark.golden
@pytest.mark.parametrize(
    "row", [row for row in STEPS if row["mode"] != "autocast" and row["model"] != "llama-3-8b"], ids=step_told
)
def test_buffers_of_the_loss_are_those_of_torch(row):
    """The 8 B model has its peak at the end of backward, where torch no longer holds what we add up."""
    assert step(row).buffers == row["peak"]["Temp"]


# --- optimizers ---------------------------------------------------------------------------------------------------


def states(optimizer, **work):
    """Optimizer states and master copies of a small GPT."""
    job = Training(global_batch=8, sequence_length=32, optimizer=optimizer, **work)
    return training_costs(gpt(), job, Parallel(dp=1, sharding="none")).memory[0].optimizer


def by_hand(matrix, other, *, hidden=lambda weight: True):
    return sum(
        times * (matrix if hidden(weight) else other) * weight.size for weight, times in gpt().weights()
    )


def is_hidden(weight):
    return weight.kind == "matrix"


def test_states_of_optimizers_by_hand():
    size = gpt().parameters
    assert states("adamw") == (8 + 4) * size
    assert states("adamw", precision="fp32") == states("adamw_pure", precision="fp32") == 8 * size
    assert states("adamw", weight_dtype="fp32") == 8 * size
    assert states("adamw_pure") == 4 * size
    assert states("sgd_momentum") == states("lion") == (4 + 4) * size
    assert states("muon") == by_hand(4, 8, hidden=is_hidden) + 4 * size


def test_states_in_8_bits_have_scales():
    """Two bytes, two scales for 256; tensors of less than 4096 parameters (biases and norms) stay in 32 bits."""
    expected = by_hand(2 + 8 / 256, 8, hidden=lambda weight: weight.size >= 4096)
    assert states("adamw_8bit") == expected  # every large tensor is a multiple of 256


def test_adafactor_keeps_rows_and_columns():
    tables = {(64, 192): 2, (64, 64): 2, (64, 256): 2, (256, 64): 2, (128, 64): 1, (2048, 64): 1}
    vectors = sum(times * weight.size for weight, times in gpt().weights() if len(weight.shape) == 1)
    factors = sum(times * sum(shape) for shape, times in tables.items())
    assert states("adafactor", precision="fp32") == 4 * (factors + vectors)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("sharding", ["zero1", "zero2", "zero3"])
def test_states_of_every_optimizer_are_sharded_exactly(optimizer, sharding):
    def kept(sharding):
        work = Training(global_batch=8, sequence_length=32, optimizer=optimizer)
        return training_costs(gpt(), work, Parallel(tp=2, cp=2, dp=4, sharding=sharding)).memory[0].optimizer

    assert kept(sharding) == kept("none") / 8


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_an_update_moves_the_states_twice(optimizer):
    def moved(optimizer, precision="fp32"):
        work = Training(global_batch=8, sequence_length=32, optimizer=optimizer, precision=precision)
        tree = training_costs(gpt(), work, Parallel(dp=1)).tree
        return sum(leaf.bytes for leaf in leaves(tree) if getattr(leaf, "kind", "") == "optimizer")

    # the gradient twice, the weight in and out
    rest = (2 * 4 + 2 * 4) * gpt().parameters
    assert moved(optimizer) == pytest.approx(rest + 2 * states(optimizer, precision="fp32"), rel=1e-12)
