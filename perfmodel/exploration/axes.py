"""One thing that varies in a sweep: its values as they were given, and as columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perfmodel.exploration.fields import Field
from perfmodel.hardware import Cluster, Device
from perfmodel.model import Model

__all__ = ["Axis", "alike", "named", "varies"]

LOADED: Mapping[str, Any] = {"model": Model, "cluster": Cluster, "device": Device}
"""Whole things that may be given by name."""


@dataclass(frozen=True, eq=False)
class Axis:
    """Values of one field along one dimension of the mesh.

    Parameters
    ----------
    field : what varies
    dimension : along which; several axes lie along that of a table of rows
    given : its values
    """

    field: Field
    dimension: int
    given: Any

    @property
    def name(self) -> str:
        """What it is called."""
        return self.field.name

    def __len__(self) -> int:
        return len(self.given)

    def value(self, position: int) -> Any:
        """One value as a specification takes it: a whole number as int, a name as the thing it names.

        Parameters
        ----------
        position : along the axis [-]
        """
        value = self.given[position]
        if isinstance(value, np.generic):
            value = value.item()
        value = named(self.name, value)
        if self.field.whole and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    @cached_property
    def structural(self) -> bool:
        """Its values are gone through one by one, or a part of them is None."""
        return not self.field.number or bool(self.absent.any())

    @cached_property
    def absent(self) -> Any:
        """Which values are None."""
        if isinstance(self.given, np.ndarray) and self.given.dtype.kind in "biuf":
            return np.zeros(len(self.given), dtype=bool)
        return np.array([value is None for value in self.given], dtype=bool)

    @cached_property
    def shown(self) -> Any:
        """All values as an array: numbers as they were given, things by what they are called."""
        if isinstance(self.given, np.ndarray) and self.given.dtype.kind in "biuf":
            return self.given
        plain = [
            value if isinstance(value, str | bool | int | float | None) else _called(value)
            for value in self.given
        ]
        column = np.array(plain) if plain and all(type(value) is type(plain[0]) for value in plain) else None
        if column is not None and column.dtype.kind in "biuf":
            return column
        if any(isinstance(value, str) for value in plain):  # a column of a file has one type
            plain = [value if value is None else str(value) for value in plain]
        made = np.empty(len(plain), dtype=object)
        made[:] = plain
        return made

    def numbers(self, base: float | None) -> Any:
        """All values as a column; nan is what is no number.

        Parameters
        ----------
        base : what factors ("1.5x") refer to
        """
        if isinstance(self.given, np.ndarray) and self.given.dtype.kind in "iuf":
            return self.given.astype(np.float64)
        read = (self.field.read(value, base) for value in self.given)
        return np.array([np.nan if value is None else value for value in read], dtype=np.float64)

    @cached_property
    def coded(self) -> tuple[list[Any], Any]:
        """Different values of a structure, and which of them each position has; of a number, whether there is one."""
        if self.field.number:
            return [1, None], self.absent.astype(int)
        table: dict[Any, int] = {}
        values: list[Any] = []
        codes = []
        for position, value in enumerate(self.given):
            key = value if isinstance(value, str | int | tuple | float | None) else id(value)
            key = (type(value).__name__, key)
            if key not in table:
                table[key] = len(values)
                values.append(self.value(position))
            codes.append(table[key])
        return values, np.array(codes, dtype=int)


def named(name: str, value: Any) -> Any:
    """A model, cluster or device by its name; anything else as it is.

    Parameters
    ----------
    name : of the axis
    value : as it was given

    Raises
    ------
    UnknownNameError
        nothing is called so; near names are suggested
    """
    return LOADED[name].load(value) if isinstance(value, str) and name in LOADED else value


def _called(value: Any) -> str:
    """What a thing is called: its id or its name; the items of a tuple."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(getattr(value, "id", None) or getattr(value, "name", None) or value)


def varies(value: Any) -> bool:
    """Whether an argument lists values of an axis; a tuple, a name or a specification is one value.

    Parameters
    ----------
    value : as it was given

    Examples
    --------
    >>> varies([1, 2]), varies(range(4)), varies(("dp", "pp")), varies("zero1"), varies(8)
    (True, True, False, False, False)
    """
    if isinstance(value, str | bytes | tuple | Mapping) or not hasattr(value, "__len__"):
        return False
    return isinstance(value, Sequence | np.ndarray) or hasattr(value, "to_numpy")


def alike(axes: Sequence[Axis]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Positions along one dimension that share their structure.

    Parameters
    ----------
    axes : along that dimension

    Yields
    ------
    the structure by name of the axis, and the positions
    """
    structural = [axis for axis in axes if axis.structural]
    if not structural:
        yield {}, np.arange(len(axes[0]))
        return
    code: Any = 0
    for axis in structural:
        code = code * len(axis.coded[0]) + axis.coded[1]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for positions in np.split(order, starts[1:]):
        first = positions[0]
        yield {axis.name: axis.coded[0][axis.coded[1][first]] for axis in structural}, positions
