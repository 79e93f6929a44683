"""Answers that need the shape of a schedule in whole numbers, for columns of shapes: each shape is asked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from perfmodel.errors import UnsupportedError
from perfmodel.ops import plain

__all__ = ["Shape", "over_shapes"]

Shape = tuple[int, int, int]
"""Stages, micro-batches, chunks."""


def over_shapes(name: str, shape: tuple[Any, Any, Any], ask: Callable[..., Any], *inputs: Any) -> Any:
    """Ask about a schedule whose shape may be columns.

    Parameters
    ----------
    name : of the schedule, for errors
    shape : stages, micro-batches, chunks: numbers or arrays
    ask : given a shape in whole numbers and the inputs, the answer; arrays hold the configurations of that shape
    *inputs : numbers or arrays over the configurations

    Returns
    -------
    the answer; an array where anything given is one

    Raises
    ------
    UnsupportedError
        a number is a symbol: such schedules have no closed form

    Examples
    --------
    >>> over_shapes("x", (np.array([1, 2, 2]), 4, 1), lambda shape, cost: shape[0] * cost, np.array([1.0, 1.0, 3.0]))
    array([1., 2., 6.])
    """
    given = (*shape, *inputs)
    if any(getattr(value, "free_symbols", None) for value in (*shape, *map(plain, inputs))):
        raise UnsupportedError(
            f"schedule {name} has no closed form, so its shape and costs must be numbers; those with one: 1f1b, "
            f"interleaved-1f1b, gpipe, looped-bfs"
        )
    if not any(isinstance(value, np.ndarray) for value in given):
        return ask(tuple(round(value) for value in shape), *inputs)
    columns = np.broadcast_arrays(*given)
    shapes = np.stack([column.ravel() for column in columns[:3]], axis=1).round().astype(int)
    each, where_from = np.unique(shapes, axis=0, return_inverse=True)
    order = np.argsort(where_from.ravel(), kind="stable")
    starts = np.searchsorted(where_from.ravel()[order], np.arange(1, len(each)))
    found = np.empty(len(shapes))
    for one, here in zip(each.tolist(), np.split(order, starts), strict=True):
        found[here] = ask(tuple(one), *(column.ravel()[here] for column in columns[3:]))
    return found.reshape(columns[0].shape)
