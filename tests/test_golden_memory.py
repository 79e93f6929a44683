"""Memory against real software: what torch keeps for backward of one layer, of a whole step, and under FSDP2."""

import json
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.costs import training_costs
from perfmodel.costs.memory import block_activations
from perfmodel.costs.training import training_pass
from perfmodel.decoder import decoder
from perfmodel.layers import Pass
from perfmodel.layers.kept import KERNELS, activation_tensors
from perfmodel.parallel import Parallel
from perfmodel.workload import Training
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
    p = training_pass(work, Parallel(dp=1, micro_batch=row["b"]))
    return block_activations(model.blocks[0], work, p, model.hidden)


@pytest.mark.golden
@pytest.mark.parametrize("row", rows("memory_layers"), ids=told)
def test_a_layer_keeps_what_torch_keeps(row):
    assert kept(row) == row["alive_bytes_per_layer"]


@pytest.mark.parametrize("kernels", KERNELS)
def test_every_choice_of_kernels_keeps_more_than_the_one_before(kernels):
    """A Llama layer in 16 bits: sbh (2 norm + e (q + o + k + v + tensors · f / h)), norm 4, 10, 8 with its output."""
    p = Pass(2, 64, 64, kernels=kernels)
    block = decoder(layers=1, hidden=64, heads=4, inner=256, vocabulary=8).blocks[0]
    rows, statistics = 2 * 64, {"fused": 0, "eager": 4, "transformers": 4}[kernels]
    norm = {"fused": 2, "eager": 8, "transformers": 6}[kernels]
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
    mode, world = row.get("mode", "bf16"), row.get("world", 1)
    work = Training(
        global_batch=row["batch"] * world, sequence_length=row["seq"], precision=mode, kernels="transformers",
        attention=ATTENTION[row["attention"]], recompute="full" if row.get("checkpoint_layers") else "none",
    )  # fmt: skip
    layout = Parallel(dp=world, micro_batch=row["batch"], sharding="zero3" if "world" in row else "none")
    return training_costs(pm.Model.load(row["model"]), work, layout).memory[0]


def step_told(row):
    return "-".join(
        str(row.get(key, "")) for key in ("model", "batch", "mode", "attention", "checkpoint_layers", "world")
    )


STEPS = [row for row in rows("memory_steps") if row["mode"] != "autocast"] + rows("memory_fsdp")


@pytest.mark.golden
@pytest.mark.parametrize("row", STEPS, ids=step_told)
def test_a_step_keeps_what_transformers_keeps(row):
    """Token numbers are torch's `Other` and `Inputs`; the loss and its weight are 8 or 16 bytes more."""
    found = row["after_forward"]
    kept = found["Activation"] + found.get("Other", 0) + found.get("Inputs", 0)
    assert kept - step(row).activations in (8, 16)
