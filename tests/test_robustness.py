"""Rows as people bring them: mutations of measured rows, none of which may crash or go without a reason."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.validation import training_job, validate_rows
from perfmodel.validation.clusters import row_cluster
from perfmodel.validation.fabric import stated_bandwidth
from perfmodel.validation.layouts import degrees
from perfmodel.validation.models import row_model
from perfmodel.validation.scores import read_rows

ROWS = read_rows(Path(__file__).parent / "golden" / "measurements" / "training.jsonl")
Row = dict[str, Any]

DENSE = (
    "mistral", "qwen", "qwen2", "qwen2.5", "qwen3", "gemma", "gemma2", "falcon", "mpt", "opt", "phi", "phi3",
    "starcoder", "starcoder2", "gpt-neox", "pythia", "gpt-j", "palm", "glm", "chatglm", "baichuan", "internlm", "yi",
    "deepseek", "olmo", "olmo2", "granite", "command-r", "stablelm", "gpt2", "gpt3", "turing-nlg", "never heard of",
    None,
)  # fmt: skip
NAMED = (
    ("mamba", "mamba-2.8b"), ("mamba2", "mamba2-2.7b"), ("rwkv", "rwkv-4-7b"), ("jamba", "jamba-v0.1"),
    ("t5", "t5-large"), ("flan-t5", "flan-t5-xl"), ("bart", "bart-base"), ("vit", "vit-large"), ("deit", "deit-base"),
    ("swin", "swin-tiny"), ("clip", "clip-vit-l-14"), ("resnet", "resnet18"), ("resnet", "resnet-152"),
    ("resnet34", "resnet34"), ("dlrm", "dlrm-dcnv2"), ("dlrm", "dlrm"), ("whisper", "whisper-large-v3"),
    ("wav2vec2", "wav2vec2-large-960h"), ("gnmt", "gnmt"), ("bert", "bert-base"), ("roberta", "roberta-large"),
    ("llama", "llama-2-7b"), ("llama", "Llama-3-8B"), ("convnext", "convnext-base"), ("albert", "albert-base-v2"),
)  # fmt: skip
UNBUILT = ("unet3d", "stable-diffusion", "ssd", "mask-rcnn", "efficientnet", "rnnt", "tacotron2", "ncf")
PRECISIONS = (
    "bf16", "fp16", "tf32", "fp32", "fp8", "mxfp8", "nvfp4", "mxfp4", "bf16-mixed", "amp", "16-mixed", "FP8_CS",
    "fp8-blockwise", "fp8-delayed", "bfloat16", "float16", "float32", "mixed",
)  # fmt: skip
SHARDINGS = (
    "none", "zero1", "zero2", "zero3", "hsdp", "fsdp", "FSDP2", "ddp", "zero-offload", "zero3-offload", "full_shard",
    "distributed optimizer", "hybrid_shard", None, "", "magic",
)  # fmt: skip
RECOMPUTE = (
    ("selective", "selective:core_attn,unheard_of"), ("selective", "my own list"), ("full", "block"), ("uniform", None),
    (None, None), (True, None), ("selective", None), ("selective", "custom: offload query_proj+nothing"), ("half", "x"),
)  # fmt: skip
NETWORKS = (
    None, "", "8x ConnectX-7 400Gb/s", "4x200 Gb/s HDR", "EFA 3.2 Tb/s per node", "100 GbE", "InfiniBand EDR",
    "PCIe Gen4 only", "NVLink bridge pairs", "N/A; N/A; N/A", "Storage: 2x IB HDR 200Gb/s", "unknown",
)  # fmt: skip
SHAPES = {
    "heads": (7, 12, 28, 40), "kv_heads": (None, 1, 2, 3, 8), "layers": (3, 13, 61), "hidden": (896, 3584, 4000),
    "vocab": (50257, 151643, None), "ffn": (None, 11008),
}  # fmt: skip
STACKS = (
    None,
    "",
    "Colossal-AI 0.3",
    "accelerate",
    "in-house",
    "Hugging Face Trainer",
    "MaxText",
    "GPT-NeoX",
)


def model_of(row: Row, **changes: Any) -> Row:
    return {**row, "model": {**row["model"], **changes}}


def spread_of(row: Row, **changes: Any) -> Row:
    return {**row, "parallel": {**row["parallel"], **changes}}


def dense(row: Row) -> bool:
    return bool(row["model"].get("ffn")) and row["model"]["family"] not in ("bert", "bart")


def without(row: Row, key: str) -> Row:
    return {name: value for name, value in row.items() if name != key}


Mutation = Callable[[Row, random.Random], Row | None]


def dropped(row: Row, dice: random.Random) -> Row:
    return without(
        row, dice.choice(sorted({*row} - {"id", "measured", "hardware", "model", "devices", "precision"}))
    )


def nulled(row: Row, dice: random.Random) -> Row:
    keys = sorted({*row} - {"id", "measured", "hardware", "model", "devices", "precision"})
    return {**row, dice.choice(keys): None}


def model_field_dropped(row: Row, dice: random.Random) -> Row:
    return {**row, "model": without(row["model"], dice.choice(sorted(row["model"])))}


def renamed(row: Row, dice: random.Random) -> Row | None:
    if not dense(row) or row["model"].get("experts") or row["model"].get("layer_mix"):
        return None
    return model_of(row, family=dice.choice(DENSE), name="unheard-of-7b")


def named(row: Row, dice: random.Random) -> Row:
    family, name = dice.choice(NAMED)
    return {
        **row,
        "model": {"family": family, "name": name},
        "sequence_length": row["sequence_length"] or 512,
    }


def unbuilt(row: Row, dice: random.Random) -> Row:
    name = dice.choice(UNBUILT)
    return {**row, "model": {"family": name, "name": name, "image_size": 300}}


def moved(row: Row, dice: random.Random) -> Row:
    return {**row, "hardware": dice.choice(sorted(pm.devices())), "network": dice.choice(NETWORKS)}


def resized(row: Row, dice: random.Random) -> Row:
    return {
        **row,
        "devices": dice.choice((1, 2, 3, 6, 7, 12, 24, 100, 1024)),
        "network": dice.choice(NETWORKS),
    }


def respread(row: Row, dice: random.Random) -> Row:
    axis = dice.choice(("tp", "pp", "cp", "ep", "dp", "vpp"))
    value = dice.choice((None, 0, 1, 2, 3, 4, 5, 7, 8, 16, 2.0, "2"))
    return {**spread_of(row, **{axis: value}), "devices": row["devices"] * dice.choice((1, 1, 2, 3))}


def rebatched(row: Row, dice: random.Random) -> Row:
    key = dice.choice(("micro_batch", "global_batch"))
    return {**row, key: dice.choice((None, 0.5, 1, 3, 7, 13, 100, "16", 2.5))}


def reformatted(row: Row, dice: random.Random) -> Row:
    return {**row, "precision": dice.choice(PRECISIONS)}


def resharded(row: Row, dice: random.Random) -> Row:
    return spread_of(row, sharding=dice.choice(SHARDINGS))


def recomputed(row: Row, dice: random.Random) -> Row:
    what, detail = dice.choice(RECOMPUTE)
    return {**row, "recompute": what, "recompute_detail": detail}


def restacked(row: Row, dice: random.Random) -> Row:
    return {**row, "software": dice.choice(STACKS), "attention": dice.choice((None, "fa3", "eager", "flash"))}


def reshaped(row: Row, dice: random.Random) -> Row | None:
    if not dense(row):
        return None
    return model_of(row, **{key: dice.choice(SHAPES[key]) for key in dice.sample(sorted(SHAPES), 2)})


def garbled(row: Row, dice: random.Random) -> Row:
    key = dice.choice(sorted({*row} - {"id"}))
    return {**row, key: dice.choice(("x", -1, [], {}, 1e30, True, float("nan"), ["a"]))}


def compounded(row: Row, dice: random.Random) -> Row:
    for kind in (*dice.sample(GENTLE, 2), dice.choice((dropped, nulled, rebatched, reformatted))):
        row = kind(row, dice) or row
    return row


GENTLE: tuple[Mutation, ...] = (
    model_field_dropped, renamed, moved, resized, respread, resharded, recomputed, restacked, reshaped,
)  # fmt: skip
"""After these something sensible can be said of almost every row."""
HARSH: tuple[Mutation, ...] = (dropped, nulled, rebatched, named, unbuilt, reformatted, garbled, compounded)
SHARES = {"moved": 0.7, "model_field_dropped": 0.95}
"""Devices without a peak in the row's format are refused, and so are nets of images that have lost their family."""


