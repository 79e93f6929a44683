"""Predictions against measured runs: one score a row, skipped rows with their reason, summaries by group."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.estimation import TrainingEstimate
from perfmodel.estimation.training import estimate_training
from perfmodel.validation.operators import operator_times
from perfmodel.validation.rows import memory_metric, row_software, training_job
from perfmodel.validation.tables import OPERATOR, read_table

__all__ = ["Report", "Score", "Skipped", "groups_of", "read_rows", "summary", "validate", "validate_rows"]

TIME = "time"
"""The metric of an operator row."""

GROUPS = ("source", "hardware", "family", "software", "scale", "task")
OTHERS = ("bert", "bart", "t5", "vit", "resnet50", "resnext", "lstm", "dlrm")
"""Families that are no language models of the decoder kind."""
SCALES = (
    (1, "1 device"), (8, "2 to 8 devices"), (64, "9 to 64 devices"), (512, "65 to 512 devices"),
    (math.inf, "more than 512 devices"),
)  # fmt: skip
OPERATOR_GROUPS = ("source", "hardware", "op", "dtype", "software")


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
    operator: bool = False

    def lacks(self, metric: str) -> bool:
        """Whether the row would have had this metric."""
        return (metric == TIME) == self.operator


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
        """Over all rows, and by source, hardware, model family (or operator and number format) and software."""
        scores, skipped = self.of(metric), [one for one in self.skipped if one.lacks(metric)]
        found: dict[str, Any] = {"all": summary(scores, skipped)}
        for group in OPERATOR_GROUPS if metric == TIME else GROUPS:
            every: list[Score | Skipped] = [*scores, *skipped]
            names = sorted({one.groups[group] for one in every})
            found[f"by_{group}"] = {
                name: summary(
                    [score for score in scores if score.groups[group] == name],
                    [one for one in skipped if one.groups[group] == name],
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
    efficiency: Efficiency | None = None,
    progress: Callable[..., Any] | None = None,
) -> Report:
    """Score every row of some files.

    Parameters
    ----------
    paths : .jsonl files of runs and .csv files of operators, as in `docs/measurements.md`
    efficiency : fits to use for every row; None takes each device's default
    progress : wraps the rows, like tqdm

    Returns
    -------
    the report
    """
    rows = [row for path in paths for row in read_rows(path)]
    return validate_rows(progress(rows) if progress else rows, efficiency=efficiency)


def validate_rows(rows: Iterable[dict[str, Any]], *, efficiency: Efficiency | None = None) -> Report:
    """Score rows at hand; see `validate`."""
    report = Report()
    operators = []
    for row in rows:
        if row.get("kind") == OPERATOR:  # scored together: thousands of rows are a few arrays
            operators.append(row)
            continue
        groups, notes = groups_of(row), list[str]()
        try:
            scores = _score(row, groups, efficiency, notes)
        except InputError as error:
            # one line: a reason is something to count
            report.skipped.append(Skipped(str(row.get("id")), " ".join(str(error).split()), groups))
            continue
        report.scores.extend(scores)
        if notes:
            report.assumed[str(row.get("id"))] = tuple(notes)
    _score_operators(report, operators, efficiency)
    return report


def _score_operators(report: Report, rows: list[dict[str, Any]], efficiency: Efficiency | None) -> None:
    for row, time in zip(rows, operator_times(rows, efficiency=efficiency), strict=True):
        groups = _operator_groups(row)
        if isinstance(time, str):
            report.skipped.append(Skipped(row["id"], time, groups, operator=True))
        else:
            report.scores.append(Score(row["id"], TIME, row["time_s"], time, groups))


def _operator_groups(row: dict[str, Any]) -> dict[str, str]:
    # the note begins with the library and its version; settings of the single row follow
    software = row.get("software") or str(row.get("note") or "").split(" tokens/rank")[0]
    named = {**row, "hardware": row.get("system"), "software": software}
    return {key: str(named.get(key) or "not stated") for key in OPERATOR_GROUPS}


def groups_of(row: dict[str, Any]) -> dict[str, str]:
    """What a training row is summarised by: source, hardware, model family, software, scale and task.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`

    Examples
    --------
    >>> groups_of({"devices": 384, "model": {"family": "gpt"}, "software": "NeMo"})["scale"]
    '65 to 512 devices'
    """
    model = row.get("model")
    family = model.get("family") if isinstance(model, dict) else None
    named = {"source": row.get("source"), "hardware": row.get("hardware"), "software": row.get("software")}
    found = {key: str(value or "not stated") for key, value in {**named, "family": family}.items()}
    return {
        **found,
        "scale": _scale(row.get("devices")),
        "task": "others" if str(family) in OTHERS else "language models",
    }


def _scale(devices: Any) -> str:
    if not isinstance(devices, int | float) or isinstance(devices, bool):
        return "not stated"
    return next(
        (name for most, name in SCALES if devices <= most), "not stated"
    )  # NaN is no number of devices


def _score(
    row: dict[str, Any], groups: dict[str, str], efficiency: Efficiency | None, notes: list[str]
) -> list[Score]:
    if (row.get("kind") or "training") != "training":
        raise UnsupportedError(f"rows of kind {row['kind']} are not built yet")
    est = _estimated(row, efficiency, notes)
    measured = row.get("measured")
    measured = measured if isinstance(measured, dict) else {}
    pairs = {
        "step_time": (_number(measured.get("step_time_s")), est.step_time),
        "peak_memory": (_gib(measured.get("peak_memory_gib")), est.memory.measured_as(memory_metric(row))),
    }
    predicted = {metric: float(value) for metric, (truth, value) in pairs.items() if truth}
    for metric, value in predicted.items():
        if not (math.isfinite(value) and value > 0):
            raise UnsupportedError(f"the predicted {metric} is {value}, which can't be")
    return [
        Score(str(row.get("id")), metric, pairs[metric][0] or 0.0, value, groups)
        for metric, value in predicted.items()
    ]


def _estimated(row: dict[str, Any], efficiency: Efficiency | None, notes: list[str]) -> TrainingEstimate:
    """The estimate of what the row ran: its layout is evidence, so it is not held against the rules of `Parallel`."""
    try:
        job = training_job(row, notes)
        fits = efficiency or Efficiency.of(job.cluster.device.architecture, row_software(row).id)
        return estimate_training(*job, fits)
    except InputError:
        raise
    except KeyError as missing:
        raise InputError(f"the row lacks {missing}") from None
    except Exception as error:  # one odd row must not cost all others their scores
        raise UnsupportedError(f"can't be read or counted: {type(error).__name__}: {error}") from error


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None


def _gib(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else number * 2**30
