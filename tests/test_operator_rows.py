"""Operator tables: how they are read, what work a row is, and how far the bundled fits are from the golden ones."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.calibration import calibrated
from perfmodel.errors import InputError
from perfmodel.validation import validate_rows
from perfmodel.validation.operators import batches, operator_times
from perfmodel.validation.scores import read_rows
from perfmodel.validation.tables import operator_rows
from tests.strategies import ideal

TABLES = Path(__file__).parent / "golden" / "measurements" / "operators"
FILES = [TABLES / f"{name}.csv" for name in ("gemm", "attention", "collectives", "elementwise")]
FLOPS, BANDWIDTH, LINK = 989.4e12, 3.35e12, 450e9

GEMM = {"system": "h100_sxm", "dtype": "bf16", "m": "64", "n": "4096", "k": "1024", "time_s": "1e-5"}
PREFILL = {
    "system": "h100_sxm", "op": "attn_prefill", "dtype": "bf16", "kv_dtype": "bf16", "batch": 2, "q_len": 256,
    "kv_len": 256, "heads": 8, "kv_heads": 2, "head_dim": 128, "causal": "True", "window": 0, "time_s": 1e-5,
}  # fmt: skip
MESSAGE = {"system": "h100_sxm", "op": "all_gather", "ranks": 8, "nodes": 1, "bytes": 4.5e8, "time_s": 1e-3}


def predicted(row, efficiency=None):
    (found,) = operator_times(operator_rows([row]), efficiency=efficiency or ideal())
    return found


# --- what a row is, by hand: ideal software, so that times of compute and memory add --------------------------------


def test_a_product_by_hand():
    compute, memory = 2 * 64 * 4096 * 1024 / FLOPS, 2 * (64 * 1024 + 4096 * 1024 + 64 * 4096) / BANDWIDTH
    assert predicted(GEMM) == pytest.approx(compute + memory)


def test_a_product_in_8_bits_quantises_first():
    compute = 2 * 64 * 4096 * 1024 / 1978.9e12
    moved = 64 * 1024 + 4096 * 1024 + 2 * 64 * 4096 + 3 * 64 * 1024
    assert predicted({**GEMM, "dtype": "fp8_block"}) == pytest.approx(compute + moved / BANDWIDTH)


def test_prefill_by_hand():
    """Two tiles of 128 queries: 32896 pairs, and half a tile more for each query; the cache is written first."""
    compute = 4 * 2 * 8 * 128 * (32896 + 64 * 256) / FLOPS
    read = 2 * 2 * 128 * (256 * 8 * 2 + 256 * 2 * 2)
    written = 2 * 256 * 2 * 2 * 128 * (2 + 2)
    assert predicted(PREFILL) == pytest.approx(compute + (read + written) / BANDWIDTH)


def test_decode_by_hand():
    row = {**PREFILL, "op": "attn_decode", "q_len": 1, "kv_len": 1000, "kv_dtype": "fp8"}
    compute = 4 * 2 * 8 * 128 * (1000 + 0.5) / FLOPS
    read = 2 * 128 * (2 * 8 * 2 + 1000 * 2 * 2)
    written = 2 * 2 * 2 * 128 * (2 + 1)
    assert predicted(row) == pytest.approx(compute + (read + written) / BANDWIDTH)


def test_a_window_bounds_what_decode_reads():
    row = {**PREFILL, "op": "attn_decode", "q_len": 1, "kv_len": 4000, "window": 500}
    assert predicted(row) == pytest.approx(predicted({**row, "kv_len": 500, "window": 0}))


def test_decode_has_constants_of_its_own():
    row = {**PREFILL, "op": "attn_decode", "q_len": 1, "kv_len": 4000}
    slow = ideal().replace(attention__decode_memory=0.5, attention__decode_latency=1e-3)
    assert predicted(row, slow) - predicted(row) > 1e-3
    assert predicted(PREFILL, slow) == predicted(PREFILL)


def test_messages_and_streams_by_hand():
    assert predicted(MESSAGE) == pytest.approx(4.5e8 * 7 / 8 / LINK)
    assert predicted({**MESSAGE, "op": "p2p", "ranks": 2}) == pytest.approx(4.5e8 / LINK)
    assert predicted({"system": "h100_sxm", "op": "rope", "bytes": 3.35e6, "time_s": 1}) == pytest.approx(
        1e-6
    )


def test_nodes_decide_which_network_a_message_crosses():
    """Rings pass 7/8 of the result over a node's border, and four of them share its four adapters."""
    assert predicted({**MESSAGE, "nodes": 2}) == pytest.approx(4.5e8 * 7 / 8 / 4 / 50e9)


def test_a_single_kernel_is_a_short_burst():
    """The rate that a long run sustains is none of its business."""
    hot = ideal(
        matmul={"default": {"compute": 1, "memory": 1, "latency": 0, "exponent": 1, "sustained": 0.5}}
    )
    assert predicted(GEMM, hot) == predicted(GEMM)


# --- tables ---------------------------------------------------------------------------------------------------------


def written(folder, text):
    path = folder / "own.csv"
    path.write_text(text)
    return path


