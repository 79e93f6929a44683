"""Ten cases with a known answer: what limits them, and what an expert would do first (docs/textbook.md tells them)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

import perfmodel as pm

H100 = "dgx-h100"


class Case(NamedTuple):
    """A case of the textbook.

    Parameters
    ----------
    model, work, layout, devices : the job on H100 nodes
    limiter : the resource that limits it
    term : the kind of work that takes most of the time
    remedies : what an expert would do first, by the names of the remedies; any of them will do
    """

    model: str | pm.Model
    work: pm.Training | pm.Inference
    layout: pm.Parallel
    devices: int
    limiter: str
    term: str
    remedies: set[str]

    def estimate(self):
        model = pm.Model.load(self.model) if isinstance(self.model, str) else self.model
        return pm.estimate(model, self.work, self.layout, pm.Cluster.load(H100, devices=self.devices))


TABLES = pm.dlrm(
    dense=13, bottom=(512, 256, 128), rows=(1_000_000,) * 26, width=128, top=(1024, 1024, 512, 256, 1)
)

CASES = {
    "decode at batch 1 is HBM-bound": Case(
        "llama-3.1-8b", pm.Inference(batch=1, input_length=128, output_length=512), pm.Parallel(), 1,
        "memory_bandwidth", "matmul", {"drafts", "quantised_weights", "larger_running_batch"},
    ),
    "prefill is compute-bound": Case(
        "llama-3.1-8b", pm.Inference(batch=8, input_length=8192, output_length=1), pm.Parallel(), 1,
        "compute", "matmul", {"quantised_weights"},
    ),
    "tp across nodes is network-bound": Case(
        "llama-3.1-70b", pm.Training(global_batch=32, sequence_length=4096),
        pm.Parallel(tp=16, pp=2, sequence_parallel=True), 32, "fabric", "tp", {"tensor_degree"},
    ),
    "small models are host-bound": Case(
        "gpt2", pm.Training(global_batch=8, sequence_length=128), pm.Parallel(micro_batch=8), 1,
        "host_launch", "host", {"graph", "larger_batch", "micro_batch"},
    ),
    "pp with few micro-batches is bubble-bound": Case(
        "llama-3.1-8b", pm.Training(global_batch=8, sequence_length=4096), pm.Parallel(tp=2, pp=8), 32,
        "pipeline_bubble", "bubble", {"interleaving", "schedule", "pipeline_degree", "larger_batch"},
    ),
    "ZeRO-3 at small batch is network-bound": Case(
        "llama-3.1-8b", pm.Training(global_batch=64, sequence_length=1024), pm.Parallel(sharding="zero3"), 64,
        "fabric", "dp", {"sharding", "kept_weights", "larger_batch", "micro_batch"},
    ),
    "embedding tables are memory-bound": Case(
        TABLES, pm.Training(global_batch=8192), pm.Parallel(micro_batch=8192), 1,
        "memory_bandwidth", "memory-bound", {"larger_batch", "lighter_optimizer"},
    ),
    "long context is attention-bound": Case(
        "llama-3.1-8b", pm.Training(global_batch=8, sequence_length=131072, recompute="full"),
        pm.Parallel(tp=8, sequence_parallel=True), 8, "compute", "attention", {"recompute", "context_degree"},
    ),
    "experts across nodes are all-to-all-bound": Case(
        "qwen3-30b-a3b", pm.Training(global_batch=512, sequence_length=4096), pm.Parallel(ep=32), 64,
        "fabric", "ep", {"expert_degree", "deduplicated", "hidden_experts"},
    ),
    "a starved input pipeline is storage-bound": Case(
        "resnet-50", pm.Training(global_batch=2048, image_size=224, data_rate=8000), pm.Parallel(micro_batch=256), 8,
        "input_pipeline", "input", {"faster_loading"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_limiter_is_the_known_one(case: Case):
    est = case.estimate()
    assert est.fits
    assert est.limiter.name == case.limiter
    assert max(est.terms, key=lambda name: est.terms[name]) == case.term


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_first_advice_is_the_experts(case: Case):
    est = case.estimate()
    first = pm.advise(est).first
    assert {remedy.name for remedy in first.remedies} <= case.remedies
    assert first.speedup > 1.05
    assert est.limiter.name in first.remedies[0].relieves
    assert first.relieves in first.remedies[0].relieves


def test_samples_read_from_slow_storage_are_what_is_waited_for():
    case = CASES["a starved input pipeline is storage-bound"]
    model = pm.Model.load(case.model)
    work = case.work.replace(data_rate=None, sample_bytes="110 kB")
    slow = pm.Cluster.load(H100, devices=8).replace(storage="100 MB/s")
    est = pm.estimate(model, work, case.layout, slow)
    assert est.limiter.name == "storage"
    names = {each.remedies[0].name for each in pm.advise(est)}
    assert names >= {"smaller_samples", "faster_links"}
