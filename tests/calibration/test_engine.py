"""A user's own batches and loads give an engine set of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.calibration import Calibrations, SoftwareCalibration, calibrate_engine, calibrated
from perfmodel.calibration.batches import counted_batches
from perfmodel.calibration.engine_constants import ENGINE_CONSTANTS
from perfmodel.calibration.own import moved, unseen
from perfmodel.cli.app import main
from perfmodel.errors import InputError, SpecError, UnsupportedError
from perfmodel.validation import validate_rows
from perfmodel.validation.measured import measured_metrics
from perfmodel.validation.scores import read_rows
from tests.conftest import ROOT

LLAMA = {
    "name": "Llama 3.1 8B", "family": "llama", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336,
    "vocab": 128256, "params_b": 8.03,
}  # fmt: skip
CLUSTER = pm.Cluster.load("dgx-h100", devices=1)
WORK = pm.Inference(batch=16, input_length=512, output_length=128)
BUNDLED = pm.Engine.load("vllm").fit("hopper")
TRUTH = {"sequence": 2e-4, "pointwise": 2 * BUNDLED.pointwise, "matmul": 0.7}
"""What the constants of the server below are in truth: others than the bundled ones, as engines differ."""


def row(batch: int, prompt: int = 512, output: int = 128, **changes):
    """A batch that somebody measured on one H100."""
    return {
        "kind": "inference", "hardware": "nvidia-h100-sxm-80gb", "devices": 1, "software": "vLLM 0.11", "model": LLAMA,
        "weight_dtype": "bf16", "phase": "end_to_end", "input_len": prompt, "output_len": output, "batch": batch,
        "measured": {"prefill_s": 0.1, "decode_s_per_token": 0.01, "latency_s": 1.0},
    } | changes  # fmt: skip


def told(batches, **constants):
    """The rows with what a server of such constants would take."""
    found = []
    for given in batches:
        (batch,) = counted_batches([{"source": "own", **given}])
        fit = pm.Engine.load("vllm").fit("hopper").replace(**constants)
        times = {name: float(value) for name, value in batch.predicted(fit).items()}
        measured = {
            "prefill_s": times["prefill_time"],
            "decode_s_per_token": times["decode_time"],
            "latency_s": times["latency"],
        }
        found.append(given | {"measured": measured})
    return found


ROWS = told([row(batch, prompt) for batch in (1, 8, 32, 64) for prompt in (128, 1024)], **TRUTH)


@pytest.fixture(scope="module")
def found() -> SoftwareCalibration:
    return calibrate_engine(ROWS)


def test_constants_go_where_the_rows_say(found):
    start, own = found.start.fit("hopper"), found.software.fit("hopper")
    for name, truth in TRUTH.items():
        was, now = getattr(start, name), getattr(own, name)
        assert abs(np.log(now / truth)) < 0.5 * abs(np.log(was / truth)), name
    assert own.fabric == start.fabric  # one device sends nothing


def test_errors_shrink_on_rows_that_the_fit_did_not_see(found):
    assert found.held.median < 0.25 * found.before.median
    assert found.held.median < 0.05
    assert found.runs == 8
    assert set(found.metrics) == {"prefill_time", "decode_time", "latency"}
    assert found.unseen == "each row left out in turn"  # all are kin


def test_a_job_that_was_not_measured_is_predicted_better(found):
    job = row(16, 512)
    (truth,) = told([job], **TRUTH)
    error = {}
    for name, efficiency in (("bundled", pm.Engine.load("vllm")), ("own", found.software)):
        report = validate_rows([truth], efficiency=efficiency)
        error[name] = max(abs(score.error) for score in report.scores)
    assert error["own"] < 0.05 < error["bundled"]


def test_one_row_is_enough_and_the_prior_holds_what_it_does_not_tell():
    one = calibrate_engine(told([row(32)], sequence=3e-4))
    assert one.held.rows == 0
    assert one.errors.within.median < 0.5 * one.before.median
    start, own = one.start.fit("hopper"), one.software.fit("hopper")
    host = [one.step + 32 * one.sequence for one in (start, own, start.replace(sequence=3e-4))]
    assert host[1] - host[0] > 0.5 * (host[2] - host[0])  # one batch tells no more than their sum
    assert own.packed == start.packed
    assert one.software.residuals == one.start.residuals  # too few rows for a band of its own
    assert "by the errors of vllm" in str(one)


def test_rows_that_are_as_predicted_change_nothing():
    same = calibrate_engine(told([row(4), row(32)]))
    assert same.errors.within.median < 0.01
    assert same.software.fit("hopper").matmul == pytest.approx(same.start.fit("hopper").matmul, rel=0.02)


def test_where_nothing_was_measured_constants_move_by_what_all_rows_share(found):
    start, own = found.start, found.software
    there = own.fit("hopper").sequence / start.fit("hopper").sequence
    elsewhere = own.fit("blackwell").sequence / start.fit("blackwell").sequence
    assert 1 < elsewhere < there
    assert own.recipe == start.recipe


def test_an_engine_nobody_knows_begins_with_the_typical_one():
    own = calibrate_engine([one | {"software": "our server 3"} for one in ROWS[:2]])
    assert own.start.id == "default"
    assert own.software.id == "default-calibrated"


def test_errors_of_rates_are_told_as_of_times():
    (slow,) = told([row(8)], **TRUTH)
    rate = 8 * 128 / slow["measured"]["latency_s"]
    fast = slow | {"phase": "offline_throughput", "measured": {"throughput_output_tok_s": rate}}
    assert calibrate_engine([fast]).before.bias < 0  # the server takes longer than predicted
    assert calibrate_engine([slow]).before.bias < 0


def test_loads_of_a_server_are_fitted():
    load = row(8, phase="serving", concurrency=16, measured={"ttft_s": 0.2, "tpot_s": 0.02})
    del load["batch"]
    own = calibrate_engine([load, load | {"concurrency": 4, "measured": {"ttft_s": 0.1, "tpot_s": 0.015}}])
    assert set(own.metrics) == {"ttft", "tpot"}
    assert own.errors.within.median < own.before.median


def test_kin_are_left_out_together():
    other = {**LLAMA, "name": "Llama 2 7B", "kv_heads": 32, "ffn": 11008, "vocab": 32000}
    own = calibrate_engine([*ROWS[:2], *told([row(8, model=other)], **TRUTH)])
    assert own.unseen.startswith("each source, model, hardware")
    assert unseen(["a"], [0], "model").labels == [0]


def test_a_set_is_written_read_and_used(found, tmp_path):
    path = tmp_path / "my-vllm.yaml"
    saved = found.save(path)
    assert pm.Engine.load(str(path)) == saved
    assert saved.id == "my-vllm"
    model = pm.Model.load("llama-3.1-8b")
    given = pm.estimate(model, WORK, pm.Parallel(), CLUSTER, efficiency=saved)
    named = pm.estimate(model, WORK, pm.Parallel(), CLUSTER, software=str(path))
    bundled = pm.estimate(model, WORK, pm.Parallel(), CLUSTER, software="vllm")
    assert given.latency == named.latency > bundled.latency
    assert given.efficiency.id == "hopper+my-vllm"
    low, high = given.latency_range(0.8)
    assert low < given.latency < high
    assert pm.what_if(given, batch=32).after.latency > given.latency
    load = pm.Serving(input_length=512, output_length=128, concurrency=8)
    assert pm.estimate(model, load, pm.Parallel(), CLUSTER, efficiency=saved).tpot > 0
    swept = pm.sweep(model, WORK, CLUSTER, batch=[16, 32], efficiency=saved, progress=False)
    assert swept["latency"][0] == pytest.approx(given.latency)


def test_it_prints_and_is_json(found):
    printed = str(found)
    for words in (
        "held out",
        "decode_time",
        "constants on hopper",
        "bandwidth",
        "eight such measurements in ten",
    ):
        assert words in printed
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.to_dict()["kind"] == "engine"
    page = found._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 2
    assert "constants on hopper" in page


def test_rows_that_have_no_say_are_told_with_their_reason():
    odd = [
        row(8, hardware="abacus"),
        row(8, measured={"memory_gib": 20.0}),
        row("many"),
        {"kind": "inference"},
        *ROWS[:1],
    ]
    own = calibrate_engine(odd)
    assert own.runs == 1
    assert sum(own.skipped.values()) == 4
    assert "nothing is measured that a fit reads" in own.skipped
    assert any("abacus" in reason for reason in own.skipped)
    with pytest.raises(InputError, match=r"no row can be used.*abacus"):
        calibrate_engine(odd[:2])


def test_a_load_that_can_not_have_run_has_no_say():
    load = row(
        8,
        phase="serving",
        concurrency=4,
        hardware="nvidia-t4",
        measured={"tpot_s": 0.02},
        weight_dtype="fp16",
    )
    del load["batch"]
    large = load | {"model": {**LLAMA, "layers": 200, "params_b": 45.0}}
    with pytest.raises(InputError, match="can't have run"):
        calibrate_engine([large])


def test_several_engines_are_refused():
    with pytest.raises(UnsupportedError, match=r"sglang, vllm: calibrate one engine at a time"):
        calibrate_engine([ROWS[0], ROWS[1] | {"software": "SGLang 0.4"}])


def training():
    runs = read_rows(ROOT / "tests/golden/measurements/training.jsonl")
    return [one for one in runs if str(one["software"]).startswith("NeMo (dgxc")][:2]


def test_training_and_inference_are_fitted_apart(tmp_path):
    both = calibrated([*training(), *ROWS[:2]])
    assert isinstance(both, Calibrations)
    assert [type(one).__name__ for one in both.sets] == ["Software", "Engine"]
    assert "training rows:" in str(both)
    assert "inference rows:" in str(both)
    assert both._repr_html_().count("constants on") == 2
    json.dumps(both.to_dict(), allow_nan=False)
    stack, engine = both.save(tmp_path / "mine.yaml")
    assert pm.Software.load(str(tmp_path / "mine-training.yaml")) == stack
    assert pm.Engine.load(str(tmp_path / "mine-inference.yaml")) == engine
    assert pm.calibrate(ROWS[:2]).catalogue() is pm.Engine.catalogue()


def test_the_command_line_calibrates_and_estimates(tmp_path, capsys):
    file, out = tmp_path / "rows.jsonl", tmp_path / "mine.yaml"
    file.write_text("\n".join(json.dumps(one) for one in ROWS[:3]), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", str(file), "--out", str(out)])
    assert stopped.value.code == 0
    told = capsys.readouterr()
    assert "calibrated" in told.out
    assert "mine.yaml: pm.Engine.load(…), or --efficiency" in told.err
    job = ["llama-3.1-8b", "--device", "h100", "--devices", "1"]
    with pytest.raises(SystemExit) as stopped:
        main(["estimate", *job, "--inference", "--batch", "8", "--input", "512", "--efficiency", str(out)])
    assert stopped.value.code == 0
    assert "hopper+mine" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["estimate", *job, "--efficiency", str(out)])
    assert stopped.value.code == 2
    assert "is the set of an engine, and the job is training" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["validate", str(file), "--efficiency", str(out)])
    assert "latency" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([3], "a measurement is a file or a row"),
        ([], "no measurements"),
        ("nowhere.jsonl", "no such file"),
        ([{"kind": "poetry"}], "rows of kind poetry"),
    ],
)
def test_bad_input_is_one_clear_error(given, message):
    with pytest.raises(InputError, match=message):
        pm.calibrate(given)


def test_what_means_nothing_for_runs_is_refused():
    with pytest.raises(InputError, match="tables of operators"):
        pm.calibrate(ROWS[:1], device="h100")


def test_a_set_of_another_kind_is_refused(tmp_path):
    model, stack = pm.Model.load("llama-3.1-8b"), pm.Software.load("nemo")
    with pytest.raises(InputError, match=r"training stack, and the job is inference"):
        pm.estimate(model, WORK, pm.Parallel(), CLUSTER, efficiency=stack)
    with pytest.raises(InputError, match="give one"):
        pm.estimate(model, WORK, pm.Parallel(), CLUSTER, efficiency=pm.Engine.load("vllm"), software="vllm")
    path = tmp_path / "stack.yaml"
    calibrated(training()).save(path)
    with pytest.raises(SpecError, match="names the schema software, not engine"):
        pm.Engine.load(str(path))


def test_moving_by_nothing_stays():
    fit = pm.Engine.load("vllm").fit("hopper")
    still = moved(fit, np.zeros(len(ENGINE_CONSTANTS)), ENGINE_CONSTANTS)
    assert still.model_dump() == pytest.approx(fit.model_dump())


def test_what_is_fitted_is_what_is_scored():
    golden = read_rows(ROOT / "tests/golden/measurements/inference.jsonl")[:3]
    own = calibrate_engine(golden)
    assert own.errors.before.rows == sum(len(measured_metrics(one)) for one in golden)