def test_a_minimal_table_has_sizes_and_times_only(tmp_path):
    rows = read_rows(written(tmp_path, "m,n,k,dtype,time_s\n64,4096,1024,bf16,1e-5\n"))
    assert rows[0]["op"] == "gemm"
    assert rows[0]["id"] == "own.csv:2"
    (reason,) = operator_times(rows)
    assert "names no system" in reason
    (batch,), skipped = batches(rows, "h100")
    assert batch.cluster.device.id == "nvidia-h100-sxm-80gb"
    assert not skipped


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "are of no operator"),
        ("a,b\n1,2\n", "columns a, b are of no operator; valid: gemm: m, n, k"),
        ("m,n,k\n1,2,3\n", "time_s is missing"),
        ("ranks,bytes,time_s\n8,1,1\n", "column op is missing"),
        ("m,n,k,time_s\n1,two,3,1\n", "own.csv:2: n = 'two' is not a number above 0"),
        ("m,n,k,time_s\n1,2,3,-1\n", "time_s = '-1' is not a number above 0"),
        ("m,n,k,time_s\n1,2,3,1,5\n", "own.csv:2: more values than columns"),
        ("m,n,k,time_s\n" + "0,1,1,1\n" * 9, "and 4 more"),
    ],
)
def test_a_bad_table_is_one_clear_error(tmp_path, text, says):
    with pytest.raises(InputError, match=says.replace("(", "\\(")):
        pm.validate([written(tmp_path, text)])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"system": "h1000_sxm"}, "unknown device"),
        ({"dtype": "fp9"}, "unknown number format"),
        ({"op": "cholesky"}, "unknown operator"),
        ({"system": "a100_sxm", "dtype": "fp8"}, "no known peak in fp8"),
    ],
)
def test_a_row_without_prediction_has_a_reason(changes, says):
    assert says in predicted({**GEMM, **changes})


def test_a_prediction_never_sees_the_measurement():
    changes = {"time_s": 9.0, "source": "nowhere", "note": "wrong", "licence": "none", "id": "x"}
    assert predicted({**GEMM, **changes}) == predicted(GEMM)


# --- the golden tables ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    return pm.validate(FILES)


def test_every_row_is_scored_or_skipped_with_a_reason(report):
    assert len(report.scores) + len(report.skipped) == 995 + 821 + 1134 + 219
    assert report.metrics == ["time"]
    assert report.reasons() == {}
    assert report.scores[0].id == "gemm.csv:2"
    found = report.summary("time")
    assert set(found) == {"all", "by_source", "by_hardware", "by_op", "by_dtype", "by_software"}
    assert found["all"]["coverage"] == 1


def test_runs_and_operators_are_summarised_apart():
    runs = read_rows(TABLES.parent / "megatron-2205.05198.jsonl")
    report = validate_rows([*runs, {**runs[0], "kind": "simulated"}, *read_rows(FILES[2])])
    assert report.summary("step_time")["all"]["skipped"] == 1
    assert report.summary("time")["all"]["skipped"] == len(report.skipped) - 1


def test_rows_together_are_timed_as_rows_alone():
    rows = [row for path in FILES for row in read_rows(path)][::97]
    together = operator_times(rows)
    alone = [operator_times([row])[0] for row in rows]
    assert [type(one) for one in together] == [type(one) for one in alone]
    numbers = [(one, two) for one, two in zip(together, alone, strict=True) if isinstance(one, float)]
    assert np.array([one for one, _ in numbers]) == pytest.approx([two for _, two in numbers])


def test_thousands_of_rows_take_seconds():
    rows = [row for path in FILES for row in read_rows(path)] * 3
    began = time.perf_counter()
    operator_times(rows)
    assert time.perf_counter() - began < 5


# --- the bundled sets against the golden tables -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parent.parent / "tools" / "operators.py"
    spec = importlib.util.spec_from_file_location("operators_tool", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_residuals_are_told_by_device_and_kind(tool, report):
    lines = tool.table(report).splitlines()
    assert lines[0].startswith("| device | products |")
    assert lines[-1].startswith("| **all** |")
    assert sum("h100-sxm" in line for line in lines) == 1


@pytest.mark.parametrize(
    "name",
    [
        "hopper",
        "ampere",
        "ampere.nvidia-a40",
        "ada.nvidia-l40s",
        "blackwell",
        "blackwell-ultra",
        "rtx-blackwell",
        "xe2",
    ],
)
def test_bundled_constants_are_those_that_calibrate_finds(tool, name):
    rows = [row for path in FILES for row in read_rows(path) if tool.SELECTIONS[name](row)]
    found = calibrated(rows, start=tool.start_of(name), hold=tool.held(name))
    for block in found.blocks:
        for constant in block.constants:
            assert constant.at_bound or abs(constant.value - constant.start) < constant.error, constant


@pytest.mark.parametrize(
    ("name", "family", "most"),
    [
        ("hopper", "NCCL", 0.08),
        ("hopper", "products", 0.12),
        ("ampere", "prefill", 0.08),
        ("blackwell", "NCCL", 0.08),
    ],
)
def test_bundled_sets_hold_on_the_golden_rows(tool, report, name, family, most):
    """A guard, not a target: the errors may get smaller, not silently larger."""
    systems = {"hopper": "h100_sxm", "ampere": "a100_sxm", "blackwell": "b200_sxm"}
    errors = [
        abs(score.error)
        for score in report.of("time")
        if tool.family(score) == family and score.groups["hardware"] == systems[name]
    ]
    assert np.median(errors) < most
