"""The tables of the bundled software sets in docs/training.md: constants, held-out errors, what recipes set."""

from __future__ import annotations

import math
from typing import Any

from perfmodel import Software, software
from perfmodel.efficiency import SoftwareFit
from perfmodel.units import show

SECONDS = ("launch", "gap", "step")
"""Constants that are times."""


def table() -> str:
    """Two Markdown tables: constants on any architecture with errors of held-out runs, and what the recipes set.

    An error is predicted / measured - 1 of runs that the constants were not fitted to: the median, and the quarters on
    either side of it.
    """
    sets = sorted(map(Software.load, software()), key=lambda one: (one.id != "default", one.id))
    names = [f"`{name}`" for name in SoftwareFit.model_fields]
    constants = _markdown(
        ["set", *names, "median error", "half of all within", "runs"],
        [[f"`{one.id}`", *_constants(one), *_errors(one)] for one in sets],
    )
    recipes = _markdown(
        ["set", "what it is", "its recipe"], [[f"`{one.id}`", one.name, _recipe(one)] for one in sets]
    )
    return f"{constants}\n\n{recipes}"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _constants(one: Software) -> list[str]:
    values = one.constants.model_dump()
    return [
        show(value, "s", 2) if name in SECONDS else f"{round(value, 4):.3g}" for name, value in values.items()
    ]


def _errors(one: Software) -> list[str]:
    if one.residuals is None:
        return ["-", "-", "-"]
    low, middle, high = (_percent(one.residuals.quantile(level)) for level in (0.25, 0.5, 0.75))
    return [middle, f"{low} to {high}", str(one.residuals.rows)]


def _percent(log_error: float) -> str:
    return f"{100 * math.expm1(log_error):+.1f} %"


def _recipe(one: Software) -> str:
    changed = one.recipe.model_dump(exclude_defaults=True)
    return (
        ", ".join(f"`{name}` {_told(value)}" for name, value in changed.items())
        or "as `Training`, `Parallel` have it"
    )


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{inner} with {name}" for name, inner in value.items())
    return (
        ", ".join(value)
        if isinstance(value, tuple | list)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