def mutated(kind: Mutation, count: int) -> Iterator[Row]:
    dice = random.Random(kind.__name__)
    made = 0
    while made < count:
        row = kind(dice.choice(ROWS), dice)
        if row is not None:
            made += 1
            yield {**row, "id": f"{kind.__name__}-{made}"}


def predicted(kind: Mutation, count: int) -> tuple[float, dict[str, int]]:
    """The share of mutated rows with a prediction, and why the others have none."""
    rows = list(mutated(kind, count))
    report = validate_rows(rows)
    for score in report.scores:
        assert math.isfinite(score.predicted) and score.predicted > 0, score
    scored = {score.id for score in report.scores}
    assert all(one.reason.strip() for one in report.skipped)
    lost = {row["id"] for row in rows} - scored - {one.id for one in report.skipped}
    unmeasured = {row["id"] for row in rows if not isinstance(row["measured"], dict) or not row["measured"]}
    assert lost <= unmeasured
    return len(scored) / (len(rows) - len(lost)), report.reasons()


@pytest.mark.parametrize("kind", [*GENTLE, *HARSH], ids=lambda kind: kind.__name__)
def test_no_mutation_crashes_and_every_miss_has_its_reason(kind: Mutation) -> None:
    share, reasons = predicted(kind, 60)
    if kind in GENTLE:
        assert share >= SHARES.get(kind.__name__, 1), reasons


