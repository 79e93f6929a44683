"""Predictions against measured runs: one score a row, skipped rows with their reason, summaries by group."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError
from perfmodel.validation.groups import groups_of, metrics_of
from perfmodel.validation.operators import operator_times
from perfmodel.validation.predictions import predicted_pairs
from perfmodel.validation.tables import OPERATOR, read_table

__all__ = ["Report", "Score", "Skipped", "groups_of", "read_rows", "summary", "validate", "validate_rows"]

TIME = "time"
"""The metric of an operator row."""


@dataclass(frozen=True)
class Score:
    """One metric of one row."""

    id: str
    metric: str
    measured: float
    predicted: float
    groups: dict[str, str]

    @property
    def error(self) -> float:
        """Predicted over measured, less one [-]."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Skipped:
    """A row without prediction; it counts as a miss."""

    id: str
    reason: str
    groups: dict[str, str]
    metrics: tuple[str, ...] = ("step_time", "peak_memory")
    """What there would have been to predict."""

    def lacks(self, metric: str) -> bool:
        """Whether the row would have had this metric."""
        return metric in self.metrics


@dataclass
class Report:
    """All scores of a validation."""

    scores: list[Score] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    assumed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By the id of a row that was predicted, what had to be assumed or taken as something near."""

    def of(self, metric: str) -> list[Score]:
        """Scores of one metric."""
        return [score for score in self.scores if score.metric == metric]

    @property
    def metrics(self) -> list[str]:
        """Metrics that were scored, in order of appearance."""
        return list(dict.fromkeys(score.metric for score in self.scores))

    def reasons(self) -> dict[str, int]:
        """Why rows were skipped, the commonest reason first."""
        return dict(Counter(one.reason for one in self.skipped).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Rows, skipped rows and summary, as `perfmodel validate --json` writes them."""
        keys = ("id", "metric", "measured", "predicted")
        return {
            "rows": [{key: getattr(score, key) for key in keys} for score in self.scores],
            "skipped": [{"id": one.id, "reason": one.reason} for one in self.skipped],
            "summary": {metric: self.summary(metric) for metric in self.metrics},
        }

    def summary(self, metric: str) -> dict[str, Any]:
        """Over all rows, and by source, hardware, software, and what else is told of rows of this kind."""
        scores, skipped = self.of(metric), [one for one in self.skipped if one.lacks(metric)]
        found: dict[str, Any] = {"all": summary(scores, skipped)}
        every: list[Score | Skipped] = [*scores, *skipped]
        for group in dict.fromkeys(name for one in every for name in one.groups):
            names = sorted({one.groups[group] for one in every if group in one.groups})
            found[f"by_{group}"] = {
                name: summary(
                    [score for score in scores if score.groups.get(group) == name],
                    [one for one in skipped if one.groups.get(group) == name],
                )
                for name in names
            }
        return found


def summary(scores: list[Score], skipped: list[Skipped]) -> dict[str, Any]:
    """Median and 90th percentile of the absolute error, median signed error, coverage.

    Parameters
    ----------
    scores : of one metric
    skipped : rows of the same group without prediction

    Returns
    -------
    rows, skipped, coverage, median_error, p90_error, mean_error, bias; errors null without rows [-]
    """
    errors = np.array([score.error for score in scores])
    rows, out = len(scores), len(skipped)
    found: dict[str, Any] = {"rows": rows, "skipped": out, "coverage": rows / max(rows + out, 1)}
    names = ("median_error", "p90_error", "mean_error", "bias")
    if not rows:
        return found | dict.fromkeys(names)
    size = np.abs(errors)
    values = (np.median(size), np.percentile(size, 90), size.mean(), np.median(errors))
    return found | {name: float(value) for name, value in zip(names, values, strict=True)}


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a .jsonl file of runs or a .csv file of operators; each carries its line for messages.

    Parameters
    ----------
    path : of the file

    Returns
    -------
    the rows

    Raises
    ------
    InputError
        the file is missing, or a line is not a JSON object
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}")
    if file.suffix == ".csv":
        return read_table(file)
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{file}:{number}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(row, dict):
            raise InputError(f"{file}:{number}: a row is a JSON object, not {type(row).__name__}")
        rows.append({"id": f"{file.name}:{number}", **row})
    return rows


def validate(
    paths: Iterable[str | Path],
    *,
    efficiency: Efficiency | Software | None = None,
    progress: Callable[..., Any] | None = None,
) -> Report:
    """Score every row of some files.

    Parameters
    ----------
    paths : .jsonl files of runs and .csv files of operators, as in `docs/measurements.md`
    efficiency : fits to use for every row, or the set of a stack or an engine, which says nothing of operators; None
        takes each device's default
    progress : wraps the rows, like tqdm

    Returns
    -------
    the report
    """
    rows = [row for path in paths for row in read_rows(path)]
    return validate_rows(progress(rows) if progress else rows, efficiency=efficiency)


def validate_rows(
    rows: Iterable[dict[str, Any]], *, efficiency: Efficiency | Software | None = None
) -> Report:
    """Score rows at hand; see `validate`."""
    report = Report()
    operators = []
    for row in rows:
        if row.get("kind") == OPERATOR:  # scored together: thousands of rows are a few arrays
            operators.append(row)
            continue
        groups, notes = groups_of(row), list[str]()
        try:
            pairs = predicted_pairs(row, efficiency, notes)
        except InputError as error:
            # one line: a reason is something to count
            reason = " ".join(str(error).split())
            report.skipped.append(Skipped(str(row.get("id")), reason, groups, metrics_of(row)))
            continue
        report.scores.extend(Score(str(row.get("id")), *pair, groups) for pair in pairs)
        if notes:
            report.assumed[str(row.get("id"))] = tuple(notes)
    _score_operators(report, operators, None if isinstance(efficiency, Software) else efficiency)
    return report


def _score_operators(report: Report, rows: list[dict[str, Any]], efficiency: Efficiency | None) -> None:
    for row, time in zip(rows, operator_times(rows, efficiency=efficiency), strict=True):
        groups = groups_of(row)
        if isinstance(time, str):
            report.skipped.append(Skipped(row["id"], time, groups, metrics_of(row)))
        else:
            report.scores.append(Score(row["id"], TIME, row["time_s"], time, groups))
