"""Messages of data parallelism as torch sends them: DDP, FSDP2 and its hybrid."""

from __future__ import annotations

from collections.abc import Iterator

from perfmodel.costs.messages.base import Job, Message
from perfmodel.costs.parameters import local_parameters
from perfmodel.layers import Layer, Mlp, SelfAttention
from perfmodel.ops import added

__all__ = ["buckets", "ddp", "fsdp2", "hsdp", "tensor_sizes"]

FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20
"""Limits of DDP's buckets [B]: a small first one starts early (torch.nn.parallel.DistributedDataParallel)."""


def tensor_sizes(layer: Layer) -> Iterator[int]:
    """Parameters of each tensor as transformers keeps them: queries, keys, values, gate and up apart [-].

    Parameters
    ----------
    layer : a layer

    Examples
    --------
    >>> list(tensor_sizes(Mlp(hidden=2, inner=3)))
    [6, 6, 6]
    """
    for weight in layer.weights():
        if isinstance(layer, SelfAttention) and weight.name in ("qkv", "qkv bias"):
            rows = weight.size // weight.shape[-1]
            keys = rows * layer.kv_width
            yield from (weight.size - 2 * keys, keys, keys)
        elif isinstance(layer, Mlp) and layer.gated and weight.name in ("up", "up bias"):
            yield from (weight.size // 2, weight.size // 2)
        else:
            yield weight.size


def buckets(sizes: list[float]) -> list[float]:
    """Bytes of DDP's buckets: filled in the order in which gradients come, closed once they reach their limit.

    Parameters
    ----------
    sizes : of the gradients, last layer first [B]

    Returns
    -------
    bytes of each bucket [B]

    References
    ----------
    Li et al. (2020), PyTorch Distributed: Experiences on Accelerating Data Parallel Training, arXiv:2006.15704,
    section 3.2.3; torch/csrc/distributed/c10d/reducer.cpp, compute_bucket_assignment_by_size

    Examples
    --------
    >>> [size / 2**20 for size in buckets([2**20 / 2] * 3 + [2**24] * 3)]
    [1.0, 32.5, 16.0]
    """
    filled: list[float] = []
    held, limit = 0.0, FIRST_BUCKET
    for size in sizes:
        held += size
        if held >= limit:
            filled.append(held)
            held, limit = 0.0, BUCKET
    return [*filled, held] if held else filled


def ddp(job: Job) -> Iterator[Message]:
    """Gradients are all-reduced once a step, in buckets.

    The second step begins with two broadcasts: DDP orders its buckets anew, by the order in which gradients came, and
    rank 0 tells the others the tensors of each (32-bit numbers, one a tensor and how many buckets) and the buckets'
    sizes. Other steps have none, but for the buffers of models that have buffers.
    """
    ordered = [layer for layer, times in job.model.layers() for _ in range(times)]
    sizes = [size * job.formats.held_bytes for layer in reversed(ordered) for size in tensor_sizes(layer)]
    filled = buckets(sizes)
    yield Message("forward", "broadcast", "replicate", 2, 4 * (len(sizes) + 1) + 4 * len(filled))
    yield Message("backward", "all_reduce", "replicate", len(filled), added(filled))


def fsdp2(job: Job, *, regather: bool = True, regather_ends: bool = True) -> Iterator[Message]:
    """Weights gathered and gradients scattered by group: each layer, and all that stands before and after them.

    Parameters
    ----------
    job : the job
    regather : weights are dropped after forward and gathered again (ZeRO-3); else kept (ZeRO-2)
    regather_ends : also those of the root group, which `fully_shard` keeps unless told otherwise

    References
    ----------
    Zhao et al. (2023), PyTorch FSDP, arXiv:2304.11277; torch.distributed.fsdp.fully_shard, `reshard_after_forward` and
    `MixedPrecisionPolicy`. First dimensions are taken to divide by the ranks, so that nothing is padded.
    """
    p, formats, passes = job.p, job.formats, job.micro_batches
    layers = job.model.depth
    ends = local_parameters((*job.model.entry, *job.model.exit), p)
    body = added(block.repeat * local_parameters(block.layers, p) for block in job.model.blocks)
    weights, gradients = passes * formats.weight_bytes, passes * formats.reduce_bytes
    yield Message("forward", "all_gather", "shard", passes * (layers + 1), weights * (body + ends))
    if regather:
        again = (layers + 1, body + ends) if regather_ends else (layers, body)
        yield Message("backward", "all_gather", "shard", passes * again[0], weights * again[1])
    yield Message("backward", "reduce_scatter", "shard", passes * (layers + 1), gradients * (body + ends))


def hsdp(job: Job) -> Iterator[Message]:
    """FSDP2 within each replica; what a rank holds of the gradients is then all-reduced over the replicas.

    References
    ----------
    torch.distributed.fsdp.fully_shard on a mesh of two dimensions (replicate, shard)
    """
    yield from fsdp2(job)
    scattered = [sent for sent in fsdp2(job) if sent.kind == "reduce_scatter"]
    for sent in scattered:
        yield Message("backward", "all_reduce", "replicate", sent.count, sent.bytes / job.shards)
