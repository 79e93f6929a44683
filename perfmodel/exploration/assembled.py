"""Blocks of results put together as whole columns, each when it is first asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from perfmodel.exploration.answers import EXCEEDS_DEVICE, answers_for
from perfmodel.exploration.columns import ADDED, ESTIMATED, Block, Named
from perfmodel.exploration.plan import Chunk, Plan

__all__ = ["NOT_REACHED", "Columns"]

NOT_REACHED = "not evaluated: the sweep was cancelled"


class Columns(Mapping[str, Any]):
    """Columns of a sweep by name, of the shape of its mesh: inputs first, then results.

    Parameters
    ----------
    plan : of the sweep
    wanted : names of results that were asked for; None is all
    """

    def __init__(self, plan: Plan, wanted: Collection[str] | None = None) -> None:
        self.plan, self.wanted = plan, wanted
        self.parts: list[tuple[tuple[Any, ...], Block]] = []
        self._known: dict[str, Any] = {}

    def add(self, chunk: Chunk, block: Block) -> None:
        """Take in what came back."""
        self.parts.append((chunk.places, block))
        self._known.clear()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.plan.axes)

    @property
    def results(self) -> tuple[str, ...]:
        """Names of results that every sweep of such a workload has, even where no row has any."""
        known = (*answers_for(type(self.plan.work)).metrics, "dp", "limiter")
        return tuple(name for name in known if self.wanted is None or name in self.wanted)

    def __iter__(self) -> Iterator[str]:
        found = (name for _, block in self.parts for name in block.numbers)
        seen = dict.fromkeys((*self.inputs, "feasible", "reason", *self.results, *found))
        return iter(sorted(seen, key=lambda name: "." in name))  # whole results before their parts

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def _made(self, name: str) -> Any:
        match name:
            case "reason":
                return self._told(self.reasons)
            case "limiter":
                return self.limiters.column
            case "feasible":
                return self.reasons.codes == 0
        for axis in self.plan.axes:
            if axis.name == name and not (name in self.results and axis.absent.any()):
                return self._input(axis)  # a dp that is left open is a result
        families = answers_for(type(self.plan.work)).families
        answered = any(name in block.numbers for _, block in self.parts)
        if not answered and name not in self.results and name.partition(".")[0] not in families:
            raise KeyError(name)
        out = np.full(self.plan.shape, np.nan)
        for index, block in self.parts:
            out[_places(index)] = block.numbers[name] if name in block.numbers else self._nothing(name, block)
        return out

    @staticmethod
    def _nothing(name: str, block: Block) -> Any:
        """What a block without such a part holds: no seconds of it."""
        if not name.startswith(ADDED):
            return np.nan
        estimated = [reason in ESTIMATED for reason in block.reason.names]
        return np.where(np.array(estimated)[block.reason.codes], 0.0, np.nan)

    def _input(self, axis: Any) -> Any:
        """An axis as a column: numbers as they were given, other values as what they are called."""
        shape = [1] * len(self.plan.shape)
        shape[axis.dimension] = -1
        return np.broadcast_to(axis.shown.reshape(shape), self.plan.shape)

    @property
    def reasons(self) -> Named:
        """Why rows are not feasible, in few words."""
        return self._joined("reason", "", NOT_REACHED)

    @property
    def limiters(self) -> Named:
        """The limiting resource of each row."""
        return self._joined("limiter", "", "")

    def _joined(self, which: str, *first: str) -> Named:
        """One table of names for all blocks; rows that were not reached have the last of the first names."""
        table = list(dict.fromkeys(first))
        codes = np.full(self.plan.shape, table.index(first[-1]), dtype=np.int16)
        for index, block in self.parts:
            named: Named = getattr(block, which)
            table += [name for name in named.names if name not in table]
            places = np.array([table.index(name) for name in named.names], dtype=np.int16)
            codes[_places(index)] = places[named.codes]
        return Named(tuple(table), codes)

    def _told(self, reasons: Named) -> Any:
        """Reasons as text; where memory lacks, by how much."""
        told = reasons.column
        room = answers_for(type(self.plan.work)).room
        if EXCEEDS_DEVICE in reasons.names and {"memory.total", room} <= set(self):
            rows = reasons.codes == reasons.names.index(EXCEEDS_DEVICE)
            over = (self["memory.total"][rows] - self[room][rows]) / 2**30
            told[rows] = [f"{EXCEEDS_DEVICE} by {gib:.3g} GiB" for gib in over.tolist()]
        return told


def _places(index: tuple[Any, ...]) -> Any:
    """Positions along each dimension as one index of an array: slices where they follow each other."""
    if all(len(one) == one[-1] - one[0] + 1 for one in index):
        return tuple(slice(int(one[0]), int(one[-1]) + 1) for one in index)
    return np.ix_(*index)
