"""Remedies of the step: whose kernels, which formats, how many samples, who launches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.efficiency import Efficiency, Software
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.remedies.table import Changes, remedy
from perfmodel.workload import PRECISIONS

__all__ = ["fused_kernels", "graph", "larger_batch", "precision", "without_dropout"]


@remedy(
    "fused kernels: flash attention, fused pointwise work, one update of all tensors",
    relieves=("memory_bandwidth", "kernel_latency", "host_launch", "memory"),
    costs="the framework has to have them",
)
def fused_kernels(est: Any) -> Iterator[Changes]:
    """Whatever is not fused yet, one by one and together."""
    usual = {"attention": "flash", "kernels": "fused", "fused_optimizer": True}
    missing = {name: best for name, best in usual.items() if getattr(est.work, name) != best}
    yield from ({name: best} for name, best in missing.items())
    if len(missing) > 1:
        yield missing


@remedy(
    "capture the step in a graph (CUDA graphs): no launch is waited for, no gap between kernels",
    relieves=("host_launch", "kernel_latency"),
    costs="shapes have to be the same every step; graphs hold memory of their own",
)
def graph(est: Any) -> Iterator[Changes]:
    """The host launches nothing one by one, and the device does not idle between two kernels."""
    fits, device = est.efficiency, est.cluster.device
    if fits.software and Inputs.of(est).follows_architecture:
        stack = Software.load(fits.software)
        constants = stack.fit(device.architecture).replace(launch=0.0, gap=0.0)
        measured = Efficiency.of(device.architecture, device=device.id)
        captured = measured.applied(constants, stack.recipe.attention_kernel)
        yield {"efficiency": captured.replace(id=f"{fits.id}+graph", software=stack.id, spread=fits.spread)}
    elif fits.host.launch > 0:
        yield {"host.launch": 0.0}


@remedy(
    "products in fewer bits",
    relieves=("compute", "memory_bandwidth"),
    costs="numbers are rounded: watch the loss",
    scope="job",
)
def precision(est: Any) -> Iterator[Changes]:
    """Every format that the device computes faster than the one in use."""
    peaks = est.cluster.device.peak.known()
    for name, formats in PRECISIONS.items():
        if peaks.get(formats.dtype, 0.0) > est.peak:
            yield {"precision": name}


@remedy(
    "more samples in a step",
    relieves=("fabric", "scale_up", "pipeline_bubble", "memory_bandwidth", "host_launch"),
    costs="fewer, larger steps for as many samples: learning rates have to be found anew",
    scope="job",
)
def larger_batch(est: Any) -> Iterator[Changes]:
    """Twice and four times the global batch, in more passes or in larger ones."""
    for factor in (2, 4):
        batch = est.work.global_batch * factor
        yield {"global_batch": batch}
        yield {"global_batch": batch, "micro_batch": est.layout.micro_batch * factor}


@remedy(
    "train without dropout",
    relieves=("memory_bandwidth", "kernel_latency", "memory"),
    costs="another regularisation",
    scope="job",
)
def without_dropout(est: Any) -> Iterator[Changes]:
    """No masks, no kernels for them."""
    if est.work.dropout:
        yield {"dropout": False}