LLAMA = next(row for row in ROWS if row["model"]["name"] == "llama3.1-8b" and row["precision"] == "bf16")


def test_every_layout_of_a_small_model_is_predicted() -> None:
    """As a sweep on one cluster has them, many of which break a rule of `Parallel`."""
    rows = [
        {**LLAMA, "id": f"{tp} {pp} {vpp} {batch} {layers}", "devices": tp * pp * 2, "network": None,
         "global_batch": batch, "micro_batch": 2, "parallel": {"tp": tp, "pp": pp, "vpp": vpp},
         "model": {"family": "gpt", "name": "gpt", "layers": layers, "hidden": 1600, "heads": 25}}
        for tp in (1, 2, 4, 8) for pp in (1, 2, 3, 6) for vpp in (1, 2, None) for batch in (3, 16) for layers in (1, 7)
    ]  # fmt: skip
    report = validate_rows(rows)
    assert {score.id for score in report.of("step_time")} == {row["id"] for row in rows}


@pytest.mark.parametrize(
    ("text", "per_node", "wanted"),
    [
        ("8x ConnectX-7 400Gb/s", 8, 50e9),
        ("4x200 Gb/s HDR", 8, 12.5e9),
        ("EFA 3.2 Tb/s per node", 8, 50e9),
        ("100 GbE", 8, 1.5625e9),
        ("NVLink4; IB 8x50 GB/s per node", 8, 50e9),
        ("NVLINK 3.0, NVSWITCH 2.0 600GB/s; ; 1x Ethernet 40Gb/Sec, 8x ConnectX-6 IB HDR 200Gb/Sec", 8, 25e9),
        (
            "Compute: 4 x Mellanox Technologies MT28908 Family [ConnectX-6] HDR 200 Gb/Sec + Management: 1 x 10G",
            8,
            12.5e9,
        ),
        ("Storage: 2x ConnectX-7 IB NDR 400Gb/s, Compute: 8x ConnectX-7 IB NDR 400Gb/s", 8, 50e9),
        ("8x HDR100", 8, 12.5e9),
        ("400 Gb/s per GPU", 8, 50e9),
        ("InfiniBand EDR", 8, None),
        ("PCIe Gen4 only", 8, None),
        ("NVLINK 4.0, NVSWITCH 3.0 900GB/s; N/A; Ethernet, Infiniband", 8, None),
        ("EFA 800/1600 Gb/s per instance (trn1/trn1n)", 16, None),
    ],
)
def test_what_a_network_text_states(text: str, per_node: int, wanted: float | None) -> None:
    assert stated_bandwidth(text, per_node) == wanted


