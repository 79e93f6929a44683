"""Measured inference rows: what becomes of them, what is scored, and that nothing measured is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfmodel.estimation.recipes import as_served
from perfmodel.validation import inference_job, validate_rows
from perfmodel.validation.groups import groups_of, metrics_of
from perfmodel.validation.inference_rows import FIXED
from perfmodel.validation.measured import measured_metrics
from perfmodel.validation.rows import HIDDEN_FROM_PREDICTION
from perfmodel.validation.scores import read_rows
from perfmodel.workload import Inference, Serving

GOLDEN = Path(__file__).parent / "golden" / "measurements"
ROWS = read_rows(GOLDEN / "inference.jsonl")
LLAMA: dict[str, Any] = {
    "id": "a", "kind": "inference", "hardware": "nvidia-h100-sxm-80gb", "devices": 1, "software": "vLLM 0.6.1",
    "model": {
        "name": "Llama 3 8B", "family": "llama", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8,
        "ffn": 14336, "vocab": 128256,
    },
    "weight_dtype": "fp16", "act_dtype": "fp16", "parallel": {"tp": 1, "pp": 1}, "phase": "end_to_end",
    "input_len": 1024, "output_len": 128, "batch": 8, "measured": {"latency_s": 1.5},
}  # fmt: skip


def like(**changes: Any) -> dict[str, Any]:
    """A row of an 8B model with some fields changed."""
    return {**LLAMA, **changes}


def test_the_golden_rows_are_all_there() -> None:
    assert len(ROWS) == 2423
    assert all(row["source"] for row in ROWS)


def test_every_batch_that_begins_together_is_predicted() -> None:
    fixed = [row for row in ROWS if row["phase"] in FIXED]
    report = validate_rows(fixed[::7])
    assert not report.skipped
    assert len(report.scores) >= len(fixed[::7])


def test_a_prediction_never_sees_the_measurement() -> None:
    for row in ROWS[::97]:
        if row["phase"] in FIXED:
            blind = {key: value for key, value in row.items() if key not in HIDDEN_FROM_PREDICTION}
            assert inference_job(row) == inference_job(blind)


def test_one_quantity_in_two_forms_is_scored_once() -> None:
    rate = {"latency_s": 2.0, "throughput_output_tok_s": 512.0, "throughput_total_tok_s": 4608.0}
    assert measured_metrics(like(measured=rate)) == {"latency": 2.0}
    parts = {"prefill_s": 0.1, "ttft_s": 0.1, "decode_s_per_token": 0.01, "tpot_s": 0.01, "latency_s": 1.4}
    assert list(measured_metrics(like(measured=parts))) == ["prefill_time", "decode_time", "latency"]
    alone = {"decode_s_per_token": 0.02, "throughput_output_tok_s": 400.0}
    assert list(measured_metrics(like(phase="decode", measured=alone))) == ["decode_time"]
    of_decode = {
        "prefill_s": 0.1,
        "decode_s_per_token": 0.02,
        "throughput_output_tok_s": 400.0,
        "memory_gib": 20,
    }
    assert list(measured_metrics(like(measured=of_decode))) == ["prefill_time", "decode_time", "peak_memory"]


def test_attention_that_is_data_parallel_is_not_split_by_tp() -> None:
    row = next(row for row in ROWS if row["parallel"].get("dp") == 8)
    layout = inference_job({**row, "phase": "end_to_end", "batch": 64}).layout
    assert (layout.tp, layout.dp, layout.ep) == (1, 8, 8)


def test_cores_of_a_chip_are_one_device() -> None:
    row = next(row for row in ROWS if row["parallel"].get("tp") == 32 and row["devices"] == 16)
    assert inference_job(row).layout.tp == 16
    pair = next(row for row in ROWS if row["parallel"].get("dp") == 2 and row["devices"] == 1)
    job = inference_job(pair)
    assert (job.layout.dp, job.work.batch) == (1, 2 * pair["batch"])


@pytest.mark.parametrize(
    ("stated", "bits"),
    [
        ("int4_awq_g128", 4.15625),
        ("gguf_q4_k_m", 4.85),
        ("exl2_2bpw", 2.0),
        ("int8_bnb", 8.0),
        ("fp16", 16.0),
    ],
)
def test_formats_of_weights(stated: str, bits: float) -> None:
    assert inference_job(like(weight_dtype=stated)).work.formats.weight_bytes == bits / 8


def test_formats_that_the_device_lacks_are_unpacked() -> None:
    notes: list[str] = []
    old = like(hardware="nvidia-a100-sxm-80gb", weight_dtype="fp8", act_dtype="fp8")
    assert inference_job(old, notes).work.formats.packed
    assert any("no known peak in fp8" in note for note in notes)


def test_images_have_a_side_and_no_length() -> None:
    row = next(row for row in ROWS if row["model"]["name"] == "ViT-B/16")
    assert inference_job(row).model.extent == (384, 384)
    swin = next(row for row in ROWS if row["model"]["name"] == "Swin-V1 Small")
    assert [block.repeat for block in inference_job(swin).model.blocks][::2] == [2, 2, 18, 2]


def test_what_can_not_be_predicted_is_skipped_with_its_metrics() -> None:
    row = next(row for row in ROWS if row["model"]["family"] == "diffusion")
    report = validate_rows([row])
    assert "diffusion" in report.skipped[0].reason
    assert report.skipped[0].metrics == metrics_of(row)


def test_rows_without_what_they_need_say_what() -> None:
    gone = {key: value for key, value in LLAMA.items() if key != "batch"}
    assert validate_rows([gone]).skipped[0].reason == "the row lacks 'batch'"


def test_summaries_are_by_phase_and_batch() -> None:
    report = validate_rows([LLAMA])
    found = report.summary("latency")
    assert {"by_phase", "by_batch", "by_software", "by_hardware", "by_family"} <= set(found)
    assert groups_of(LLAMA)["batch"] == "5 to 16"
    json.dumps(report.to_dict(), allow_nan=False)


def image(tokens: int, dtype: str, name: str = "ViT-B/16") -> dict[str, Any]:
    """A row of a vision transformer by FasterTransformer."""
    dims = {"layers": 12, "hidden": 768, "heads": 12, "kv_heads": 12, "ffn": 3072}
    model = {"name": name, "family": "vit", **dims}
    return like(
        hardware="nvidia-a100-sxm-40gb", software="FasterTransformer ViT (C++)", model=model, weight_dtype=dtype,
        act_dtype=dtype, phase="prefill", input_len=tokens, output_len=0, measured={"prefill_s": 0.01},
    )  # fmt: skip


def as_run(row: dict[str, Any]) -> Inference | Serving:
    """The job of a row as its engine runs it."""
    job = inference_job(row)
    return as_served(job.model, job.work, job.cluster.device, job.engine.recipe)


@pytest.mark.parametrize(
    ("tokens", "dtype", "attention"),
    [(197, "fp16", "flash"), (577, "fp16", "unfused"), (197, "int8", "flash"), (197, "fp32", "unfused")],
)
def test_encoders_have_a_kernel_for_short_sequences_in_few_bits(
    tokens: int, dtype: str, attention: str
) -> None:
    work = as_run(image(tokens, dtype))
    assert work.attention == attention
    assert work.quantised_throughout == (dtype == "int8")
    assert work.formats.element_bytes == {"int8": 1, "fp16": 2, "fp32": 4}[dtype]


def test_decoders_of_the_same_engine_store_their_scores() -> None:
    work = as_run(like(software="FasterTransformer 5.x", input_len=128))
    assert work.attention == "unfused"
    assert not as_run(like(software="FasterTransformer 5.x", weight_dtype="int8")).quantised_throughout


def test_mixed_precision_is_told_by_its_name_or_by_the_engine() -> None:
    eager = {"software": "PyTorch (NGC container)"}
    assert as_run(like(weight_dtype="amp_fp16", **eager)).casts_weights
    assert not as_run(like(weight_dtype="fp16", **eager)).casts_weights
    assert as_run(like(software="TensorFlow 1.15 (XLA, NGC)")).casts_weights
    assert not as_run(
        like(software="TensorFlow 1.15 (XLA, NGC)", weight_dtype="fp32", act_dtype="fp32")
    ).casts_weights
