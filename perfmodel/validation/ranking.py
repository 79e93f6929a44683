"""Whether predictions put layouts in the right order: Kendall's tau over runs that differ in layout alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.validation.scores import Score

__all__ = ["Ranking", "kendall_tau", "rankings"]

LAYOUT = ("parallel", "micro_batch", "recompute", "recompute_detail")
"""What a layout is in a row; also all that may differ within a series, but for what predictions may not read."""
APART = (*LAYOUT, "measured", "id", "source", "date", "notes", "trust", "flops_convention", "memory_metric")
LEAST = 3
"""Layouts that make a series worth ranking [-]."""


class Ranking(NamedTuple):
    """How well the layouts of one series are ordered.

    Parameters
    ----------
    name : model, hardware and devices
    source : where the runs are published
    layouts : different ones [-]
    tau : Kendall's tau-b between measured and predicted step times [-]
    regret : measured time of the layout that is predicted to be fastest, over the fastest measured one, less one [-]
    """

    name: str
    source: str
    layouts: int
    tau: float
    regret: float


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b: agreement of two orders, ties allowed for.

    Parameters
    ----------
    a, b : values of the same things

    Returns
    -------
    1 where the orders agree, -1 where they are opposite, 0 where one of them is all ties [-]

    References
    ----------
    Kendall (1945), The treatment of ties in ranking problems, doi:10.1093/biomet/33.3.239

    Examples
    --------
    >>> kendall_tau([1, 2, 3], [10, 20, 30]), kendall_tau([1, 2, 3], [3, 2, 1])
    (1.0, -1.0)
    """
    x, y = np.sign(np.subtract.outer(a, a)), np.sign(np.subtract.outer(b, b))
    untied = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / untied) if untied else 0.0


def rankings(rows: Iterable[Mapping[str, Any]], scores: Iterable[Score]) -> list[Ranking]:
    """Series of runs that differ in layout alone, each with the agreement of its orders.

    Parameters
    ----------
    rows : measured runs
    scores : of their step times; a layout that was measured several times counts by the median of its runs

    Returns
    -------
    one entry a series of three layouts and more, the longest first
    """
    scored = {score.id: score for score in scores if score.metric == "step_time"}
    series: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    named: dict[str, tuple[str, str]] = {}
    for row in rows:
        score = scored.get(str(row["id"]))
        if score is None:
            continue
        shared = {key: value for key, value in row.items() if key not in APART}
        key = json.dumps([row.get("source"), shared], sort_keys=True, default=str)
        named[key] = (
            f"{row['model']['name']}, {row['devices']} x {row['hardware']}",
            str(row.get("source")),
        )
        layout = json.dumps({name: row.get(name) for name in LAYOUT}, sort_keys=True, default=str)
        series[key][layout].append(score)
    found = [_ranked(*named[key], layouts) for key, layouts in series.items() if len(layouts) >= LEAST]
    return sorted(found, key=lambda one: -one.layouts)


def _ranked(name: str, source: str, layouts: Mapping[str, list[Score]]) -> Ranking:
    measured = [float(np.median([score.measured for score in scores])) for scores in layouts.values()]
    predicted = [float(np.median([score.predicted for score in scores])) for scores in layouts.values()]
    chosen = measured[int(np.argmin(predicted))]
    return Ranking(name, source, len(layouts), kendall_tau(measured, predicted), chosen / min(measured) - 1)
