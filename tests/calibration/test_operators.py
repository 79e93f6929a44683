"""Operator fits: known constants come back from rows made with them, and a set survives its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import perfmodel as pm
from perfmodel.calibration import calibrated, fit_operators
from perfmodel.calibration.paths import value_of, with_values
from perfmodel.cli import app
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.validation.operators import operator_times
from perfmodel.validation.scores import read_rows
from perfmodel.validation.tables import operator_rows

TABLES = Path(__file__).parents[1] / "golden" / "measurements" / "operators"
HOPPER = pm.Efficiency.load("hopper")


def spread_of(lower, upper, size, seed):
    return np.exp(np.random.default_rng(seed).uniform(np.log(lower), np.log(upper), size)).round()


def measured(rows, truth, noise=0.05, seed=1):
    """The same rows, measured on an H100 that is as `truth` says, with noise."""
    typed = operator_rows([{"time_s": 1, "system": "h100", **row} for row in rows])
    times = np.array(operator_times(typed, efficiency=truth))
    noisy = times * np.exp(np.random.default_rng(seed).normal(0, noise, len(rows)))
    return [{**row, "time_s": time} for row, time in zip(typed, noisy, strict=True)]


def products(count=120):
    m, n, k = (spread_of(low, 16384, count, seed) for seed, low in enumerate((1, 256, 256)))
    return [{"m": a, "n": b, "k": c, "dtype": "bf16"} for a, b, c in zip(m, n, k, strict=True)]


def attention(op, count=80):
    batch, length = spread_of(1, 64, count, 5), spread_of(128, 16384, count, 6)
    head_dim = np.random.default_rng(7).choice([64, 128, 256], count)
    return [
        {"op": op, "dtype": "bf16", "batch": b, "q_len": s if op == "attn_prefill" else 1, "kv_len": s, "heads": 16,
         "kv_heads": 4, "head_dim": d}
        for b, s, d in zip(batch, length, head_dim, strict=True)
    ]  # fmt: skip


def streams(count=60):
    sizes = spread_of(1e5, 1e9, count, 8)
    return [{"op": ("rope", "rms_norm", "copy")[at % 3], "bytes": size} for at, size in enumerate(sizes)]


def messages(count=160):
    sizes, ranks = spread_of(1e3, 1e9, count, 9), np.random.default_rng(10).choice([2, 4, 8], count)
    kinds = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
    return [
        {"op": kinds[at % 4], "ranks": rank, "nodes": 1, "bytes": size}
        for at, (size, rank) in enumerate(zip(sizes, ranks, strict=True))
    ]


@pytest.mark.parametrize(
    ("rows", "truth"),
    [
        (products(), {"matmul.default.compute": 0.6, "matmul.default.memory": 0.7, "matmul.default.latency": 5e-6,
                      "matmul.default.exponent": 1.6}),
        (attention("attn_prefill"), {"attention.compute": 0.8, "attention.memory": 0.6, "attention.latency": 7e-6,
                                     "attention.softmax_dims": 80}),
        (attention("attn_decode"), {"attention.decode_memory": 0.6, "attention.decode_latency": 2e-5}),
        (streams(), {"stream.latency": 4e-6, "stream.memory.rotary": 0.3, "stream.memory.norm": 0.6,
                     "stream.memory.copy": 0.8}),
        (messages(), {"collective.scale_up.start": 9e-6, "collective.scale_up.all_gather": 0.6,
                      "collective.scale_up.all_to_all": 0.5, "collective.scale_up.step": 1.5e-6}),
    ],
)  # fmt: skip
def test_known_constants_come_back(rows, truth):
    found = fit_operators(measured(rows, with_values(HOPPER, truth)))
    (block,) = found.blocks
    errors = {constant.path: constant.error for constant in block.constants}
    for path, value in truth.items():
        assert value_of(found.efficiency, path) == pytest.approx(value, rel=0.15), path
        assert abs(value_of(found.efficiency, path) - value) < 4 * errors[path], path
    assert block.held.median < 0.06 < block.before.median
    untouched = set(HOPPER.attention.model_fields_set) - {path.rpartition(".")[2] for path in errors}
    assert all(
        getattr(found.efficiency.attention, name) == getattr(HOPPER.attention, name) for name in untouched
    )


def test_an_outlier_moves_little():
    rows = measured(products(), HOPPER)
    clean = fit_operators(rows).efficiency.matmul_for("bf16")
    rows[7]["time_s"] *= 50
    spoilt = fit_operators(rows).efficiency.matmul_for("bf16")
    assert spoilt.compute == pytest.approx(clean.compute, rel=0.05)
    assert spoilt.memory == pytest.approx(clean.memory, rel=0.05)


def test_a_few_rows_move_only_what_they_show():
    """Three long products say nothing of the bandwidth, which stays where it was; nor is there a half to hold."""
    rows = [{"m": 8192, "n": 8192, "k": k, "time_s": 2 * 8192**2 * k / 500e12} for k in (4096, 8192, 16384)]
    found = calibrated(rows, device="h100")
    assert found.efficiency.matmul_for("bf16").compute == pytest.approx(0.51, abs=0.02)
    assert found.efficiency.matmul_for("bf16").memory == pytest.approx(0.83, rel=0.05)
    assert found.blocks[0].held.rows == 0
    assert "in sample" in found.efficiency.residual


def test_a_format_of_its_own_gets_constants_of_its_own():
    rows = [{**row, "dtype": "int8"} for row in products()]
    found = fit_operators(measured(rows, with_values(HOPPER, {"matmul.int8.compute": 0.4}))).efficiency
    assert found.matmul["int8"].compute == pytest.approx(0.4, rel=0.1)
    assert found.matmul["default"] == HOPPER.matmul["default"]


def test_a_set_says_what_it_was_fitted_to():
    found = calibrated(TABLES / "gemm.csv", device="h100").efficiency
    assert found.sources[0] == "fitted to: aiconfigurator-core 0.12.0"
    assert "matmul.default" in found.residual
    assert found.architectures == ()
    assert found.overhead == HOPPER.overhead


def test_inner_and_outer_networks_are_fitted_apart():
    rows = [row for row in read_rows(TABLES / "collectives.csv") if row["op"] == "p2p"]
    found = calibrated(rows, device="h100")
    assert [block.name for block in found.blocks] == ["collective.scale_up", "collective.fabric"]
    assert found.efficiency.collective["fabric"].send == pytest.approx(0.73, abs=0.05)
    assert found.efficiency.collective["node"] == HOPPER.collective["node"]


def test_dispatched_tokens_have_a_fraction_of_their_own():
    rows = [row for row in read_rows(TABLES / "collectives.csv") if row["op"].startswith("moe")]
    found = calibrated(rows, device="h100")
    assert [constant.path for block in found.blocks for constant in block.constants] == [
        "collective.scale_up.dispatch",
        "collective.scale_up.dispatch_start",
        "collective.fabric.dispatch",
        "collective.fabric.dispatch_start",
    ]
    assert found.efficiency.collective["fabric"].start == HOPPER.collective["fabric"].start


def test_a_set_survives_its_file(tmp_path):
    found = calibrated(TABLES / "gemm.csv", device="h100")
    saved = found.save(tmp_path / "my-h100.yaml")
    loaded = pm.Efficiency.load(str(tmp_path / "my-h100.yaml"))
    assert loaded == saved == found.efficiency.replace(id="my-h100")
    assert (tmp_path / "my-h100.yaml").read_text().startswith("# yaml-language-server: $schema=")


def test_rows_of_several_architectures_need_a_device():
    with pytest.raises(InputError, match="one set is for one architecture: name the device"):
        pm.calibrate(TABLES / "gemm.csv")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no measurements"),
        ([{"m": 1, "n": 2, "time_s": 1}], "are of no operator"),
        ([{"m": 1, "n": 2, "k": "x", "time_s": 1}], "row:1: k = 'x' is not a number above 0"),
        ([{"m": 1, "n": 2, "k": 3, "dtype": "nvfp4", "time_s": 1}], "no known peak in fp4"),
        ([{"m": 1, "n": 2, "k": 3, "time_s": 1, "system": "a100_sxm"}], "there are none"),
    ],
)
def test_what_can_not_be_fitted_is_one_clear_error(rows, says):
    with pytest.raises(InputError, match=says):
        pm.calibrate(rows, device="h100")


def test_kinds_of_rows_are_not_mixed():
    with pytest.raises(UnsupportedError, match="rows of kind operator, training are not fitted together"):
        pm.calibrate([{"kind": "training"}, {"kind": "operator"}])


def test_on_the_command_line(tmp_path):
    own, out = tmp_path / "own.csv", tmp_path / "mine.yaml"
    lines = [f"{m},4096,4096,bf16,{4e-6 + m * 2 * 4096**2 / 6e14}" for m in 2 ** np.arange(5, 15)]
    own.write_text("\n".join(["m,n,k,dtype,time_s", *lines]))
    run = CliRunner().invoke(app, ["calibrate", str(own), "--device", "h100", "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert "matmul.default.compute" in run.output
    assert pm.Efficiency.load(str(out)).matmul_for("bf16").compute == pytest.approx(0.61, abs=0.05)
    run = CliRunner().invoke(app, ["calibrate", str(own), "--device", "h100", "--json"])
    told = json.loads(run.stdout)
    assert told["devices"] == ["nvidia-h100-sxm-80gb"]
    assert told["blocks"][0]["constants"][0]["path"] == "matmul.default.compute"
