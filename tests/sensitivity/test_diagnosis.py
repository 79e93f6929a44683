"""A measured time against its prediction: what explains the gap, and traces as torch writes them."""

from __future__ import annotations

import gzip
import json

import pytest

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.sensitivity.profiles import kind_of, read_trace


@pytest.fixture(scope="module")
def est() -> pm.TrainingEstimate:
    return pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Training(global_batch=128, sequence_length=8192),
        pm.Parallel(tp=2, pp=2),
        pm.Cluster.load("dgx-h100", devices=16),
        software="nemo",
    )


@pytest.mark.parametrize(
    ("path", "factor", "kind", "cause"),
    [
        ("matmul.compute", 0.8, "matmul", "matrix products run at 0.80x"),
        ("efficiency.attention.compute", 0.5, "attention", "attention kernels run at 0.50x"),
        ("stream.passes", 1.4, "memory-bound", "move 1.40x the bytes"),
        ("host.step", 100.0, "idle", "the host takes"),
    ],
)
def test_a_constant_that_is_off_is_found(est, path, factor, kind, cause):
    """What was measured is the prediction with one constant changed: the diagnosis finds which, and how much."""
    real = pm.what_if(est, **{path: f"{factor}x"}).after
    waiting = sum(real.terms[name] for name in ("host", "bubble", "stragglers"))
    parts = {name: real.terms[name] for name in ("attention", "memory-bound")}
    parts["matmul"] = real.terms["matmul"] + real.terms["contention"]
    found = pm.diagnose(est, real.step_time, by_kind=parts | {"idle": waiting})
    assert found.gaps[0].kind == kind
    best = found.hypotheses[0]
    assert cause in best.cause
    assert best.explains > 0.9
    assert best.seconds == pytest.approx(real.step_time, rel=0.02)
    assert pm.what_if(est, **best.changes).after.step_time == best.seconds


def test_a_total_alone_has_a_verdict_and_hypotheses(est):
    low, high = est.step_time_range(0.8)
    assert pm.diagnose(est, (low + high) / 2).inside
    slow = pm.diagnose(est, 1.5 * est.step_time)
    assert slow.inside is False
    assert slow.unexplained is None
    assert "OUTSIDE" in slow.why
    assert all(gap.measured is None for gap in slow.gaps)
    assert len(slow.hypotheses) > 4
    assert all(each.explains > 0.05 for each in slow.hypotheses)
    explained = [each.explains for each in slow.hypotheses]
    assert [round(each, 2) for each in explained] == sorted(
        (round(each, 2) for each in explained), reverse=True
    )
    fast = pm.diagnose(est, 0.9 * est.step_time)
    assert "faster" in fast.why
    assert all(each.seconds < est.step_time for each in fast.hypotheses)


def test_kinds_inside_their_band_do_not_explain(est):
    parts = {"matmul": 1.01 * est.terms["matmul"], "attention": 3 * est.terms["attention"]}
    found = pm.diagnose(est, est.step_time + 2 * est.terms["attention"], by_kind=parts)
    assert [gap.kind for gap in found.explaining] == ["attention"]
    assert found.unexplained == pytest.approx(-0.01 * est.terms["matmul"])


def test_no_overlap_would_give(est):
    none = pm.what_if(est, overlap="").after
    found = pm.diagnose(est, none.step_time, by_kind={"matmul": est.terms["matmul"]})
    named = {each.cause: each for each in found.hypotheses}
    assert named["no message is hidden at all"].explains == pytest.approx(1)


def test_an_own_set_has_no_band(est):
    alone = pm.estimate(est.model, est.work, est.layout, est.cluster, efficiency=pm.Efficiency.load("hopper"))
    found = pm.diagnose(alone, 1.2 * alone.step_time, by_kind={"matmul": 1})
    assert found.band is found.inside is found.gaps[0].inside is None


def test_a_batch_of_inference_is_diagnosed():
    run = pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Inference(input_length=128, output_length=64),
        pm.Parallel(),
        pm.Cluster.load("dgx-h100", devices=1),
    )
    found = pm.diagnose(run, f"{1.3 * run.latency} s")
    assert found.why.startswith("Latency was measured")
    assert found.hypotheses


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "nothing is measured"),
        ({"measured": 0}, "above 0 s"),
        ({"measured": "3 GB"}, "unit"),
        ({"measured": 1, "by_kind": {"matmull": 1}}, "did you mean matmul"),
        ({"measured": 1, "by_kind": {"matmul": "x"}}, "not a quantity"),
        ({"measured": 1, "level": 2}, "between 0 and 1"),
    ],
)
def test_one_clear_error(est, arguments, told):
    with pytest.raises(InputError, match=told):
        pm.diagnose(est, **arguments)