def test_a_named_generation_bounds_the_usual_network_and_stands_in_for_an_unknown_one() -> None:
    def scale_out(hardware: str, network: str) -> float | None:
        row = {"hardware": hardware, "devices": 16, "devices_per_node": 8, "network": network}
        return row_cluster(row, []).scale_out

    assert scale_out("nvidia-h100-sxm-80gb", "NVLink; InfiniBand HDR") == 25e9
    assert scale_out("nvidia-h100-sxm-80gb", "NVLink; InfiniBand XDR") == 50e9
    assert scale_out("nvidia-a100-pcie-80gb", "InfiniBand EDR") == 12.5e9 / 8


def test_cards_without_bridges_talk_through_the_host() -> None:
    def inner(network: str) -> str:
        row = {"hardware": "nvidia-a100-pcie-80gb", "devices": 2, "devices_per_node": 2, "network": network}
        return row_cluster(row, []).tiers[0].name

    assert (inner("PCIe Gen4 only"), inner("NVLink bridge pairs"), inner("")) == (
        "node",
        "scale_up",
        "scale_up",
    )


@pytest.mark.parametrize("name", sorted(pm.devices()))
def test_every_device_gives_a_cluster_of_any_size(name: str) -> None:
    for devices in (1, 2, 7, 8, 24, 256, 1000):
        cluster = row_cluster({"hardware": name, "devices": devices, "network": None}, [])
        assert cluster.devices == devices
        assert all(tier.bandwidth > 0 for tier in cluster.tiers)


@pytest.mark.parametrize(
    ("stated", "devices", "wanted"),
    [
        ({"tp": 8, "pp": 1, "cp": 1, "dp": 4}, 32, (8, 1, 1, 4)),
        ({"tp": 8}, 32, (8, 1, 1, 4)),
        ({"tp": 8, "dp": 2}, 32, (8, 1, 1, 4)),
        ({"tp": 8, "dp": 32}, 32, (8, 1, 1, 4)),
        ({"tp": 1, "dp": 256}, 128, (1, 1, 1, 128)),
        ({"tp": 8, "pp": 3}, 32, (8, 2, 1, 2)),
        (None, 8, (1, 1, 1, 8)),
    ],
)
def test_degrees_multiply_to_the_devices(
    stated: Row | None, devices: int, wanted: tuple[int, int, int, int]
) -> None:
    found = degrees({"devices": devices, "parallel": stated}, [])
    assert tuple(found[name] for name in ("tp", "pp", "cp", "dp")) == wanted


def test_degrees_of_trainium_and_tpu_may_count_cores() -> None:
    row = {"hardware": "aws-trainium1", "devices": 64, "parallel": {"tp": 32, "dp": 4}}
    assert degrees(row, [])["tp"] == 16
    row = {**LLAMA, "hardware": "google-tpu-v7", "devices": 128, "global_batch": 512, "micro_batch": 2}
    job = training_job(spread_of(row, tp=1, pp=1, cp=1, dp=256))
    assert (job.layout.dp, job.layout.micro_batch) == (128, 4)


