"""Seconds of one operator on one device."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import InputError
from perfmodel.estimation.machine import KERNELS, Machine, MatmulRate
from perfmodel.formulas.memory import copy_time
from perfmodel.formulas.roofline import (
    cached_share,
    flash_attention_flops,
    smooth_maximum,
    smooth_parts,
    split_walk_time,
)
from perfmodel.ops import ceil, greater, log2, maximum, power, where
from perfmodel.work import Attention, Matmul, Stream, Transfer, flops, held_bytes, memory_bytes

__all__ = ["attention_seconds", "matmul_seconds", "stream_seconds", "transfer_seconds"]

Seconds = tuple[Any, dict[str, Any]]

TINY = 1e-300
"""Keeps 0 / 0 at 0: a product without work has no share of anything [s]."""


def matmul_seconds(work: Matmul, m: Machine) -> Seconds:
    """A matrix product: start, and a smooth roofline beside the walk along the inner length, after what quantises.

    Parameters
    ----------
    work : the operator
    m : the machine's rates

    Returns
    -------
    seconds, and the same by resource [s]
    """
    rate = m.matmul[work.dtype + KERNELS.get(work.kernel, "")]
    latency, quantise = _prepared(work, rate, m)
    moved = memory_bytes(work) - work.quantise_bytes
    compute = flops(work) * work.effort / rate.flops
    memory = moved / rate.bandwidth
    if rate.cache is not None:
        memory = memory * (1.0 - (1.0 - 1.0 / rate.cached) * cached_share(size=moved, capacity=rate.cache))
    if work.kernel == "vector" and rate.cores is not None:
        taken = moved / rate.cores
        memory = smooth_maximum(a=memory, b=taken, exponent=rate.cores_exponent)
    if work.kernel == "rows":  # all but the first find the matrix in the cache, where its rate is known
        memory = maximum(memory, work.m * held_bytes(work) / (rate.cached * rate.bandwidth))
    if work.weight_bytes is not None:
        packed, in_place = m.efficiency.packed, 1.0 - work.unpacked
        compute, memory = compute / power(packed.compute, in_place), memory / power(packed.memory, in_place)
    if work.accumulate:
        compute = compute / rate.accumulate
    if work.kernel == "convolution":
        compute = compute / m.efficiency.convolution
    busy, tensor = smooth_parts(a=compute, b=memory, exponent=rate.exponent)
    walk = split_walk_time(length=work.k, step=rate.inner_step, split=rate.inner_split)
    tiles = work.batch * maximum(work.m, rate.tile) * work.n
    walk = walk / (1.0 + tiles / rate.wave)
    whole, waited = smooth_parts(a=walk, b=busy, exponent=rate.walk_exponent)
    streamed = whole - waited
    tensor = tensor * streamed / (busy + TINY)
    return latency + quantise + whole, {
        "compute": tensor,
        "memory_bandwidth": quantise + streamed - tensor,
        "kernel_latency": latency + waited,
    }


def _prepared(work: Matmul, rate: MatmulRate, m: Machine) -> tuple[Any, Any]:
    """Starts of a product and of the kernels beside it, and what these take to quantise, cast or unpack [s]."""
    fit = m.efficiency.stream
    start = rate.latency + (work.launches - 1 + work.unpacked) * fit.latency
    if work.launches != 1:  # kernels beside the product, which copy
        copied = fit.passes * work.quantise_bytes / (fit.memory["copy"] * m.bandwidth)
        return start - rate.quantise_latency, _handed(copied, work.quantise_bytes, work.launches - 1, m)
    fused = m.efficiency.fused_quantise and work.kernel != "blocks"
    alone = 0.0 if fused else work.quantise_bytes
    return start - where(greater(alone, 0.0), 0.0, rate.quantise_latency), alone / rate.bandwidth


def attention_seconds(work: Attention, m: Machine) -> Seconds:
    """A fused attention kernel: whole tiles, exponentials, the walk of the longest tile, and a backward of its own.

    Parameters
    ----------
    work : the operator
    m : the machine's rates

    Returns
    -------
    seconds, and the same by resource [s]
    """
    if work.decode:
        return _decode_seconds(work, m)
    fit = m.efficiency.attention
    compute = _attended(work, m, fit.tile)
    memory = memory_bytes(work) / (fit.memory * m.bandwidth)
    busy, tensor = smooth_parts(a=compute, b=memory, exponent=fit.exponent)
    latency = fit.latency
    if not work.backward:  # whose tiles go by keys, and were not measured apart
        tiles = work.sequences * work.heads * ceil(work.queries / fit.tile)
        walk = split_walk_time(length=work.queries, step=fit.walk, split=fit.walk_split)
        latency = latency + tiles * fit.block + walk
    return latency + busy, {"compute": tensor, "memory_bandwidth": busy - tensor, "kernel_latency": latency}


def _decode_seconds(work: Attention, m: Machine) -> Seconds:
    """Few queries against a long cache: its bytes, tiles begun, and the walk of a block along its part of the cache."""
    fit = m.efficiency.attention
    fraction = fit.memory if fit.decode_memory is None else fit.decode_memory
    latency = fit.latency if fit.decode_latency is None else fit.decode_latency
    element = work.element_bytes if work.kv_bytes is None else work.kv_bytes
    begun = work.sequences * work.kv_heads * work.kv_dims * fit.decode_tile * element
    memory = (memory_bytes(work) + begun) / (fraction * m.bandwidth)
    if work.kv_bytes is not None and not m.efficiency.narrow_streams:
        memory = memory / power(fit.decode_narrow, log2(work.element_bytes / work.kv_bytes))
    # the heads that share a key fill the tile
    busy, tensor = smooth_parts(a=_attended(work, m, 1.0), b=memory, exponent=fit.exponent)
    latency = latency + split_walk_time(length=work.keys, step=fit.decode_walk, split=fit.decode_split)
    return latency + busy, {"compute": tensor, "memory_bandwidth": busy - tensor, "kernel_latency": latency}


def _attended(work: Attention, m: Machine, tile: float) -> Any:
    """Seconds of a fused attention kernel's arithmetic, exponentials included."""
    fit = m.efficiency.attention
    done = flash_attention_flops(
        sequences=work.sequences,
        heads=work.heads,
        head_dim=work.head_dim,
        queries=work.queries,
        pairs=work.pairs,
        products=5 if work.backward else 2,
        softmax_dims=fit.softmax_dims,
        tile=tile,
    )
    return done / (fit.compute * (fit.backward if work.backward else 1.0) * m.peak[work.dtype])


