"""The answer to a sweep: columns, the best rows, and why the others are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.errors import InputError, MissingExtraError, unknown
from perfmodel.exploration.answers import EXCEEDS_HOST
from perfmodel.exploration.assembled import Columns
from perfmodel.exploration.pareto import pareto_front
from perfmodel.exploration.plan import Inputs, Plan
from perfmodel.exploration.printed import SHOWN, as_html, as_text, cell
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

    from perfmodel.estimation import Answer

__all__ = ["Row", "Sweep"]

LARGER = ("per_second", "mfu", "hfu", "mbu", "feasible")
"""Results of which more is better, by how their names end or what they have in them."""
FIRST = (
    "step_time", "latency", "ttft", "tpot", "tokens_per_second_per_device", "mfu", "memory.total", "limiter",
)  # fmt: skip
"""Results that are printed, where a sweep has them."""


def better_is_more(name: str) -> bool:
    """Whether more of a result is better; else less is.

    Parameters
    ----------
    name : of a column

    Examples
    --------
    >>> better_is_more("tokens_per_second_per_device"), better_is_more("step_time")
    (True, False)
    """
    return any(word in name for word in LARGER)


class Row(Mapping[str, Any]):
    """One configuration of a sweep: its inputs and results by name.

    Parameters
    ----------
    sweep : that it is of
    place : in the mesh, the last dimension fastest [-]
    """

    def __init__(self, sweep: Sweep, place: int) -> None:
        self._sweep, self.place = sweep, place

    def __getitem__(self, name: str) -> Any:
        value = self._sweep.table[name].ravel()[self.place]
        return value.item() if isinstance(value, np.generic) else value

    def __iter__(self) -> Any:
        return iter(self._sweep.table)

    def __len__(self) -> int:
        return len(self._sweep.table)

    @property
    def inputs(self) -> Inputs:
        """Model, workload, layout, cluster and efficiency of this row."""
        return self._sweep.plan.inputs(self.place)

    def estimate(self) -> Answer:
        """The whole estimate of this row, as `estimate` gives it.

        Raises
        ------
        InputError
            why there is none
        """
        from perfmodel.estimation import estimate

        model, work, layout, cluster, efficiency = self.inputs
        found: Answer = estimate(model, work, layout, cluster, efficiency=efficiency)
        return found

    def why(self) -> str:
        """Why it is not feasible, in whole sentences; nothing where it is."""
        try:
            memory: Any = self.estimate().memory  # type: ignore[attr-defined]  # of every kind of answer
        except InputError as error:
            return str(error)
        if memory.fits:
            return ""
        there = getattr(memory, "available", memory.capacity)
        if memory.total > there:
            return f"memory: {show(memory.total, 'B')} of {show(there, 'B')}"
        return EXCEEDS_HOST

    def __repr__(self) -> str:
        cells = ", ".join(f"{name} {cell(name, self[name])}" for name in self._sweep.headline)
        return f"Row({cells})"


class Sweep:
    """Configurations and what became of them; a part of them is one again.

    Parameters
    ----------
    plan : what was asked
    table : columns over the whole mesh
    rows : places of the rows that are here, in their order; None is all of them
    partial : it was cancelled before all rows were answered
    frame : the data frame that the rows came from
    """

    def __init__(
        self, plan: Plan, table: Columns, rows: Any = None, *, partial: bool = False, frame: Any = None
    ) -> None:
        self.plan, self.table, self.rows = plan, table, rows
        self.partial, self.frame = partial, frame

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows along each dimension: axes of a grid in their order, or one for a list of rows [-]."""
        return self.plan.shape if self.rows is None else (len(self.rows),)

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    @property
    def columns(self) -> Mapping[str, Any]:
        """Arrays by name, of the sweep's shape: inputs, feasible, reason, limiter, and all results."""
        return _Taken(self)

    def __getitem__(self, name: str | int) -> Any:
        """A column by its name, or a row by its place."""
        if isinstance(name, str):
            return self.columns[name]
        here = range(len(self))[name]
        return Row(self, here if self.rows is None else int(self.rows[here]))

    @property
    def feasible(self) -> Sweep:
        """The rows that break no rule and fit into memory."""
        return self.filter(self["feasible"])

    def filter(self, keep: Any) -> Sweep:
        """Some of the rows.

        Parameters
        ----------
        keep : which, an array of the sweep's shape
        """
        places = np.flatnonzero(np.broadcast_to(keep, self.shape).ravel())
        return self.part(places)

    def part(self, places: Any) -> Sweep:
        """The rows at some places of this sweep, in that order.

        Parameters
        ----------
        places : counted through its shape, the last dimension fastest [-]
        """
        rows = places if self.rows is None else self.rows[places]
        return Sweep(self.plan, self.table, rows, partial=self.partial, frame=self.frame)

    @property
    def first(self) -> str:
        """The result that rows are sorted by where nothing else is said: step_time, latency, ttft; "" is none."""
        return next((name for name in self.table.results if name not in ("dp", "limiter")), "")

    def top(self, n: int = 10, by: str | None = None) -> Sweep:
        """The best feasible rows, best first.

        Parameters
        ----------
        n : how many at most [-]
        by : name of a column; of rates and utilisations the largest are best, of everything else the smallest; None is
            `first`
        """
        by = by or self.first
        column = self._column(by).ravel().astype(np.float64)
        places = np.flatnonzero(self["feasible"].ravel() & ~np.isnan(column))
        values = -column[places] if better_is_more(by) else column[places]
        if len(places) > n:
            first = np.argpartition(values, n - 1)[:n]
            limit = values[first].max()
            kept = values <= limit  # ties go by their place
            places, values = places[kept], values[kept]
        return self.part(places[np.argsort(values, kind="stable")[:n]])

    def best(self, by: str | None = None) -> Row:
        """The best feasible row.

        Parameters
        ----------
        by : as of `top`

        Raises
        ------
        InputError
            no row is feasible; it says why, most frequent first
        """
        found = self.top(1, by)
        if not len(found):
            told = "; ".join(
                f"{count:,} x {reason}" for reason, count in list(self.reasons().items())[:SHOWN]
            )
            raise InputError(f"none of {len(self):,} configurations is feasible: {told}")
        row: Row = found[0]
        return row

    def pareto(self, x: str, y: str) -> Sweep:
        """Feasible rows that no other one beats in both of two results, sorted by the first.

        Parameters
        ----------
        x, y : names of columns; the better direction as of `top`

        References
        ----------
        Kung, Luccio, Preparata (1975), On Finding the Maxima of a Set of Vectors, doi:10.1145/321906.321910
        """
        costs = [
            self._column(name).ravel().astype(np.float64) * (-1.0 if better_is_more(name) else 1.0)
            for name in (x, y)
        ]
        here = self["feasible"].ravel() & ~np.isnan(costs[0]) & ~np.isnan(costs[1])
        places = np.flatnonzero(here)
        return self.part(places[pareto_front(*(cost[places] for cost in costs))])

    def _column(self, name: str) -> Any:
        if name not in self.table:
            raise unknown("column", name, self.table)
        return self[name]

    def reasons(self) -> dict[str, int]:
        """Why rows are not feasible, in few words, with how many rows each; most frequent first."""
        named = self.table.reasons
        codes = named.codes.ravel() if self.rows is None else named.codes.ravel()[self.rows]
        counts = np.bincount(codes, minlength=len(named.names))
        found = {name: int(counts[place]) for place, name in enumerate(named.names) if name and counts[place]}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    # --- as a table -----------------------------------------------------------------------------------------------

    def to_frame(self) -> pandas.DataFrame:
        """Rows as a data frame; where they came as one, that frame with columns added.

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frame") from None
        columns = {name: column.ravel() for name, column in self.columns.items()}
        if self.frame is None:
            return pandas.DataFrame(columns)
        frame = self.frame if self.rows is None else self.frame.iloc[self.rows]
        added = {name: column for name, column in columns.items() if name not in frame.columns}
        joined: pandas.DataFrame = pandas.concat([frame, pandas.DataFrame(added, index=frame.index)], axis=1)
        return joined

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write rows to a CSV file, SI numbers as they are.

        Parameters
        ----------
        path : of the file
        """
        self.to_frame().to_csv(path, index=self.frame is not None)

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write rows to a Parquet file.

        Parameters
        ----------
        path : of the file

        Raises
        ------
        MissingExtraError
            pyarrow is not installed
        """
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise MissingExtraError("pyarrow", "parquet") from None
        self.to_frame().to_parquet(path)

    def to_dict(self, n: int | None = None) -> dict[str, Any]:
        """Shape, counts of reasons and rows, ready for JSON: numbers that are none are null.

        Parameters
        ----------
        n : rows at most; None is all of them [-]
        """
        rows = len(self) if n is None else min(n, len(self))
        columns = {name: column.ravel()[:rows].tolist() for name, column in self.columns.items()}
        return {
            "rows": len(self),
            "feasible": int(self["feasible"].sum()),
            "partial": self.partial,
            "reasons": self.reasons(),
            "columns": {name: [_plain(one) for one in column] for name, column in columns.items()},
        }

    # --- printed --------------------------------------------------------------------------------------------------

    @property
    def headline(self) -> list[str]:
        """Columns that are printed: what varies, and the results that come first."""
        inputs = [axis.name for axis in self.plan.axes if len(axis) > 1]
        return [*inputs, *(name for name in FIRST if name in self.table and name not in inputs)]

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


class _Taken(Mapping[str, Any]):
    """Columns of the rows that are here."""

    def __init__(self, sweep: Sweep) -> None:
        self._table, self._rows = sweep.table, sweep.rows

    def __getitem__(self, name: str) -> Any:
        column = self._table[name]
        return column if self._rows is None else column.ravel()[self._rows]

    def __iter__(self) -> Any:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _plain(value: Any) -> Any:
    """A value for JSON, which knows no nan."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
