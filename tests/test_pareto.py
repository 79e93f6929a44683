"""Throughput against latency over batch and degree: the front is one, and its rows are single estimates."""

import itertools
import json

import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.errors import InputError

MODEL, NODE = pm.Model.load("llama-3.1-70b"), pm.Cluster.load("dgx-h100", devices=8)
WORK = pm.Inference(input_length=1024, output_length=256, weight_dtype="fp8", kv_dtype="fp8")


@pytest.fixture(scope="module")
def found():
    return pm.pareto_batch(MODEL, WORK, NODE, batch=[1, 8, 32, 128, 512], tp=[1, 2, 4, 8, 3], software="vllm")


def test_a_row_is_a_single_estimate(found):
    for place in range(len(found.front)):
        row = found.front[place]
        layout = pm.Parallel(tp=row["tp"])
        est = pm.estimate(MODEL, WORK.replace(batch=row["batch"]), layout, NODE, software="vllm")
        assert row["tpot"] == pytest.approx(est.tpot, rel=1e-12)
        assert row["output_tokens_per_second"] == pytest.approx(est.output_tokens_per_second, rel=1e-12)
        assert est.fits


def test_no_row_beats_the_front(found):
    rows = found.every.feasible
    points = list(zip(rows["tpot"], rows["output_tokens_per_second"], strict=True))
    for (time, rate), chosen in zip(points, found.on_front, strict=True):
        beaten = any(t <= time and r >= rate and (t, r) != (time, rate) for t, r in points)
        assert chosen == (not beaten)
    assert 1 < found.on_front.sum() < len(points)
    assert all(a < b for a, b in itertools.pairwise(found.front["tpot"]))


def test_what_cannot_be_is_a_reason(found):
    assert sum(found.every.reasons().values()) == 25 - len(found.every.feasible)
    assert "not feasible" in repr(found)


def test_frame_and_dict_tell_the_same(found):
    frame = found.to_frame()
    assert sorted(frame[frame.front].tpot) == pytest.approx(list(found.front["tpot"]))
    per_device = frame.output_tokens_per_second_per_device * 8
    assert per_device.tolist() == pytest.approx(frame.output_tokens_per_second.tolist())
    told = found.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_degrees_are_powers_of_two_up_to_the_devices():
    found = pm.pareto_batch(MODEL, WORK, NODE, batch=[8])
    assert sorted({int(tp) for tp in found.every["tp"].ravel()}) == [1, 2, 4, 8]


def test_nothing_to_try_is_told():
    with pytest.raises(InputError):
        pm.pareto_batch(MODEL, WORK, NODE, batch=[], tp=[8])


JOB = "pareto llama-3.1-70b --cluster dgx-h100 --devices 8 --input 1024 --output 256 --weights fp8"


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (f"{JOB} --batch 1,64 --tp 4,8", 0, "* no other choice"),
        (f"{JOB} --batch 1,64 --tp 4,8 --json", 0, '"front"'),
        (f"{JOB} --batch 100000 --tp 8", 1, "not feasible"),
        (f"{JOB} --batch one", 2, '--batch "one" is no list of whole numbers'),
        (JOB.replace("fp8", "fp9"), 2, "did you mean fp8"),
    ],
)
def test_the_command_line_asks_in_one_call(command, code, says, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    out, err = capsys.readouterr()
    assert stop.value.code == code
    assert says in (err if code == 2 else out)