def test_it_prints_and_serialises(est):
    found = pm.diagnose(est, 1.2 * est.step_time, by_kind={"matmul": est.terms["matmul"]})
    assert "what would have to be otherwise" in repr(found)
    assert "<table>" in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict()))["gaps"][0]["kind"] == "matmul"
    assert list(found.to_frame().columns) == ["kind", "predicted", "measured", "delta", "share", "inside"]


# --- traces ---------------------------------------------------------------------------------------------------------


def event(name, start, length, cat="kernel", **args):
    """A complete event, in microseconds."""
    return {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": length, "pid": 0, "tid": 7, "args": args}


STEP = [
    event("ProfilerStep#1", 0, 100, "user_annotation"),
    event("nvjet_hsh_256x128", 0, 40),
    event("flash_fwd_kernel<Flash_fwd_kernel_traits>", 40, 20),
    event("void at::native::vectorized_elementwise_kernel<4>", 60, 10),
    event("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 50, 30),  # the first 20 beside kernels, 10 alone
    event("Memcpy DtoH (Device -> Pinned)", 80, 5, "gpu_memcpy"),
    {"ph": "M", "name": "process_name"},
    {"ph": "X", "cat": "kernel", "name": "broken", "ts": "never"},
]


def written(tmp_path, content, name="trace.json"):
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_trace_is_seconds_by_kind(tmp_path, name):
    found = read_trace(written(tmp_path, {"traceEvents": STEP}, name))
    micro = {kind: round(seconds * 1e6, 6) for kind, seconds in found.by_kind.items()}
    assert micro == {
        "matmul": 40,
        "attention": 20,
        "memory-bound": 10,
        "all_reduce": 10,
        "offload": 5,
        "idle": 15,
    }
    assert found.seconds == pytest.approx(100e-6)
    assert found.hidden == pytest.approx(20e-6)
    assert found.steps == 1


def test_steps_are_averaged_and_the_busiest_device_is_read(tmp_path):
    later = [each | {"ts": each["ts"] + 100} for each in STEP[:6]]
    later[0]["name"] = "ProfilerStep#2"
    other = event("gemm", 0, 1) | {"pid": 1}
    found = read_trace(written(tmp_path, [*STEP, *later, other]))
    assert found.steps == 2
    assert found.by_kind["matmul"] == pytest.approx(40e-6)
    assert sum(found.by_kind.values()) == pytest.approx(found.seconds)


def test_a_trace_without_steps_is_one_from_first_to_last_kernel(tmp_path):
    found = read_trace(written(tmp_path, STEP[1:]))
    assert found.seconds == pytest.approx(85e-6)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no JSON"),
        ("3", "no list of traceEvents"),
        ({"traceEvents": {}}, "no list of traceEvents"),
        ({"traceEvents": []}, "no kernel of a device"),
        ([event("aten::mm", 0, 5, "cpu_op")], "no kernel of a device"),
        ([3, None, "x"], "no kernel of a device"),
    ],
)
def test_a_bad_trace_is_one_clear_error(tmp_path, content, told):
    with pytest.raises(InputError, match=told):
        read_trace(written(tmp_path, content))


def test_a_missing_or_broken_file_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "none.json")
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(gzip.compress(b"[]")[:-4])
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(broken)


def test_a_trace_is_held_against_the_prediction(tmp_path, est):
    found = pm.diagnose(est, trace=written(tmp_path, STEP))
    assert found.measured == pytest.approx(100e-6)
    assert sum(gap.measured for gap in found.gaps if gap.measured is not None) == pytest.approx(
        found.measured
    )
    assert sum(gap.predicted for gap in found.gaps) == pytest.approx(est.step_time)
    assert found.profile.steps == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ampere_bf16_s16816gemm_bf16_128x256", "matmul"),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop>", "matmul"),
        ("Cijk_Ailk_Bljk_BBS_BH_MT128x256x32", "matmul"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
        ("fmha_v2_flash_attention_bf16", "attention"),
        ("ncclDevKernel_AllGather_RING_LL", "all_gather"),
        ("ncclDevKernel_SendRecv", "send"),
        ("rccl_main_kernel", "all_reduce"),
        ("multi_tensor_apply_kernel<FusedAdamFunctor>", "memory-bound"),
        ("triton_poi_fused_add_mul_silu_0", "memory-bound"),
        ("layer_norm_fwd_kernel", "memory-bound"),
    ],
)
def test_kernels_are_told_by_name(name, kind):
    assert kind_of(name) == kind
    assert kind_of("ncclDevKernel_SendRecv", collective="all_to_allv") == "all_to_all"
