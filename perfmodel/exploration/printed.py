"""A sweep as a short table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol, Self

import numpy as np

from perfmodel.exploration.plan import Plan
from perfmodel.units import show

__all__ = ["SHOWN", "Printed", "as_html", "as_text", "cell", "lined", "tabled", "told"]

SHOWN = 5
"""Rows and reasons that are printed [-]."""
LARGE = 1e6
"""From here on whole numbers are printed as others are [-]."""
UNITS: dict[str, Any] = {"time": "s", "ttft": "s", "tpot": "s", "latency": "s", "total": "B", "capacity": "B"}


class Printed(Protocol):
    """What a sweep shows of itself to those who print it."""

    plan: Plan
    partial: bool
    rows: Any

    @property
    def first(self) -> str:
        """The result that rows are sorted by; empty where there is none."""

    @property
    def headline(self) -> list[str]:
        """Columns that are printed."""

    def reasons(self) -> dict[str, int]:
        """Why rows are not feasible, with how many rows each."""

    def part(self, places: Any) -> Self:
        """Some of the rows."""

    def top(self, n: int = 10) -> Self:
        """The best rows."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any) -> Any: ...


def as_text(sweep: Printed) -> str:
    """A sweep in a few lines: how many rows, the best of them, and why others are not feasible.

    Parameters
    ----------
    sweep : to be printed
    """
    words, part = _shown(sweep)
    lines = [_title(sweep)]
    if len(part):
        lines += [f"{words}:", *lined([sweep.headline, *_cells(part)])]
    failed = told(sweep.reasons())
    return "\n".join([*lines, *(["not feasible:"] if failed else []), *(f"  {line}" for line in failed)])


def as_html(sweep: Printed) -> str:
    """The same for a notebook.

    Parameters
    ----------
    sweep : to be shown
    """
    words, part = _shown(sweep)
    failed = "".join(f"<li>{escape(line)}</li>" for line in told(sweep.reasons()))
    return f"<p>{escape(_title(sweep))}</p>{tabled(words, sweep.headline, _cells(part))}" + (
        f"<p>not feasible:</p><ul>{failed}</ul>" if failed else ""
    )


def lined(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, columns below each other.

    Parameters
    ----------
    table : the head first

    Examples
    --------
    >>> lined([["tp", "pp"], ["8", "16"]])
    ['  tp  pp', '   8  16']
    """
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return ["  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in table]


def tabled(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as HTML.

    Parameters
    ----------
    caption : what the rows are
    head, rows : cells
    """
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><tr>{names}</tr>{body}</table>"


def told(reasons: Mapping[str, int]) -> list[str]:
    """The first reasons with their counts, and how many more there are.

    Parameters
    ----------
    reasons : most frequent first

    Examples
    --------
    >>> told({"tp does not divide the attention heads": 1200})
    ['1,200 x tp does not divide the attention heads']
    """
    first = [f"{count:,} x {reason}" for reason, count in list(reasons.items())[:SHOWN]]
    return first + ([f"… and {len(reasons) - SHOWN} further reasons"] if len(reasons) > SHOWN else [])


def _title(sweep: Printed) -> str:
    varied = [" and ".join(axis.name for axis in axes) for axes in sweep.plan.dimensions if len(axes[0]) > 1]
    axes = " x ".join(varied) or "nothing varies"
    named = axes if len(axes) < 100 else f"{len(sweep.plan.axes)} axes"
    cut = ", cancelled before its end" if sweep.partial else ""
    return f"{len(sweep):,} configurations ({named}), {int(sweep['feasible'].sum()):,} feasible{cut}"


def _shown(sweep: Printed) -> tuple[str, Printed]:
    """Rows that are printed, and what they are."""
    if sweep.rows is not None or not sweep.first:
        return "first rows", sweep.part(np.arange(min(SHOWN, len(sweep))))
    return f"best by {sweep.first}", sweep.top(SHOWN)


def _cells(part: Printed) -> list[list[str]]:
    return [[cell(name, row[name]) for name in part.headline] for row in (part[n] for n in range(len(part)))]


def cell(name: str, value: Any) -> str:
    """A value as it is printed.

    Parameters
    ----------
    name : of its column, which says its unit
    value : in SI units
    """
    if isinstance(value, bool | str) or value is None:
        return str(value)
    unit = next((unit for word, unit in UNITS.items() if name.endswith(word)), None)
    if unit is not None:
        return show(float(value), unit)
    plain = isinstance(value, int) or (value.is_integer() and abs(value) < LARGE)
    return f"{value:,.0f}" if plain else f"{value:,.4g}"
