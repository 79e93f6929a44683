"""Some rows out of a mesh, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from perfmodel.specs import Spec

__all__ = ["Packed", "every_column"]


class Packed:
    """The rows that stay: dimensions along which rows are left out become one, the others stay open.

    Parameters
    ----------
    rows : which rows stay; dimensions of length 1 are open
    single : one row alone stays, whose entries are taken as plain numbers

    Examples
    --------
    >>> packed = Packed(np.array([[True], [False], [True]]))
    >>> packed.take(np.array([[1.0], [2.0], [3.0]])).tolist(), packed.take(np.array([[7.0, 8.0]])).tolist()
    ([[1.0], [3.0]], [[7.0, 8.0]])
    >>> packed.put(np.array([[5.0, 6.0]]), None, np.nan).tolist()
    [[5.0, 6.0], [nan, nan], [5.0, 6.0]]
    """

    def __init__(self, rows: Any, *, single: bool = False) -> None:
        self.all, self.single = bool(rows.all()), single
        self.lengths = rows.shape
        self.axes = [axis for axis, length in enumerate(rows.shape) if length > 1]
        self.open = [axis for axis, length in enumerate(rows.shape) if length == 1]
        self.full = tuple(length for length in rows.shape if length > 1)
        self.index = np.flatnonzero(rows.ravel())

    def take(self, column: Any) -> Any:
        """A column's entries of these rows: one dimension for them, then the open ones."""
        if self.single:
            number = float(np.broadcast_to(column, self.lengths).ravel()[self.index[0]])
            return int(number) if number.is_integer() else number
        if self.all:
            return column
        column = column.transpose(*self.axes, *self.open)
        rows, rest = column.shape[: len(self.axes)], column.shape[len(self.axes) :]
        if all(length == 1 for length in rows):
            return column.reshape(1, *rest)
        return np.broadcast_to(column, (*self.full, *rest)).reshape(-1, *rest)[self.index]

    def take_all(self, value: Any) -> Any:
        """The same of every column inside a specification."""
        return value if self.all and not self.single else every_column(value, self.take)

    def put(self, value: Any, before: Any, nothing: Any) -> Any:
        """A result at the places of these rows.

        Parameters
        ----------
        value : of these rows
        before : what other rows hold; None is nothing
        nothing : what rows without a result hold
        """
        if self.all:
            return value.reshape((1,) * (len(self.lengths) - value.ndim) + value.shape)
        value = value.reshape((1,) * (1 + len(self.open) - value.ndim) + value.shape)
        if before is None:
            before = np.full((1,) * len(self.lengths), nothing, dtype=value.dtype)
        before = before.transpose(*self.axes, *self.open)
        rest = np.broadcast_shapes(value.shape[1:], before.shape[len(self.full) :])
        out = np.broadcast_to(before, (*self.full, *rest)).reshape(-1, *rest).copy()
        out[self.index] = value
        return out.reshape(*self.full, *rest).transpose(*np.argsort([*self.axes, *self.open]))


def every_column(value: Any, change: Callable[[Any], Any]) -> Any:
    """A specification, or a tuple of them, with every column inside it changed.

    Parameters
    ----------
    value : the specification
    change : what becomes of a column
    """
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, tuple):
        return tuple(every_column(one, change) for one in value)
    if isinstance(value, Spec):
        changed = {name: every_column(one, change) for name, one in value.__dict__.items()}
        return value.model_copy(
            update={name: one for name, one in changed.items() if one is not value.__dict__[name]}
        )
    return value
