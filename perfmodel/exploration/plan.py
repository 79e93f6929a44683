"""What a sweep goes through: axes on the dimensions of a mesh, grouped by structure, cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError
from perfmodel.estimation import fits_in_force
from perfmodel.exploration.answers import answers_for
from perfmodel.exploration.axes import Axis, alike
from perfmodel.exploration.columns import Block, Named, evaluate
from perfmodel.exploration.machines import changed, held, put, replaced
from perfmodel.exploration.questions import Question, brief
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel

__all__ = ["CHUNK", "Chunk", "Inputs", "Plan"]

CHUNK = 32768
"""Rows evaluated at once: their columns stay in a processor's cache, and calls of NumPy cost little of the time [-]."""

OWNERS = ("work", "layout", "cluster", "efficiency", "whole")


class Inputs(NamedTuple):
    """What `estimate` is given.

    Parameters
    ----------
    model, work, layout, cluster, efficiency : the fits in force among them
    """

    model: Model
    work: Any
    layout: Parallel
    cluster: Cluster
    efficiency: Efficiency


class Chunk(NamedTuple):
    """A part of the mesh, small enough to be sent anywhere: slices of axes, never the rows of a grid.

    Parameters
    ----------
    places : along each dimension, the positions that it holds
    question : to be answered, or why none of its rows can be
    """

    places: tuple[Any, ...]
    question: Question | str

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows along each dimension [-]."""
        return tuple(len(one) for one in self.places)

    @property
    def rows(self) -> int:
        """How many it holds [-]."""
        return math.prod(self.shape)

    def answer(self, columns: Collection[str] | None) -> Block:
        """Its results.

        Parameters
        ----------
        columns : names of results that are wanted; None is all
        """
        if isinstance(self.question, str):
            codes = np.ones((1,) * len(self.places), dtype=np.int16)
            return Block(self.shape, {}, Named(("",), codes * 0), Named(("", self.question), codes))
        return evaluate(self.question, columns)


@dataclass(frozen=True)
class Plan:
    """The whole of a sweep.

    Parameters
    ----------
    model, work, layout, cluster : what all rows share where no axis says otherwise; model and cluster are None where
        one does
    software, efficiency : as in `estimate`
    axes : what varies
    """

    model: Model | None
    work: Any
    layout: Parallel
    cluster: Cluster | None
    software: str | None
    efficiency: Efficiency | Software | None
    axes: tuple[Axis, ...]

    @cached_property
    def dimensions(self) -> tuple[tuple[Axis, ...], ...]:
        """Axes of each dimension: one of a grid, all columns of a table of rows."""
        count = 1 + max(axis.dimension for axis in self.axes)
        return tuple(tuple(axis for axis in self.axes if axis.dimension == place) for place in range(count))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Rows along each dimension [-]."""
        return tuple(len(axes[0]) for axes in self.dimensions)

    def check_names(self) -> None:
        """Refuse names of models, machines and software that nobody knows: such a list is a slip, not a question.

        Raises
        ------
        UnknownNameError
            no such thing; near names are suggested
        """
        named = {axis.name: axis.coded[0] for axis in self.axes if axis.field.owner == "whole"}
        for software in (self.software, *named.get("software", ())):
            if software is not None:
                fits_in_force(self._any_cluster, self.work, software, None)

    @property
    def _any_cluster(self) -> Any:
        return self.cluster or next(axis for axis in self.axes if axis.name == "cluster").value(0)

    def chunks(self, rows: int = CHUNK) -> Iterator[Chunk]:
        """The mesh, in parts of at most so many rows.

        Parameters
        ----------
        rows : at most [-]
        """
        for group in product(*(list(alike(axes)) for axes in self.dimensions)):
            structure = {name: value for part, _ in group for name, value in part.items()}
            for index, numbers, shared in self._group(structure, [positions for _, positions in group], rows):
                yield Chunk(index, shared if isinstance(shared, str) else Question(*shared, numbers))

    def _group(
        self, structure: Mapping[str, Any], positions: Sequence[Any], rows: int
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], Inputs | str]]:
        """Chunks of the rows that share a structure."""
        try:
            shared = self._shared(structure)
        except InputError as error:
            yield from ((index, {}, brief(error)) for index in _cut(positions, rows))
            return
        columns = {
            axis: axis.numbers(self._base(axis, shared))
            for axis in self.axes
            if axis.field.number and structure.get(axis.name, 0) is not None
        }
        for index in _cut(positions, rows):
            yield index, {a.name: _along(column, a.dimension, index) for a, column in columns.items()}, shared

    def _base(self, axis: Axis, shared: Inputs) -> float | None:
        """What factors of an axis refer to."""
        if axis.field.owner == "cluster":
            return held(shared.cluster, axis.name, answers_for(type(shared.work)).dtype(shared.work))
        return held(shared.efficiency, axis.field.path, "") if axis.field.owner == "efficiency" else None

    def _shared(self, structure: Mapping[str, Any]) -> Inputs:
        """Specifications of a group: its structure set, and numbers that will be columns held open."""
        fields = {axis.name: axis.field for axis in self.axes}
        changes: dict[str, dict[str, Any]] = {owner: {} for owner in OWNERS}
        for name, value in structure.items():
            field = fields[name]
            changes[field.owner][field.path] = (
                int(field.stand_in) if field.number and value is not None else value
            )
        return self._of(changes)

    def _of(self, changes: Mapping[str, Mapping[str, Any]]) -> Inputs:
        """Everything that `estimate` is given, changed."""
        whole = changes["whole"]
        cluster: Any = whole.get("cluster", self.cluster)
        if "device" in whole:
            cluster = cluster.replace(device=whole["device"])
        for path, value in changes["cluster"].items():
            cluster = replaced(cluster, path, value)
        work = self.work.replace(**changes["work"]) if changes["work"] else self.work
        layout = self.layout.replace(**changes["layout"]) if changes["layout"] else self.layout
        fits = fits_in_force(
            cluster, work, whole.get("software", self.software), whole.get("efficiency", self.efficiency)
        )
        for path, value in changes["efficiency"].items():
            fits = replaced(fits, path, value)
        return Inputs(whole.get("model", self.model), work, layout, cluster, fits)

    def inputs(self, row: int) -> Inputs:
        """What `estimate` is given for one row, as validated specifications.

        Parameters
        ----------
        row : counted through the mesh, the last dimension fastest [-]

        Raises
        ------
        InputError
            a value is malformed, or there is no such machine
        """
        at = np.unravel_index(row, self.shape)
        changes: dict[str, dict[str, Any]] = {owner: {} for owner in OWNERS}
        late = [
            axis for axis in self.axes if axis.field.number and axis.field.owner in ("cluster", "efficiency")
        ]
        for axis in self.axes:
            if axis not in late:
                changes[axis.field.owner][axis.field.path] = axis.value(int(at[axis.dimension]))
        shared = self._of(changes)
        machine: dict[str, float] = {}
        for axis in late:
            value = axis.field.checked(axis.value(int(at[axis.dimension])), self._base(axis, shared))
            if axis.field.owner == "cluster":
                machine[axis.name] = value
            else:
                shared = shared._replace(efficiency=put(shared.efficiency, axis.field.path, value))
        if not machine:
            return shared
        dtype = answers_for(type(shared.work)).dtype(shared.work)
        return shared._replace(cluster=changed(shared.cluster, machine, dtype))


def _along(column: Any, dimension: int, index: tuple[Any, ...]) -> Any:
    """A chunk's part of a column, along its own dimension."""
    part = column[index[dimension]]
    return part.reshape(*(len(part) if place == dimension else 1 for place in range(len(index))))


def _cut(positions: Sequence[Any], rows: int) -> Iterator[tuple[Any, ...]]:
    """Parts of a mesh of at most so many rows; the last dimensions stay whole as long as they can."""
    left, sizes = rows, []
    for along in reversed(positions):
        sizes.append(max(1, min(len(along), left)))
        left //= sizes[-1]
    parts = [
        [along[start : start + size] for start in range(0, len(along), size)]
        for along, size in zip(positions, reversed(sizes), strict=True)
    ]
    yield from product(*parts)
