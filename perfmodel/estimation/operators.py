"""Seconds of one operator on one device."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import InputError
from perfmodel.estimation.machine import Machine
from perfmodel.formulas.memory import copy_time
from perfmodel.formulas.roofline import flash_attention_flops, smooth_parts
from perfmodel.work import Attention, Matmul, Stream, Transfer, flops, memory_bytes

__all__ = ["attention_seconds", "matmul_seconds", "stream_seconds", "transfer_seconds"]

Seconds = tuple[Any, dict[str, Any]]


def matmul_seconds(work: Matmul, m: Machine) -> Seconds:
    """A matrix product: the four-constant roofline, after the kernel that quantises its operand where there is one.

    Parameters
    ----------
    work : the operator
    m : the machine's rates

    Returns
    -------
    seconds, and the same by resource [s]
    """
    rate = m.matmul[work.dtype]
    quantise = work.quantise_bytes / rate.bandwidth
    compute = flops(work) * work.effort / rate.flops
    memory = memory_bytes(work) / rate.bandwidth - quantise
    if work.weight_bytes is not None:
        compute, memory = compute / m.efficiency.packed.compute, memory / m.efficiency.packed.memory
    if work.accumulate:
        compute = compute / rate.accumulate
    if work.kernel == "convolution":
        compute = compute / m.efficiency.convolution
    busy, tensor = smooth_parts(a=compute, b=memory, exponent=rate.exponent)
    return rate.latency + quantise + busy, {
        "compute": tensor,
        "memory_bandwidth": quantise + busy - tensor,
        "kernel_latency": rate.latency,
    }


def attention_seconds(work: Attention, m: Machine) -> Seconds:
    """A fused attention kernel: whole tiles, exponentials, and rates of their own backward and in decode.

    Parameters
    ----------
    work : the operator
    m : the machine's rates

    Returns
    -------
    seconds, and the same by resource [s]
    """
    fit = m.efficiency.attention
    tile, fraction, latency = fit.tile, fit.memory, fit.latency
    if work.decode:  # the heads that share a key fill the tile
        tile = 1.0
        fraction = fraction if fit.decode_memory is None else fit.decode_memory
        latency = latency if fit.decode_latency is None else fit.decode_latency
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
    rate = fit.compute * (fit.backward if work.backward else 1.0) * m.peak[work.dtype]
    compute, memory = done / rate, memory_bytes(work) / (fraction * m.bandwidth)
    busy, tensor = smooth_parts(a=compute, b=memory, exponent=fit.exponent)
    return latency + busy, {
        "compute": tensor,
        "memory_bandwidth": busy - tensor,
        "kernel_latency": latency,
    }


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
    return memory + launch, {"memory_bandwidth": memory, "kernel_latency": launch}


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
