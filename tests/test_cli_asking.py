"""Why, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import run

JOB = "estimate llama-3.1-8b --cluster dgx-h100 --devices 16 --tp 4 --global-batch 64 --json"


@pytest.fixture
def job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "now.json"
    path.write_text(run(JOB, capsys)[1])
    return path


def test_a_job_is_taken_apart(job, capsys):
    code, out, _ = run(f"why {job}", capsys)
    assert code == 0
    for words in ("limited by", "by resource", "by phase", "of one per cent more, in per cent", "peak.bf16"):
        assert words in out


def test_everything_is_there_as_json(job, tmp_path, capsys):
    timeline = tmp_path / "step.json"
    code, out, _ = run(f"why {job} --symbols memory_bandwidth,global_batch --trace {timeline} --json", capsys)
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"attribution", "elasticities", "formula"}
    assert sum(part["share"] for part in found["attribution"]["layer"].values()) == pytest.approx(1)
    assert found["attribution"]["takeover"]["times"] > 1
    assert found["elasticities"]["numbers"]["memory_bandwidth"]["elasticity"] < 0
    assert set(found["formula"]["symbols"]) == {"memory_bandwidth", "global_batch"}
    assert json.loads(timeline.read_text())["traceEvents"]


def test_memory_has_a_formula_alone(job, capsys):
    code, out, _ = run(f"why {job} --metric memory.total --symbols micro_batch", capsys)
    assert code == 0 and "memory.total =" in out and "micro_batch" in out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("why {job} --symbols memory_bandwith", "memory_bandwidth"),
        ("why {job} --metric steptime", "step_time"),
    ],
)
def test_wrong_names_are_answered(command, told, job, capsys):
    code, _, err = run(command.format(job=job), capsys)
    assert code == 2 and told in err
