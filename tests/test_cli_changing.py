"""What-if, advice and comparison on the command line: jobs as `perfmodel estimate --json` prints them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

import perfmodel as pm
from tests.test_cli import run

JOB = "estimate llama-3.1-8b --cluster dgx-h100 --devices 16 --tp 4 --global-batch 64 --json"


@pytest.fixture
def job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "now.json"
    path.write_text(run(JOB, capsys)[1])
    return path


def test_a_job_is_changed(job, capsys):
    code, out, _ = run(f"what-if {job} memory_bandwidth=1.5x tp=2 recompute=none overlap=dp", capsys)
    assert code == 0
    assert "device.memory.bandwidth 3.350 TB/s -> 5.025 TB/s, tp 4 -> 2" in out
    code, out, _ = run(f"what-if {job} precision=fp8 --json", capsys)
    found = json.loads(out)
    assert found["step_time"]["before"] == json.loads(job.read_text())["step_time"]
    assert found["step_time"]["after"] < found["step_time"]["before"]
    code, out, _ = run(f"what-if {job} memory_capacity=9GiB", capsys)
    assert code == 1


def test_samples_come_as_told(capsys):
    job = "estimate resnet-50 --cluster dgx-h100 --devices 8 --global-batch 2048 --micro-batch 256 --json"
    found = json.loads(run(f"{job} --data-rate 8000", capsys)[1])
    assert found["samples_per_second"] == pytest.approx(8000)
    found = json.loads(run(f"{job} --sample-bytes 110kB --storage 100MB/s", capsys)[1])
    assert found["limiter"]["name"] == "storage"


def test_a_job_is_advised_upon_from_stdin(job, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(job.read_text()))
    code, out, _ = run("advise - -n 2 --no-pairs --json", capsys)
    assert code == 0
    found = json.loads(out)["suggestions"]
    assert found[0]["speedup"] > 1
    assert run(f"advise {job}", capsys)[1].startswith("advice: ")


def test_jobs_are_compared(job, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(run(JOB.replace("h100", "b200") + " --software nemo", capsys)[1])
    code, out, _ = run(f"compare {job} new={other} --price new=3 --json", capsys)
    assert code == 0
    found = json.loads(out)["metrics"]
    assert list(found) == ["now", "new"]
    assert found["new"]["usd_per_hour"] == 48
    assert "faster than the first" in run(f"compare {job} {other}", capsys)[1]


def test_a_job_on_a_bare_device_under_one_set_of_fits(tmp_path, capsys):
    path = tmp_path / "bare.json"
    options = "estimate llama-3.2-1b --device nvidia-a100-sxm-80gb --devices 8 --global-batch 8 --json"
    for extra in ("", " --efficiency ampere", " --efficiency universal --software nemo"):
        path.write_text(run(options + extra, capsys)[1])
        found = json.loads(run(f"what-if {path} tp=2 --json", capsys)[1])
        assert found["step_time"]["before"] == json.loads(path.read_text())["step_time"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("what-if {job} memory_bandwith=2x", "did you mean memory_bandwidth"),
        ("what-if {job} tp", "is no change; write field=value"),
        ("what-if {job}", "Missing argument"),
        ("what-if nothing.json tp=2", "cannot be read"),
        ("compare {job} {job}", "two jobs are called alike"),
        ("compare {job} --price x=3", 'unknown price of "x"'),
        ("advise {job} -n 0", "at least 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(job, capsys, command, told):
    code, out, err = run(command.format(job=job), capsys)
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda told: "[", "no JSON"),
        (lambda told: "[]", "no job as"),
        (lambda told: json.dumps(told | {"workload": {}}), "none of Training"),
        (lambda told: json.dumps(told | {"step_time": 1.0}), "estimated anew"),
        (
            lambda told: json.dumps({key: value for key, value in told.items() if key != "layout"}),
            "no job as",
        ),
    ],
)
def test_a_file_that_is_no_job(job, capsys, change, told):
    job.write_text(change(json.loads(job.read_text())))
    code, _, err = run(f"advise {job}", capsys)
    assert code == 2
    assert told in err


def test_the_json_of_a_batch_is_a_job_too(tmp_path, capsys):
    est = pm.estimate(
        pm.Model.load("llama-3.2-1b"), pm.Inference(input_length=64, output_length=8), pm.Parallel(),
        pm.Cluster.load("dgx-h100", devices=1),
    )  # fmt: skip
    told = {
        "model": {"name": est.model.name}, "workload": est.work.model_dump(mode="json"),
        "layout": est.layout.model_dump(mode="json"), "efficiency": est.efficiency.id, "latency": est.latency,
        "cluster": {"name": "dgx-h100", "device": "nvidia-h100-sxm-80gb", "devices": 1},
    }  # fmt: skip
    path = tmp_path / "batch.json"
    path.write_text(json.dumps(told))
    assert "latency" in run(f"what-if {path} batch=8", capsys)[1]


def test_batches_and_loads_pass_from_command_to_command(tmp_path, capsys):
    machine = "llama-3.2-1b --cluster dgx-h100 --devices 1 --input 64 --output 8 --json"
    for name, kind in (
        ("batch", "--inference --batch 4 --software vllm"),
        ("load", "--serving --concurrency 8"),
    ):
        (tmp_path / f"{name}.json").write_text(run(f"estimate {machine} {kind}", capsys)[1])
        found = json.loads(run(f"what-if {tmp_path / name}.json memory_bandwidth=2x --json", capsys)[1])
        assert found["latency"]["after"] <= found["latency"]["before"]
    table = json.loads(run(f"compare {tmp_path / 'batch'}.json {tmp_path / 'load'}.json --json", capsys)[1])
    assert list(table["metrics"]) == ["batch", "load"]
