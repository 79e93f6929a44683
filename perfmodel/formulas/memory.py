"""Memory of training: model states under sharding, and the published closed forms of activations."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number

__all__ = ["activation_bytes_gpt_layer", "copy_time", "sharded"]


def sharded(*, size: Number, ranks: Number) -> Any:
    """Bytes a rank keeps of a state that is split evenly.

    .. math:: n / p

    Parameters
    ----------
    size : of the whole state [B]
    ranks : data-parallel ranks that share it [-]

    Returns
    -------
    bytes a rank keeps [B]

    References
    ----------
    Rajbhandari et al. (2020), ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv:1910.02054,
    section 5

    Examples
    --------
    >>> sharded(size=16e9, ranks=8)
    2000000000.0
    """
    return size / ranks


def activation_bytes_gpt_layer(
    *, sequence_length: Number, micro_batch: Number, hidden: Number, heads: Number, tp: Number
) -> Any:
    """Activations one GPT layer keeps for backward, 16-bit, dropout on, eager attention, sequence parallelism.

    .. math:: s b h \\left( 34 + 5 \\frac{a s}{h} \\right) / t

    Parameters
    ----------
    sequence_length : tokens of a sequence s [-]
    micro_batch : sequences of one pass b [-]
    hidden : model width h [-]
    heads : attention heads a [-]
    tp : tensor-parallel degree t, sequence parallelism on [-]

    Returns
    -------
    bytes kept by one layer, per device [B]

    References
    ----------
    Korthikanti et al. (2022), Reducing Activation Recomputation in Large Transformer Models, arXiv:2205.05198, eq. 4

    Examples
    --------
    >>> activation_bytes_gpt_layer(sequence_length=2048, micro_batch=1, hidden=12288, heads=96, tp=8)
    358612992.0
    """
    return sequence_length * micro_batch * hidden * (34 + 5 * heads * sequence_length / hidden) / tp


def copy_time(*, payload: Number, bandwidth: Number) -> Any:
    """Time of a long copy between a device and its host, or between the host and its storage.

    .. math:: t = \\frac{n}{B}

    Parameters
    ----------
    payload : bytes copied [B]
    bandwidth : one direction, as far as copies reach it [B/s]

    Returns
    -------
    time [s]

    References
    ----------
    Ren et al. (2021), ZeRO-Offload: Democratizing Billion-Scale Model Training, arXiv:2101.06840, section 4.1

    Examples
    --------
    >>> copy_time(payload=32e9, bandwidth=16e9)
    2.0
    """
    return payload / bandwidth
