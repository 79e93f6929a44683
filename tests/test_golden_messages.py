"""Messages of a training step, equal to those that torch sends, and to closed forms where it was not asked."""

import json
from pathlib import Path

import numpy as np
import pytest

from perfmodel.costs.messages import STRATEGIES, Message, messages
from perfmodel.costs.messages.data import buckets, tensor_sizes
from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.layers import SelfAttention
from perfmodel.parallel import Parallel
from perfmodel.workload import Training
from tests.strategies import gpt

GOLDEN = json.loads((Path(__file__).parent / "golden" / "collectives.json").read_text(encoding="utf-8"))
KEPT = {"fsdp2 bf16": "fsdp2"}


def tiny():
    """The model of the rows: a Llama of 4 layers, 16 heads on 8 key-value heads of 16, its head untied."""
    sizes = GOLDEN["model"]
    return decoder(
        layers=sizes["layers"], hidden=sizes["hidden"], heads=sizes["heads"], kv_heads=sizes["kv"],
        inner=sizes["ffn"], vocabulary=sizes["vocab"],
    )  # fmt: skip


def job(row):
    """Workload and layout of a row: two ranks of tensor parallelism beside four of FSDP2, four shards under HSDP."""
    name, world, sizes = row["strategy"], row["world"], GOLDEN["model"]
    tp = {"tp": world, "fs": 2 if "tp" in name else 1}.get(name[:2], 1)
    formats = {"precision": "bf16", "weight_dtype": "fp32"} if "bf16" in name else {"precision": "fp32"}
    work = Training(global_batch=sizes["batch"] * world // tp, sequence_length=sizes["seq"], **formats)
    layout = Parallel(
        tp=tp, dp=world // tp, micro_batch=sizes["batch"], sequence_parallel="sp" in name, sharding="zero3"
    )
    return work, layout


def test_the_model_of_the_rows():
    model = tiny()
    assert {row["params"] for row in GOLDEN["rows"]} == {model.parameters} == {3672320}
    layer = sum(weight.size for layer in model.blocks[0].layers for weight in layer.weights())
    assert {row["layer_params"] for row in GOLDEN["rows"]} == {layer} == {786944}


@pytest.mark.golden
@pytest.mark.parametrize("row", GOLDEN["rows"], ids=lambda row: f"{row['strategy']}-{row['world']}")
def test_a_step_sends_what_torch_sends(row):
    name = row["strategy"]
    sent = messages(
        tiny(), *job(row), KEPT.get(name, name), replicas=row["world"] // 4 if name == "hsdp" else 1
    )
    count, size = {}, {}
    for message in sent:
        key = f"{message.phase}/{message.kind}"
        count[key] = count.get(key, 0) + message.count
        size[key] = size.get(key, 0) + message.bytes
    assert count == row["count"]
    assert size == row["bytes"]


def test_every_strategy_of_the_rows_is_known():
    assert {KEPT.get(row["strategy"], row["strategy"]) for row in GOLDEN["rows"]} <= set(STRATEGIES)


# --- closed forms -------------------------------------------------------------------------------------------------


def sent(strategy, model=None, **layout):
    work = Training(global_batch=8, sequence_length=32)
    return messages(model or gpt(layers=3), work, Parallel(**({"dp": 1} | layout)), strategy)


def test_a_ring_passes_keys_and_values_to_all_others():
    """Blocks of 8 tokens, keys and values of width 64, three steps of four ranks, three layers, eight passes."""
    steps, block = 8 * 3 * 3, 2 * 8 * 64
    home = 8 * 3 * 4
    assert sent("cp ring", cp=4) == (
        Message("forward", "send", "cp", steps, steps * block * 2),
        Message("backward", "send", "cp", steps + home, steps * block * 2 + home * block * 4),
    )


def test_gathered_keys_and_values():
    count, whole = 2 * 8 * 3, 32 * 64 * 2
    assert sent("cp all-gather", cp=4) == (
        Message("forward", "all_gather", "cp", count, count * whole),
        Message("backward", "all_gather", "cp", count, count * whole),
        Message("backward", "reduce_scatter", "cp", count, count * whole),
    )


def test_ulysses_moves_four_activations_a_layer():
    """4 N h / P of arXiv:2309.14509, section 3.2, in each direction."""
    expected = 8 * 3 * 4 * (32 * 64 / 4) * 2
    assert sent("ulysses", cp=4) == tuple(
        Message(phase, "all_to_all", "cp", 8 * 3 * 4, expected) for phase in ("forward", "backward")
    )


@pytest.mark.parametrize("strategy", ["cp ring"])
def test_one_rank_has_nobody_to_send_to(strategy):
    assert all(message.count == message.bytes == 0 for message in sent(strategy))
    assert all(message.count == message.bytes == 0 for message in sent("pp"))


@pytest.mark.parametrize(("vpp", "chunks"), [(1, 1), (3, 3)])
def test_stages_hand_on_each_micro_batch(vpp, chunks):
    expected = 8 * chunks * 32 * 64 * 2
    assert sent("pp", pp=2, vpp=vpp) == (
        Message("forward", "send", "pp", 8 * chunks, expected),
        Message("backward", "send", "pp", 8 * chunks, expected),
    )


def test_tensor_ranks_share_a_send_and_gather_it_again():
    found = sent("pp scatter-gather", pp=2, tp=4)
    assert [(message.axis, message.bytes) for message in found] == [
        ("pp", 8 * 32 * 64 * 2 / 4), ("pp", 8 * 32 * 64 * 2 / 4), ("tp", 8 * 32 * 64 * 2), ("tp", 8 * 32 * 64 * 2)
    ]  # fmt: skip


def test_a_dense_model_sends_nothing_to_experts():
    assert sent("ep") == ()


# --- parts --------------------------------------------------------------------------------------------------------


def test_tensors_are_kept_apart_as_in_transformers():
    layer = SelfAttention(hidden=64, heads=8, kv_heads=2, head_dim=16, qkv_bias=True)
    assert list(tensor_sizes(layer)) == [64 * 128, 64 * 32, 64 * 32, 128 * 64, 128, 32, 32]
    assert sum(tensor_sizes(layer)) == sum(weight.size for weight in layer.weights())


def test_buckets_lose_nothing_and_start_small():
    sizes = [3 * 2**18] * 100
    filled = buckets(sizes)
    assert sum(filled) == sum(sizes)
    assert filled[0] == 2 * 3 * 2**18
    assert all(25 * 2**20 <= bucket < 26 * 2**20 for bucket in filled[1:-1])
    assert buckets([]) == []


def test_numbers_may_be_arrays():
    model, work = tiny(), Training.model_construct(global_batch=np.array([16.0, 32.0]), sequence_length=128)
    layout = Parallel.model_construct(dp=np.array([2.0, 4.0]), tp=np.array([4.0, 8.0]))
    for name in ("fsdp2", "tp", "fsdp2 x tp+sp", "cp ring", "ulysses", "pp"):
        together = messages(model, work, layout, name)
        for place in range(2):
            alone = messages(
                model,
                Training(global_batch=16 * (place + 1), sequence_length=128),
                Parallel(dp=2 * (place + 1), tp=4 * (place + 1)),
                name,
            )
            for many, one in zip(together, alone, strict=True):
                assert np.broadcast_to(many.bytes, 2)[place] == one.bytes
                assert np.broadcast_to(many.count, 2)[place] == one.count


def test_an_unknown_strategy_is_told():
    with pytest.raises(InputError, match='unknown strategy "fsdp"; did you mean'):
        sent("fsdp")
