"""Time of one operator from its demands: the roofline, and the smooth form that measured kernels follow."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number, ceil, maximum, power

__all__ = [
    "arithmetic_intensity", "cached_share", "flash_attention_flops", "operator_time", "roofline_time", "smooth_maximum",
    "smooth_parts", "split_walk_time",
]  # fmt: skip

TINY = 1e-300
"""Keeps 0 / 0 at 0: an operator without work takes no time of any kind [s]."""


def arithmetic_intensity(*, flops: Number, memory_bytes: Number) -> Any:
    """Floating-point operations per byte moved.

    .. math:: I = F / B

    Parameters
    ----------
    flops : operations [FLOP]
    memory_bytes : bytes moved through device memory [B]

    Returns
    -------
    intensity [FLOP/B]

    References
    ----------
    Williams, Waterman, Patterson (2009), Roofline: an insightful visual performance model for multicore architectures,
    doi:10.1145/1498765.1498785

    Examples
    --------
    >>> arithmetic_intensity(flops=1e12, memory_bytes=2e9)
    500.0
    """
    return flops / memory_bytes


def roofline_time(*, flops: Number, memory_bytes: Number, peak: Number, bandwidth: Number) -> Any:
    """Least time of an operator on perfect hardware.

    .. math:: t = \\max(F / P,\\; B / W)

    Parameters
    ----------
    flops : operations [FLOP]
    memory_bytes : bytes moved through device memory [B]
    peak : dense peak rate [FLOP/s]
    bandwidth : memory bandwidth [B/s]

    Returns
    -------
    time [s]

    References
    ----------
    Williams, Waterman, Patterson (2009), Roofline: an insightful visual performance model for multicore architectures,
    doi:10.1145/1498765.1498785

    Examples
    --------
    >>> roofline_time(flops=1e12, memory_bytes=2e9, peak=1e15, bandwidth=1e12)
    0.002
    """
    return maximum(flops / peak, memory_bytes / bandwidth)


def smooth_maximum(*, a: Number, b: Number, exponent: Number) -> Any:
    """The p-norm of two times: their larger one where they differ much, more where they tie.

    .. math:: t = (a^p + b^p)^{1/p}

    Parameters
    ----------
    a, b : the two times [s]
    exponent : p; infinity is the maximum, 1 the sum, below 1 softer than a sum [-]

    Returns
    -------
    time [s]

    References
    ----------
    Hardy, Littlewood, Pólya (1934), Inequalities, section 2.9 (the p-norm); its use for kernels is fitted in
    `docs/accuracy.md`

    Examples
    --------
    >>> smooth_maximum(a=3.0, b=4.0, exponent=2.0)
    5.0
    """
    return smooth_parts(a=a, b=b, exponent=exponent)[0]


def smooth_parts(*, a: Number, b: Number, exponent: Number) -> Any:
    """How much of the p-norm of two times each of them accounts for: its elasticity times the whole.

    .. math:: t_a = t\\,\\frac{a^p}{a^p + b^p}, \\qquad t_b = t - t_a, \\qquad t = (a^p + b^p)^{1/p}

    Parameters
    ----------
    a, b : the two times [s]
    exponent : p [-]

    Returns
    -------
    the whole and the part of a; the part of b is the rest [s]

    Notes
    -----
    t is homogeneous of degree one in (a, b), so that by Euler's theorem the parts a dt/da and b dt/db add up to it.

    References
    ----------
    Hardy, Littlewood, Pólya (1934), Inequalities, section 2.9

    Examples
    --------
    >>> smooth_parts(a=3.0, b=4.0, exponent=2.0)
    (5.0, 1.8)
    """
    first = power(a, exponent)
    both = first + power(b, exponent)
    whole = power(both, 1.0 / exponent)
    return whole, whole * (first / (both + TINY))


def operator_time(
    *,
    flops: Number,
    memory_bytes: Number,
    peak: Number,
    bandwidth: Number,
    compute_efficiency: Number,
    memory_efficiency: Number,
    latency: Number,
    exponent: Number,
) -> Any:
    """Time of one kernel, with four constants a device and number format.

    .. math:: t = t_0 + \\left[ \\left(\\frac{F}{e_c P}\\right)^p + \\left(\\frac{B}{e_m W}\\right)^p \\right]^{1/p}

    Parameters
    ----------
    flops : operations [FLOP]
    memory_bytes : bytes moved through device memory [B]
    peak : dense peak rate [FLOP/s]
    bandwidth : memory bandwidth [B/s]
    compute_efficiency : fraction of the peak that large kernels reach [-]
    memory_efficiency : fraction of the bandwidth that long streams reach [-]
    latency : time of an empty kernel [s]
    exponent : sharpness of the roofline's ridge [-]

    Returns
    -------
    time [s]

    Notes
    -----
    Fitted to measured GEMMs of m = 1 … 32768 this reaches 6 to 8 % median error, near the repeatability of the
    measurements; one fixed tile with wave quantisation does worse (`docs/accuracy.md`).

    References
    ----------
    Williams, Waterman, Patterson (2009), doi:10.1145/1498765.1498785, for the two bounds; NVIDIA aiconfigurator 0.12.0
    (Apache-2.0) for the measurements behind the smooth ridge

    Examples
    --------
    >>> operator_time(flops=8e12, memory_bytes=3e9, peak=1e15, bandwidth=3e12, compute_efficiency=0.8,
    ...               memory_efficiency=0.8, latency=3e-6, exponent=2.0)
    0.0100808
    """
    compute = flops / (compute_efficiency * peak)
    memory = memory_bytes / (memory_efficiency * bandwidth)
    return latency + smooth_maximum(a=compute, b=memory, exponent=exponent)


def split_walk_time(*, length: Number, step: Number, split: Number) -> Any:
    """Time of the steps that one tile takes one after the other, where long walks are split among more tiles.

    .. math:: t = \\frac{s\\,k}{1 + k / K}

    Parameters
    ----------
    length : k, of the walk: the inner length of a product, the positions that attention passes [-]
    step : s, for each element of it [s]
    split : K, from which the walk is split more than it grows; its longest time is s K [-]

    Returns
    -------
    time [s]

    Notes
    -----
    It is what small products and short kernels wait for and large ones do not feel: splitting fills a device that has
    too few tiles, and then ends in one more pass over the parts. Without it one latency has to serve inner lengths of
    32 and of 65536, which are a factor of three apart (`docs/accuracy.md`).

    References
    ----------
    Osama et al. (2023), Stream-K: work-centric parallel decomposition for dense matrix-matrix multiplication on the
    GPU, arXiv:2301.03598, sections 3 and 4 (fixed-split and its fix-up); the form is fitted in `docs/accuracy.md`

    Examples
    --------
    >>> split_walk_time(length=1000.0, step=2e-9, split=1000.0)
    1e-06
    """
    return step * length / (1.0 + length / split)


def cached_share(*, size: Number, capacity: Number) -> Any:
    """Share of an operand's bytes that a repeated kernel finds in the cache.

    .. math:: h = \\frac{1}{1 + (n / C)^2}

    Parameters
    ----------
    size : n, bytes that the kernel touches [B]
    capacity : C, of the cache, as far as they may fill it; 0 is none [B]

    Returns
    -------
    share, 1 for what is small and 0 for what is large [-]

    References
    ----------
    The smooth step that the measured products on devices of 96 and 128 MiB of cache follow, see `docs/accuracy.md`;
    why there is one: Hill, Smith (1989), Evaluating associativity in CPU caches, doi:10.1109/12.40842

    Examples
    --------
    >>> cached_share(size=1e6, capacity=1e6)
    0.5
    """
    return capacity * capacity / (capacity * capacity + size * size)


def flash_attention_flops(
    *,
    sequences: Number,
    heads: Number,
    head_dim: Number,
    queries: Number,
    pairs: Number,
    products: Number,
    softmax_dims: Number,
    tile: Number,
) -> Any:
    """Work of a fused attention kernel, counted as the kernel does it: whole tiles, and an exponential a score.

    .. math:: F' = 2\\,c\\,b\\,h\\,(d + d_0)\\,\\left(N + \\tfrac{1}{2} T s\\right), \\qquad s = T \\lceil q/T \\rceil

    Parameters
    ----------
    sequences, heads : of this device [-]
    head_dim : size of one head [-]
    queries : positions that ask [-]
    pairs : (query, key) pairs needed per sequence and head [-]
    products : matrix products a pair takes part in: 2 forward, 5 backward [-]
    softmax_dims : head dimensions that cost as much as one exponential [-]
    tile : positions in one tile of queries [-]

    Returns
    -------
    operations, softmax included in units of multiply-adds [FLOP]

    Notes
    -----
    Half a tile a query row is what a causal mask wastes on its diagonal. Without the softmax term one efficiency can't
    serve head dimensions 64, 128 and 256.

    References
    ----------
    Dao (2023), FlashAttention-2, arXiv:2307.08691, section 3 (tiles and products); Shah et al. (2024),
    FlashAttention-3, arXiv:2407.08608, section 3.2 (cost of the exponential)

    Examples
    --------
    >>> flash_attention_flops(sequences=1, heads=1, head_dim=128, queries=256, pairs=256 * 257 / 2, products=2,
    ...                       softmax_dims=0, tile=128)
    25231360.0
    """
    padded = tile * ceil(queries / tile)
    return 2 * products * sequences * heads * (head_dim + softmax_dims) * (pairs + 0.5 * tile * padded)
