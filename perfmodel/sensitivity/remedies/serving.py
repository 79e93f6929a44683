"""Remedies of inference: fewer bits, larger batches, fewer passes a token, graphs, prompts apart, smaller models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.model import Model, models
from perfmodel.sensitivity.remedies.table import Changes, others, remedy

__all__ = [
    "captured_decode", "disaggregation", "drafts", "larger_running_batch", "mixed_passes",
    "pruning", "quantised_cache", "quantised_weights", "smaller_model",
]  # fmt: skip

BOTH = ("inference", "serving")
LEAST, MOST = 0.05, 0.8
"""Share of a model's parameters that a student of it has [-]."""
GUESSES = (2, 3, 5)
"""Tokens that drafts guess ahead [-]."""


@remedy(
    "weights in fewer bits",
    relieves=("memory_bandwidth", "compute", "memory"),
    costs="weights are rounded: measure the quality; formats below 8 bits need a calibration",
    scope="job",
    kinds=BOTH,
)
def quantised_weights(est: Any) -> Iterator[Changes]:
    """Formats that the device computes in, and those that are unpacked on the way."""
    now = est.work.formats.weight_bytes
    peaks = est.cluster.device.peak.known()
    computed = {"fp8": ("fp8", 1.0), "int8": ("int8", 1.0), "nvfp4": ("fp4", 0.6)}
    for name, (dtype, size) in computed.items():
        if dtype in peaks and size < now:
            yield {"weight_dtype": name}
    yield from ({"weight_dtype": name} for name, size in (("int8_wo", 1.0), ("int4_g128", 0.6)) if size < now)


@remedy(
    "keys and values in fewer bits",
    relieves=("memory_bandwidth", "memory"),
    costs="the cache is rounded: measure the quality of long answers",
    scope="job",
    kinds=BOTH,
)
def quantised_cache(est: Any) -> Iterator[Changes]:
    """8 bits, where the cache has more."""
    if est.work.formats.kv_bytes > 1:
        yield {"kv_dtype": "fp8"}


@remedy(
    "more sequences in a batch",
    relieves=("memory_bandwidth", "kernel_latency", "host_launch", "network_latency"),
    costs="every sequence waits for the others, and the cache holds them all",
    scope="job",
    kinds=("inference",),
)
def larger_running_batch(est: Any) -> Iterator[Changes]:
    """Twice to 64 times as many."""
    yield from ({"batch": batch} for batch in others(est.work.batch, reach=64) if batch > est.work.batch)


@remedy(
    "other limits of a pass: prompts and decode mixed or apart, more sequences, more tokens",
    relieves=("memory_bandwidth", "compute", "host_launch"),
    costs="longer passes make those who decode wait; apart, prompts wait",
    kinds=("serving",),
)
def mixed_passes(est: Any) -> Iterator[Changes]:
    """What the scheduler of an engine can be told."""
    yield from ({"chunked": way} for way in (True, False) if way != est.work.chunked)
    for tokens in (2048, 8192, 32768):
        if tokens != est.work.prefill_tokens:
            yield {"prefill_tokens": tokens}
    for most in (512, 1024):
        yield {"most_sequences": most}


@remedy(
    "guess tokens ahead and check them in one step (speculative decoding)",
    relieves=("memory_bandwidth", "network_latency", "host_launch"),
    costs="a draft model or heads of one's own; gains depend on how many guesses stand, and shrink in large batches",
    kinds=BOTH,
)
def drafts(est: Any) -> Iterator[Changes]:
    """A few tokens ahead, at the acceptance that the job states."""
    if est.work.draft_tokens == 0 and est.work.decoded:
        yield from ({"draft_tokens": number} for number in GUESSES)


@remedy(
    "capture steps of decode in graphs (CUDA graphs)",
    relieves=("host_launch",),
    costs="one graph for each size of the batch, and memory for them",
    kinds=BOTH,
)
def captured_decode(est: Any) -> Iterator[Changes]:
    """One launch a step."""
    if est.work.graphs is not True:
        yield {"graphs": True}


@remedy(
    "read prompts on replicas of their own (disaggregated)",
    relieves=("compute", "memory_bandwidth"),
    costs="caches travel between replicas, and each kind of replica has to be kept busy",
    kinds=("serving",),
)
def disaggregation(est: Any) -> Iterator[Changes]:
    """A quarter, half or three quarters of the replicas."""
    dp = est.layout.dp
    numbers = dict.fromkeys((dp // 4, dp // 2, 3 * dp // 4))
    yield from (
        {"prefill_replicas": some} for some in numbers if 0 < some < dp and some != est.work.prefill_replicas
    )


@remedy(
    "a pruned model: fewer layers, or narrower ones",
    relieves=("memory_bandwidth", "compute", "memory"),
    costs="quality: pruned models are trained again for a while",
    scope="model",
    kinds=BOTH,
)
def pruning(est: Any) -> Iterator[Changes]:
    """Three quarters or half of the depth; half the inner width, where there is one."""
    yield from ({"model.depth": share} for share in ("0.75x", "0.5x"))
    if any("inner" in type(layer).model_fields for layer, _ in est.model.layers()):
        yield {"model.inner": "0.5x"}


@remedy(
    "a smaller model of the family, distilled from this one",
    relieves=("memory_bandwidth", "compute", "memory"),
    costs="quality, and the distillation",
    scope="model",
    kinds=BOTH,
)
def smaller_model(est: Any) -> Iterator[Changes]:
    """Bundled models whose names begin alike, of the same vocabulary."""
    now, beginning = est.model, est.model.name.partition("-")[0]
    for name in models() if now.vocabulary else ():
        if name.startswith(f"{beginning}-"):
            smaller = Model.load(name)
            share = smaller.parameters / now.parameters
            if smaller.vocabulary == now.vocabulary and LEAST < share < MOST:
                yield {"model": name}
