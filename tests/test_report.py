"""How an estimate is shown: text, HTML, table, JSON and explanation tell the same numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.report import cited, entries, fitting_changes


@pytest.fixture(scope="module")
def est() -> pm.TrainingEstimate:
    return pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Training(global_batch=64, sequence_length=4096, recompute="full"),
        pm.Parallel(tp=2, pp=2, sequence_parallel=True),
        pm.Cluster.load("dgx-h100", devices=16),
    )


def test_the_text_is_one_screen(est: pm.TrainingEstimate) -> None:
    lines = repr(est).splitlines()
    assert len(lines) < 35
    assert "step time" in repr(est)
    assert "hopper" in repr(est)


def test_the_html_is_escaped_and_has_no_script(est: pm.TrainingEstimate) -> None:
    model = est.model.replace(name="<script>alert(1)</script>")
    odd = pm.estimate(model, est.work, est.layout, est.cluster)
    html = odd._repr_html_()
    assert "<script" not in html
    assert "&lt;script" in html


def test_the_dict_is_json_and_adds_up(est: pm.TrainingEstimate) -> None:
    found = est.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    kinds = ("weights", "gradients", "optimizer", "activations", "buffers", "overhead")
    assert sum(found["memory"][kind] for kind in kinds) == pytest.approx(found["memory"]["total"])
    assert found["hfu"] > found["mfu"]


def test_the_frame_has_time_and_memory(est: pm.TrainingEstimate) -> None:
    frame = est.to_frame()
    assert list(frame.columns) == ["quantity", "name", "value", "share"]
    assert frame[frame.quantity == "time"].value.sum() == pytest.approx(est.step_time)
    assert frame.groupby("quantity").share.sum().tolist() == pytest.approx([1.0, 1.0])


def test_compare_is_one_row_an_estimate(est: pm.TrainingEstimate) -> None:
    table = pm.compare({"a": est, "b": est})
    assert list(table.index) == ["a", "b"]
    assert table.loc["a", "step_time"] == est.step_time
    with pytest.raises(InputError, match="at least one"):
        pm.compare({})


def test_every_explained_number_has_a_formula_and_a_source(est: pm.TrainingEstimate) -> None:
    found = list(entries(est))
    assert len(found) > 12
    for entry in found:
        assert entry.value, entry
        assert entry.formula, entry
        assert entry.source, entry
    names = {entry.quantity for entry in found}
    assert {"step time", "MFU", "HFU", "memory: weights", "facts", "fits"} <= names


def test_explained_numbers_are_the_estimate_s_own(est: pm.TrainingEstimate) -> None:
    text = est.explain()
    assert f"{est.mfu:.2%}" in text
    assert f"{est.costs.groups['data'].ranks}" in text


def test_cited_reads_the_docstring() -> None:
    def formula() -> None:
        r"""Something.

        .. math:: a = b

        References
        ----------
        Somebody (2020), Something
        """

    maths, source = cited(formula)
    assert maths == "a = b"
    assert "Somebody (2020)" in source


def test_the_limiter_ranks_resources(est: pm.TrainingEstimate) -> None:
    limiter: Any = est.limiter
    ranked = sorted(est.resources.values(), reverse=True)
    assert limiter.share == pytest.approx(ranked[0] / est.step_time)
    assert limiter.runner_up_share == pytest.approx(ranked[1] / est.step_time)
    assert limiter.name in str(limiter)


def test_conventions_of_utilisation_are_named(est: pm.TrainingEstimate) -> None:
    assert est.utilisation("palm") > est.utilisation("causal") == est.mfu
    assert est.utilisation("hardware") == est.hfu
    with pytest.raises(InputError, match="causal, palm, hardware"):
        est.utilisation("guess")


def test_the_first_line_names_what_is_not_as_usual(est: pm.TrainingEstimate) -> None:
    assert "tp 2, pp 2, dp 4, zero1, micro batch 1" in repr(est).splitlines()[0]
    unusual = {
        "sharding": "hsdp", "shards": 4, "cp": 2, "context": "all_gather", "schedule": "gpipe",
        "order": ("tp", "pp", "cp", "dp"), "dp": 2,
    }  # fmt: skip
    odd = pm.estimate(est.model, est.work, est.layout.replace(**unusual), est.cluster)
    told = "dp 2, context by all_gather, schedule gpipe, order tp pp cp dp, hsdp of 4, micro batch 1"
    assert told in repr(odd).splitlines()[0]


@pytest.fixture(scope="module")
def batch() -> pm.InferenceEstimate:
    work = pm.Inference(batch=32, input_length=1024, output_length=256, weight_dtype="fp8", kv_dtype="fp8")
    cluster = pm.Cluster.load("dgx-h100", devices=8)
    return pm.estimate(pm.Model.load("llama-3.1-70b"), work, pm.Parallel(tp=8), cluster, software="vllm")


@pytest.fixture(scope="module")
def load() -> pm.ServingEstimate:
    work = pm.Serving(input_length=1024, output_length=256, request_rate=8)
    cluster = pm.Cluster.load("dgx-h100", devices=1)
    return pm.estimate(pm.Model.load("llama-3.1-8b"), work, pm.Parallel(), cluster, software="vllm")


def test_a_batch_on_one_screen(batch: pm.InferenceEstimate) -> None:
    first, *lines = repr(batch).splitlines()
    assert "tp 8, dp 1, batch 32 x (1024 tokens in, 256 out), weights fp8, cache fp8" in first
    assert len(lines) < 35
    answers = (
        "time to first token",
        "time per output token",
        "throughput",
        "MFU of prefill",
        "MBU of decode",
    )
    for name in (*answers, "prefill limited by", "decode limited by", "hopper+vllm", "cache"):
        assert name in repr(batch)


@pytest.mark.parametrize(
    ("model", "fields", "told"),
    [
        ("vit-large", {"output_length": 0}, "images/s"),
        ("resnet-50", {}, "images/s"),
        ("bert-large", {"input_length": 384}, "samples/s"),
        ("dlrm-mlperf", {}, "samples/s"),
    ],
)
def test_models_that_only_read_have_no_tokens(model: str, fields: dict[str, Any], told: str) -> None:
    job = pm.Inference(batch=32, **fields)
    found = pm.estimate(pm.Model.load(model), job, pm.Parallel(), pm.Cluster.load("dgx-h100", devices=1))
    assert told in repr(found)
    for absent in ("first token", "MBU", "cache", "tokens/s"):
        assert absent not in repr(found)
    assert found.to_dict()["memory"]["most_sequences"] is None


def test_requests_on_one_screen(load: pm.ServingEstimate) -> None:
    assert "8 requests/s x (1024 tokens in, 256 out), weights bf16, cache bf16" in repr(load).splitlines()[0]
    for name in ("time to first token", "in 99 of 100", "running batch", "max concurrency", "limited by"):
        assert name in repr(load)


@pytest.mark.parametrize("kind", ["batch", "load"])
def test_views_of_inference_agree(kind: str, request: pytest.FixtureRequest) -> None:
    est: Any = request.getfixturevalue(kind)
    found = est.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    kinds = ("weights", "cache", "activations", "overhead")
    assert sum(found["memory"][kind] for kind in kinds) == pytest.approx(found["memory"]["total"])
    assert sum(found["terms"].values()) == pytest.approx(found["latency"])
    assert sum(found["resources"].values()) == pytest.approx(found["latency"])
    shares = est.to_frame().groupby("quantity").share.sum()
    assert shares.tolist() == pytest.approx([1.0] * len(shares))
    assert "<script" not in est._repr_html_()
    assert "<table" in est._repr_html_()


def test_phases_add_up(batch: pm.InferenceEstimate) -> None:
    found = batch.to_dict()
    assert found["latency"] == pytest.approx(found["prefill_time"] + 255 * found["decode_time"])
    for name in ("prefill", "decode"):
        phase = found["phases"][name]
        assert sum(phase["terms"].values()) == pytest.approx(phase["seconds"])
    assert found["mbu"] * 3.35e12 * found["decode_time"] == pytest.approx(found["held_bytes"])


@pytest.mark.parametrize("kind", ["batch", "load"])
def test_every_number_of_inference_is_explained(kind: str, request: pytest.FixtureRequest) -> None:
    est: Any = request.getfixturevalue(kind)
    found = list(entries(est))
    assert len(found) > 15
    for entry in found:
        assert entry.value, entry
        assert entry.formula, entry
        assert entry.source, entry
    assert {"memory: weights", "memory: cache", "facts", "fits"} <= {entry.quantity for entry in found}
    assert f"{est.memory.sequences:g}" in est.explain()


def test_what_does_not_fit_says_what_would() -> None:
    job = pm.Inference(batch=64, input_length=4096, output_length=100)
    cluster = pm.Cluster.load("dgx-h100", devices=1)
    est = pm.estimate(pm.Model.load("llama-3.1-8b"), job, pm.Parallel(), cluster)
    assert "would fit" not in repr(est)
    long = pm.estimate(est.model, job.replace(input_length=30_000), est.layout, cluster)
    assert not long.fits
    assert "over)" in repr(long)
    assert "would fit with" in repr(long)
    for remedy in fitting_changes(long):
        kept = {name: value for name, value in remedy.change.items() if name not in ("tp", "devices")}
        layout = long.layout.replace(tp=remedy.change.get("tp", 1))
        grown = cluster.replace(devices=remedy.change.get("devices", 1))
        again = pm.estimate(long.model, long.work.replace(**kept), layout, grown, efficiency=long.efficiency)
        assert again.fits, remedy
        assert again.memory.total == remedy.total
    by_name = {name: value for remedy in fitting_changes(long) for name, value in remedy.change.items()}
    more = long.work.replace(batch=by_name["batch"] + 1)
    assert not pm.estimate(long.model, more, long.layout, cluster).fits
    longer = long.work.replace(input_length=by_name["input_length"] + 1)
    assert not pm.estimate(long.model, longer, long.layout, cluster).fits


def test_compare_takes_any_kind(batch: pm.InferenceEstimate, load: pm.ServingEstimate) -> None:
    table = pm.compare({"batch": batch, "load": load})
    assert table.loc["batch", "ttft"] == batch.ttft
    assert table.loc["load", "output_tokens_per_second"] == load.output_tokens_per_second
