"""Fits the constants of all training stacks to the measured runs, and keeps what is left on runs held out.

Writes `hardware_specs/software/*.yaml` and `tests/golden/held_out.json`: for each run the step time predicted by fits
that saw no run of its group (source, model, hardware, software), of its hardware generation, of its source, of its
software. With `--compare` other ways to fit are tried, too (ten minutes).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sets import written

from perfmodel import Software
from perfmodel.calibration.crossed import LEFT_OUT, coverage, held_out_report, left_out, log_errors, spreads
from perfmodel.calibration.runs import Run, counted
from perfmodel.calibration.software import Stacks, fit_stacks, updated
from perfmodel.efficiency import software
from perfmodel.validation.scores import Report, read_rows

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "tests/golden/measurements/training.jsonl"
SETS = ROOT / "hardware_specs/software"
HELD_OUT = ROOT / "tests/golden/held_out.json"


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "no constants of one software on one architecture": {"scale": {"pair": 0.0}},
    "no constants of an architecture": {"scale": {"architecture": 0.0}},
    "no constants of a software: one typical stack": {"scale": {"software": 0.0, "pair": 0.0}},
    "priors three times as wide": {
        "scale": dict.fromkeys(("typical", "software", "architecture", "pair"), 3.0)
    },
    "priors a third as wide": {
        "scale": dict.fromkeys(("typical", "software", "architecture", "pair"), 1 / 3)
    },
    "every run counts alike": {"weights": "even"},
}
"""Other ways to fit, to see what the way in force is worth."""


def compared(runs: list[Run]) -> dict[str, dict[str, float]]:
    """Median errors of held-out language models by each way to fit."""
    found = {}
    for name, options in VARIANTS.items():
        given = {"weights": np.ones(len(runs))} if "weights" in options else options
        stacks = fit_stacks(runs, **given)
        found[name] = {by: float(f"{report_error(held_out_report(stacks, by)):.4g}") for by in LEFT_OUT}
    return found


def report_error(report: Report) -> float:
    """Median error over language models."""
    error: float = report.summary("step_time")["by_task"]["language models"]["median_error"]
    return error


def main() -> int:
    """Fit, hold out, write."""
    runs = counted(read_rows(RUNS))
    stacks: Stacks = fit_stacks(runs)
    predicted = {name: left_out(stacks, name) for name in LEFT_OUT}
    sets = {}
    for name, spread in spreads(runs, predicted, software()).items():
        own = np.array([name in ("default", run.software) for run in runs])
        errors = log_errors(runs, predicted["software" if name == "default" else "group"])[own]
        sets[name] = updated(stacks, Software.load(name), spread, errors)
        (SETS / f"{name}.yaml").write_text(written(sets[name], "software"), encoding="utf-8")
    predicted["fitted"] = np.array([run.predicted(sets[run.software].fit(run.architecture)) for run in runs])
    rows = {
        str(run.row["id"]): {name: float(f"{times[row]:.5g}") for name, times in predicted.items()}
        for row, run in enumerate(runs)
    }
    before = json.loads(HELD_OUT.read_text(encoding="utf-8")) if HELD_OUT.exists() else {}
    variants = compared(runs) if "--compare" in sys.argv else before.get("variants", {})
    found = {"variants": variants, "coverage": round(coverage(runs, predicted["group"]), 3), "runs": rows}
    HELD_OUT.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    print(f"{len(runs)} runs, {len(software())} sets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
