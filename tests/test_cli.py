"""The command line: answers, exit codes, and one clear line for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perfmodel.cli import main

GOLDEN = Path(__file__).parent / "golden" / "measurements"
JOB = (
    "estimate llama-3.1-70b --cluster dgx-h100 --devices 512 --tp 8 --pp 4 --vpp 5 --sequence-parallel "
    "--sequence-length 8192"
)


def run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


SERVED = (
    "llama-3.1-70b --cluster dgx-h100 --tp 8 --input 1024 --output 256 --weights fp8 --kv fp8 --software vllm"
)


def test_a_batch_of_inference(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(f"estimate {SERVED} --inference --batch 32", capsys)
    assert code == 0, err
    assert "batch 32 x (1024 tokens in, 256 out), weights fp8, cache fp8" in out
    assert "time per output token" in out
    code, out, _ = run(f"estimate {SERVED} --inference --batch 32 --json --explain", capsys)
    found = json.loads(out)
    assert found["workload"]["batch"] == 32
    assert found["latency"] == pytest.approx(found["prefill_time"] + 255 * found["decode_time"])


def test_a_batch_that_does_not_fit_says_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    job = (
        "estimate llama-3.1-70b --cluster dgx-h100 --devices 1 --inference --batch 8 --input 1024 --output 64"
    )
    code, out, _ = run(job, capsys)
    assert code == 1
    assert "does NOT fit (" in out
    assert "tp = 2, devices = 2; or weight_dtype = int4_g128" in out
    code, out, _ = run(f"{job} --json", capsys)
    assert code == 1
    assert json.loads(out)["would_fit_with"][0]["change"] == {"tp": 2, "devices": 2}


@pytest.mark.parametrize("load", ["--concurrency 64", "--request-rate 4", ""])
def test_a_load_of_requests(load: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(f"estimate {SERVED} --serving {load} --json", capsys)
    assert code == 0, err
    found = json.loads(out)
    assert found["max_concurrency"] >= found["batch"] > 0
    assert found["ttft_percentiles"]["99"] >= found["ttft_percentiles"]["50"]


def test_an_image_model_has_no_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("estimate vit-large --device l4 --devices 1 --inference --batch 64", capsys)
    assert code == 0, err
    assert "images/s" in out


def test_engines_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("show engines --json", capsys)
    assert code == 0
    assert list(json.loads(out)) == ["engine"]
    assert "vllm" in json.loads(out)["engine"]
    code, out, _ = run("show vllm", capsys)
    assert code == 0
    assert "memory_share" in out


def test_a_job_keeps_and_offloads_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = "--recompute full --recompute-policy save_qkv_proj --recompute-keep output"
    code, out, err = run(
        f"{JOB} {chosen} --offload optimizer,query --offload-to nvme --storage 3GB/s", capsys
    )
    assert code == 0, err
    assert "recompute save_qkv_proj but for output, offload activations (query), optimizer to nvme" in out
    assert "on its storage" in out


def test_an_optimizer_of_many_kernels_takes_longer(capsys: pytest.CaptureFixture[str]) -> None:
    fused, apart = (
        json.loads(run(f"{JOB} --json {option}", capsys)[1])["step_time"]
        for option in ("--fused-optimizer", "--no-fused-optimizer")
    )
    assert apart > fused


def test_a_job_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(JOB, capsys)
    assert code == 0, err
    assert "step time" in out
    assert ": fits" in out


def test_experts_are_shared_and_tokens_sent_as_told(capsys: pytest.CaptureFixture[str]) -> None:
    job = "estimate deepseek-v3 --cluster dgx-h100 --devices 1024 --tp 2 --pp 16 --sequence-parallel"
    _, out, _ = run(f"{job} --ep 32 --expert-tp 2 --dispatch deduplicated", capsys)
    assert "tp 2, ep 32, pp 16, dp 32, expert tp 2" in out
    assert "expert-parallel messages, exposed" in out
    code, _, err = run(f"{job} --ep 48", capsys)
    assert code == 2
    assert "ep = 48 does not divide the 256 routed experts" in err


SWEEP = "sweep llama-3.1-8b --cluster dgx-h100 --devices 8,16 --sequence-length 8192 --global-batch 128"


def test_a_sweep_lists_the_best_and_why_others_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(f"{SWEEP} --tp 1,2,3 --recompute none,full --memory-bandwidth 1x,4TB/s", capsys)
    assert code == 0, err
    assert out.startswith("24 configurations (devices x tp x recompute x memory_bandwidth)")
    assert "best by step_time:" in out
    assert "tp · pp · cp does not divide the devices" in out


def test_a_sweep_writes_files_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = f"--tp=2,4 --sequence-parallel --overlap dp+tp,none --dp none --csv {tmp_path / 'all.csv'}"
    code, out, err = run(f"{SWEEP} {axes} --top 2 --by mfu --json", capsys)
    assert code == 0, err
    found = json.loads(out)
    assert found["rows"] == 8
    assert len(found["columns"]["step_time"]) == 2
    assert found["columns"]["mfu"] == sorted(found["columns"]["mfu"], reverse=True)
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 9
    est = json.loads(run(
        "estimate llama-3.1-8b --cluster dgx-h100 --devices 16 --sequence-length 8192 --global-batch 128 --tp 2 "
        "--sequence-parallel --overlap dp,tp --json", capsys,
    )[1])  # fmt: skip
    assert est["step_time"] in found["columns"]["step_time"]


def test_a_sweep_without_a_feasible_row_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("sweep llama-3.1-405b --device h100 --devices 8 --tp 2,4", capsys)
    assert code == 1
    assert "0 feasible" in out


SEARCH = (
    "search llama-3.1-8b --cluster dgx-h100 --devices 8,16 --sequence-length 8192 --global-batch 128 --cp 1"
)


def test_a_search_lists_the_best_layouts(capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--recompute none,full --sharding zero1 --schedule 1f1b --sequence-parallel --tp 1,2,3 --tokens 1e12"
    )
    code, out, err = run(f"{SEARCH} {options} --objective cost --top 3", capsys)
    assert code == 0, err
    assert "best by cost:" in out
    code, out, err = run(f"{SEARCH} {options} --objective time_to_train --json", capsys)
    assert code == 0, err
    found = json.loads(out)
    assert found["considered"] == sum(found["counts"].values())
    assert [one["time_to_train"] for one in found["best"]] == sorted(
        one["time_to_train"] for one in found["best"]
    )


def test_a_search_of_serving_that_nothing_answers(capsys: pytest.CaptureFixture[str]) -> None:
    serve = "search llama-3.1-8b --device h100 --devices 1-4 --workload serving --concurrency 1,8 --input-length 512"
    code, out, err = run(f"{serve} --output-length 64 --tpot 50ms --objective ttft", capsys)
    assert code == 0, err
    assert "best by ttft" in out
    code, out, _ = run(f"{serve} --output-length 64 --tpot 1us", capsys)
    assert code == 1
    assert "a token takes more than 1.000 us" in out
    code, _, err = run(f"{serve} --workload served", capsys)
    assert code == 2
    assert "did you mean serving" in err


def test_a_job_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("estimate llama-3.1-70b --cluster dgx-h100 --devices 8 --tp 8", capsys)
    assert code == 1
    assert "does NOT fit" in out


def test_json_is_stable_and_in_si_units(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(JOB + " --json", capsys)
    found = json.loads(out)
    assert code == 0
    assert found["memory"]["capacity"] == 80 * 2**30
    assert found["model"]["parameters"] == 70_553_706_496
    assert sum(found["terms"].values()) == pytest.approx(found["step_time"])
    assert sum(found["resources"].values()) == pytest.approx(found["step_time"])
    assert set(found["limiter"]) == {"name", "share", "runner_up", "runner_up_share"}


def test_explain_names_formula_inputs_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(JOB + " --explain", capsys)
    assert "perfmodel.formulas.pipeline.pipeline_time" in out
    assert "arXiv:2104.04473" in out
    assert "unverified" in out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("estimate llama-3.1-7b --cluster dgx-h100", "did you mean llama-3.1-70b"),
        ("estimate llama-3.1-70b --cluster dgx-h10", "did you mean dgx-h100"),
        ("estimate llama-3.1-70b --device h999", "unknown device"),
        ("estimate llama-3.1-70b", "give either --cluster"),
        ("estimate llama-3.1-70b --cluster dgx-h100 --device h100", "give either --cluster"),
        (JOB.replace("--tp 8", "--tp 3"), "tp"),
        (JOB.replace("--tp 8", "--tp 7") + " --devices 448", "does not divide the 64 attention heads"),
        (JOB.replace("--pp 4", "--pp 128") + " --devices 1024 --vpp 1", "needs a layer for every chunk"),
        (JOB + " --precision bf17", "did you mean bf16"),
        (JOB.replace("dgx-h100", "dgx-a100") + " --precision fp8", "no known peak in fp8"),
        (JOB + " --sequence-length -1", "sequence_length"),
        (JOB + " --global-batch 0", "global_batch"),
        (JOB + " --devices 99999999999999999999", "devices"),
        (JOB + " --tp eight", "--tp"),
        (JOB + " --sharding zero9", "sharding"),
        (JOB + " --overlap dp,xx", "overlap"),
        (JOB + " --efficiency hoper", "did you mean hopper"),
        (f"estimate {SERVED} --batch 8", "mean nothing for training"),
        (f"estimate {SERVED} --inference --serving", "give one"),
        (
            f"estimate {SERVED} --inference --vpp 2 --global-batch 8",
            "--global-batch, --vpp mean nothing for --inference",
        ),
        (f"estimate {SERVED} --inference --concurrency 8", "--concurrency means nothing for --inference"),
        (f"estimate {SERVED} --serving --batch 8", "--batch means nothing for --serving"),
        (f"estimate {SERVED} --serving --as-run", "--as-run follows recipes of training"),
        (f"estimate {SERVED} --serving --concurrency 8 --request-rate 8", "two kinds of load"),
        (f"estimate {SERVED} --inference".replace("--weights fp8", "--weights fp9"), "did you mean fp8"),
        (f"estimate {SERVED} --inference".replace("vllm", "vlllm"), "unknown engine"),
        (f"estimate {SERVED} --inference".replace("dgx-h100", "dgx-a100"), "fp8"),
        ("estimate llama-3.1-70b --device h100 --devices 1 --inference", "input_length is missing"),
        ("show nothing-like-this", "perfmodel show lists all"),
        ("validate no-such-file.jsonl", "no such file"),
        ("frobnicate", "frobnicate"),
        (SWEEP + " --tpp 1,2", "did you mean pp or tp"),
        (SWEEP + " --tp 1 2", "belongs to no option"),
        (SWEEP + " --by steptime", "did you mean step_time"),
        (SWEEP + " --software nemmo", "did you mean nemo"),
        (SWEEP.replace("--cluster dgx-h100", ""), "give either --cluster"),
    ],
)
def test_bad_input_is_one_clear_error(command: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(command, capsys)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "text", ['{"model_type": "llama", "hidden', "[1, 2]", "", '{"model_type": "bogus"}', "\x00"]
)
def test_a_broken_config_is_one_clear_error(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    code, out, err = run(f"estimate {path} --cluster dgx-h100", capsys)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_a_config_file_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "model_type": "llama", "vocab_size": 1024, "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 512, "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "config.json"):
        code, out, err = run(f"estimate {path} --device h100 --devices 1 --global-batch 8", capsys)
        assert code == 0, err
        assert "step time" in out


def test_show_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("show --json", capsys)
    listed = json.loads(out)
    assert code == 0
    assert len(listed["device"]) == 125
    assert len(listed["system"]) == 44
    assert len(listed["model"]) >= 30
    for name in ("llama-3.1-70b", "nvidia-h100-sxm-80gb", "dgx-h100", "hopper", "nvlink4"):
        code, out, _ = run(f"show {name}", capsys)
        assert code == 0
        assert out.strip()
        code, out, _ = run(f"show {name} --json", capsys)
        assert json.loads(out)


def test_validate_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = tmp_path / "scores.json"
    code, out, _ = run(f"validate {GOLDEN / 'megatron-2205.05198.jsonl'} --json {out_file}", capsys)
    assert code == 0
    assert "by software" in out
    found = json.loads(out_file.read_text())
    assert len(found["rows"]) == 8
    assert found["skipped"] == []


def test_schema_writes_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = run(f"schema {tmp_path}", capsys)
    assert code == 0
    assert {"device", "link", "system", "efficiency", "model"} <= {
        path.stem for path in tmp_path.glob("*.json")
    }


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m perfmodel show | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert "Traceback" not in done.stderr