def stream_seconds(work: Stream, m: Machine) -> Seconds:
    """A memory-bound kernel: its bytes at the bandwidth that kind of kernel reaches.

    Parameters
    ----------
    work : the operator
    m : the machine's rates

    Returns
    -------
    seconds, and the same by resource [s]
    """
    fit = m.efficiency.stream
    fraction = fit.memory.get(work.kind, fit.memory["copy"])
    passes = 1.0 if work.kind == "optimizer" else fit.passes
    memory, launch = passes * work.bytes / (fraction * m.bandwidth), passes * work.launches * fit.latency
    if work.kind != "optimizer":  # whose tensors nobody has touched since the last step
        memory = _handed(memory, work.bytes, work.launches, m)
    return memory + launch, {"memory_bandwidth": memory, "kernel_latency": launch}


def _handed(seconds: Any, moved: Any, launches: Any, m: Machine) -> Any:
    """Seconds of kernels that find in the cache what the one before has left there, as far as there was room."""
    if m.cache is None:
        return seconds
    found = cached_share(size=moved / maximum(launches, 1), capacity=m.cache)
    return seconds * (1.0 - (1.0 - 1.0 / m.cached) * found)


def transfer_seconds(work: Transfer, m: Machine) -> Seconds:
    """A copy outside the device's memory: its bytes at the rate of its link.

    Parameters
    ----------
    work : the copy
    m : the machine's rates

    Returns
    -------
    seconds, and the same by resource [s]

    Raises
    ------
    InputError
        the machine's rate is unknown
    """
    if work.link not in m.links:
        told = {"storage": 'cluster.replace(storage="3 GB/s")'}.get(work.link, "device.replace(host_link=…)")
        raise InputError(
            f"{work.name}: the bandwidth of the {work.link.replace('_', ' ')} is unknown; give it: {told}"
        )
    seconds = copy_time(payload=work.bytes, bandwidth=m.links[work.link])
    return seconds, {work.link: seconds}
