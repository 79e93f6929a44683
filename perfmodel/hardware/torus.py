"""Shapes of the slices that a torus of devices is cut into, and which of their axes close to a ring.

A 2D torus (TPU v2, v3, v5e, v6e; Trainium) has fixed wiring: an axis is a ring only where the slice spans the whole
pod along it. A 3D torus (TPU v4, v5p, 7x) is built of cubes of 4 × 4 × 4 that optical switches join: a slice of whole
cubes is a ring along every axis, a smaller one along none. Source: Austin et al. (2025), How to Scale Your Model,
jax-ml/scaling-book tpus.md; https://docs.cloud.google.com/tpu/docs/v5p.
"""

from __future__ import annotations

from math import isqrt

__all__ = ["closed_axes", "open_box", "slice_shape"]

CUBE = 4
"""Side of the cubes that optical switches join [-]."""


def slice_shape(chips: int, axes: int, pod: int) -> tuple[int, ...] | None:
    """The most cube-like slice with so many chips.

    Parameters
    ----------
    chips : in the slice [-]
    axes : of the torus, 1 to 3 [-]
    pod : chips of the largest torus [-]

    Returns
    -------
    devices along each axis, or None where no such slice exists [-]

    Examples
    --------
    >>> slice_shape(512, 3, 8960), slice_shape(192, 3, 8960), slice_shape(128, 2, 256), slice_shape(7, 2, 256)
    ((8, 8, 8), (4, 4, 12), (8, 16), None)
    """
    if chips > pod:
        return None
    if axes == 1:
        return (chips,)
    if axes == 2:
        shapes = [(a, chips // a) for a in _divisors(chips) if a * a <= chips]
        shapes = [
            (a, b) for a, b in shapes if all(x % y == 0 for x, y in zip(_sides(pod), (a, b), strict=True))
        ]
        return max(shapes, default=None)
    cubes, rest = divmod(chips, CUBE**3)
    if rest:
        return {1: (1, 1, 1), 2: (1, 1, 2), 4: (1, 2, 2), 8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4)}.get(
            chips
        )
    a, b, c = min(_boxes(cubes), key=sum)
    return CUBE * a, CUBE * b, CUBE * c


def closed_axes(shape: tuple[int, ...], pod: int) -> tuple[bool, ...]:
    """Which axes of a slice are rings.

    Parameters
    ----------
    shape : devices along each axis [-]
    pod : chips of the largest torus [-]

    Examples
    --------
    >>> closed_axes((8, 16), 256), closed_axes((4, 4, 8), 8960), closed_axes((2, 4, 4), 8960)
    ((False, True), (True, True, True), (False, False, False))
    """
    if len(shape) == 3:
        return (all(side % CUBE == 0 for side in shape),) * 3
    full = (pod,) if len(shape) == 1 else _sides(pod)
    return tuple(side == most and side > 2 for side, most in zip(shape, full, strict=True))


def open_box(chips: int, axes: int) -> tuple[int, ...]:
    """The most cube-like box of so many chips, whether or not a pod is ever cut so.

    Parameters
    ----------
    chips : in the box [-]
    axes : of the torus, 1 to 3 [-]

    Examples
    --------
    >>> open_box(24, 3), open_box(24, 2), open_box(7, 2)
    ((2, 3, 4), (4, 6), (1, 7))
    """
    if axes == 1:
        return (chips,)
    if axes == 2:
        return _sides(chips)
    return min(_boxes(chips), key=sum)


def _sides(pod: int) -> tuple[int, int]:
    """Sides of a pod, as square as it can be."""
    short = max(side for side in _divisors(pod) if side * side <= pod)
    return short, pod // short


def _boxes(volume: int) -> list[tuple[int, int, int]]:
    """Every box of whole sides with a volume, sides in ascending order."""
    return [
        (a, b, volume // (a * b))
        for a in _divisors(volume)
        for b in _divisors(volume // a)
        if a <= b <= volume // (a * b)
    ]


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
