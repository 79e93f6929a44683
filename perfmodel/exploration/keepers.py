"""What a search keeps of all it sees: the best rows, or those that no other beats in two results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from perfmodel.exploration.metrics import Metric, Terms
from perfmodel.exploration.pareto import pareto_front

__all__ = ["Front", "Keeper", "Kept", "Leaders", "costs_of"]

MARGIN = 1e-9
"""By how much a least time must be too long, relative: far more than the last bits of two sums differ [-]."""


class Kept(NamedTuple):
    """A row that is kept.

    Parameters
    ----------
    costs : what it is ranked by, less is better
    place : of its structure, and among its layouts; the first of equals stays [-]
    row : inputs and results by name
    """

    costs: tuple[float, ...]
    place: tuple[int, int]
    row: Mapping[str, Any]


class Keeper(Protocol):
    """What is kept, and what can no longer be."""

    kept: list[Kept]
    """Rows so far, best first."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What rows are ranked by."""
        ...

    def beaten(self, costs: Sequence[Any]) -> Any:
        """Which rows could not be kept, if their costs were these or more."""
        ...

    def chosen(self, costs: Sequence[Any]) -> Any:
        """Places of the rows that may be kept, of these and no others."""
        ...

    def add(self, rows: Sequence[Kept]) -> None:
        """Take in some rows."""
        ...


class Leaders:
    """The best rows by one result; of equal ones the first.

    Parameters
    ----------
    objective : what they are ranked by
    size : how many are kept [-]
    """

    def __init__(self, objective: Metric, size: int) -> None:
        self.objective, self.size = objective, size
        self.kept: list[Kept] = []

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What rows are ranked by."""
        return (self.objective,)

    @property
    def bar(self) -> float:
        """What a row has to reach."""
        return self.kept[-1].costs[0] if len(self.kept) == self.size else np.inf

    def beaten(self, costs: Sequence[Any]) -> Any:
        """Which rows could not be kept, if their costs were these or more.

        Parameters
        ----------
        costs : of each row
        """
        return _surely(costs[0], self.objective) > self.bar

    def chosen(self, costs: Sequence[Any]) -> Any:
        """Places of the rows that may be kept, of these and no others; ties go by their place.

        Parameters
        ----------
        costs : of each row
        """
        (cost,) = costs
        places = np.flatnonzero(cost <= self.bar)
        if len(places) > self.size:
            limit = np.partition(cost[places], self.size - 1)[self.size - 1]
            places = places[cost[places] <= limit]
        return places[np.argsort(cost[places], kind="stable")[: self.size]]

    def add(self, rows: Sequence[Kept]) -> None:
        """Take in some rows.

        Parameters
        ----------
        rows : that may be kept
        """
        self.kept = _ranked(self.kept, rows)[: self.size]


class Front:
    """Rows that no other row beats in both of two results; of equal ones the first.

    Parameters
    ----------
    x, y : the results
    """

    def __init__(self, x: Metric, y: Metric) -> None:
        self.x, self.y = x, y
        self.kept: list[Kept] = []

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What rows are ranked by."""
        return (self.x, self.y)

    def beaten(self, costs: Sequence[Any]) -> Any:
        """Which rows could not be kept, if their costs were these or more.

        Parameters
        ----------
        costs : of each row, by x and by y
        """
        pairs = zip(np.broadcast_arrays(*costs), self.metrics, strict=True)
        x, y = (_surely(cost, one) for cost, one in pairs)
        if not self.kept or not any(one.timed for one in self.metrics):
            return np.zeros(x.shape, dtype=bool)
        front = np.array([one.costs for one in self.kept])  # by growing x, so y falls
        before = np.searchsorted(front[:, 0], x, side="right") - 1
        return (before >= 0) & (front[before, 1] <= y)

    def chosen(self, costs: Sequence[Any]) -> Any:
        """Places of the rows that no other one of these beats.

        Parameters
        ----------
        costs : of each row, by x and by y
        """
        return pareto_front(*np.broadcast_arrays(*costs))

    def add(self, rows: Sequence[Kept]) -> None:
        """Take in some rows.

        Parameters
        ----------
        rows : that may be kept
        """
        every = _ranked(self.kept, rows)
        if every:
            places = pareto_front(*np.array([one.costs for one in every]).T)
            self.kept = [every[place] for place in places.tolist()]


def _ranked(*several: Sequence[Kept]) -> list[Kept]:
    """Rows without repetitions, best first."""
    once = {one.place: one for rows in several for one in rows}
    return sorted(once.values(), key=lambda one: (one.costs, one.place))


def _surely(cost: Any, by: Metric) -> Any:
    """A least cost, less what its last bits may be wrong by."""
    return cost - MARGIN * np.abs(cost) if by.timed else cost


def costs_of(metrics: Sequence[Metric], est: Any, terms: Terms) -> tuple[Any, ...]:
    """What rows are ranked by, less is better.

    Parameters
    ----------
    metrics : of the keeper
    est, terms : what they are read from
    """
    return tuple(one.cost(est, terms) for one in metrics)