def test_heads_that_tensor_ranks_do_not_divide_count_by_the_share() -> None:
    shape = {"family": "qwen2", "name": "own", "layers": 28, "hidden": 3584, "heads": 28, "kv_heads": 4,
             "ffn": 18944, "vocab": 152064}  # fmt: skip
    times = []
    for tp in (4, 8, 16):
        job = spread_of(
            {**LLAMA, "model": shape, "devices": 16, "global_batch": 16},
            tp=tp,
            pp=1,
            cp=1,
            vpp=1,
            dp=16 // tp,
        )
        times.append(training_job(job).layout.tp)
        assert validate_rows([job]).scores
    assert times == [4, 8, 16]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama-2-7b", {}),
        ("qwen2.5-7b", {}),
        ("gpt-neox-20b", {}),
        ("gemma-7b", {"head_dim": 256}),
        ("falcon-40b", {}),
        ("mpt-7b", {}),
        ("opt-6.7b", {}),
        ("starcoder2-7b", {}),
        ("phi-2", {}),
        ("olmo-2-7b", {}),
        ("command-r-35b", {}),
    ],
)
def test_a_decoder_of_an_unknown_family_has_the_parameters_that_are_stated(name: str, changes: Row) -> None:
    """Nothing but its shape and their number, and nothing but the family and its shape."""
    model = pm.Model.load(name)
    layers = [layer for layer, _ in model.layers()]
    attention = next(layer for layer in layers if hasattr(layer, "kv_heads"))
    mlp = next(layer for layer in layers if hasattr(layer, "gated"))
    shape = {"layers": model.depth, "hidden": model.hidden, "heads": attention.heads, "kv_heads": attention.kv_heads,
             "ffn": mlp.inner, "vocab": model.head.vocabulary, **changes}  # fmt: skip
    row = {**LLAMA, "sequence_length": 2048}
    unknown = {**shape, "name": "own", "family": "unheard of", "params_b": model.parameters / 1e9}
    known = {**shape, "name": "own", "family": model.family}
    for given in (unknown, known):
        assert row_model({**row, "model": given}).parameters == pytest.approx(model.parameters, rel=0.01)


@pytest.mark.parametrize("billions", [0.125, 1.3, 7, 70, 175])
def test_a_number_of_parameters_alone_gives_a_usual_shape(billions: float) -> None:
    notes: list[str] = []
    found = row_model({**LLAMA, "model": {"family": "own", "name": "own", "params_b": billions}}, notes)
    assert found.parameters == pytest.approx(billions * 1e9, rel=0.35)
    assert notes


def test_a_bundled_model_tells_what_dimensions_do_not() -> None:
    hybrid = {
        "family": "jamba",
        "name": "jamba-v0.1",
        "layers": 32,
        "hidden": 4096,
        "experts": 16,
        "params_b": 51.6,
    }
    model = row_model({**LLAMA, "model": hybrid})
    assert model.parameters == pm.Model.load("jamba-v0.1").parameters
    shorter = row_model({**LLAMA, "model": {**hybrid, "layers": 8}})
    assert shorter.depth == 8


def test_what_is_assumed_is_told() -> None:
    row = {**without(LLAMA, "micro_batch"), "network": None}
    report = validate_rows([row, LLAMA])
    assert "the micro batch is not stated" in report.assumed[LLAMA["id"]][0]
    assert not validate_rows([LLAMA]).assumed


def test_what_nothing_stands_in_for_is_refused_by_name() -> None:
    def reason(**changes: Any) -> str:
        return validate_rows([{**LLAMA, **changes}]).skipped[0].reason

    assert "has no known peak in bf16" in reason(hardware="nvidia-v100-sxm-16gb")
    assert "has no known peak in fp8" in reason(hardware="nvidia-a100-sxm-80gb", precision="fp8")
    assert reason(sequence_length=None) == "the row lacks 'sequence_length'"
    assert "unet is not built yet: nets of images" in reason(model={"family": "unet", "name": "unet"})
    assert "unknown device" in reason(hardware="nobody-x9")


if __name__ == "__main__":  # the table of shares, for a report
    for kind in (*GENTLE, *HARSH):
        share, reasons = predicted(kind, 250)
        print(f"{kind.__name__:20} {share:6.1%}", *list(reasons.items())[:8], sep="\n      ")
