"""Fits the constants of all training stacks to the measured runs, and keeps what is left on runs held out.

Writes `hardware_specs/software/*.yaml` and `tests/golden/held_out.json`: for each run the step time predicted by fits
that saw no run of its group (source, model, hardware, software), of its hardware generation, of its source.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from perfmodel import Software
from perfmodel.calibration.crossed import LEFT_OUT, coverage, spreads
from perfmodel.calibration.runs import counted
from perfmodel.calibration.software import Stacks, fit_stacks, held_out, updated
from perfmodel.efficiency import software
from perfmodel.validation.scores import read_rows

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "tests/golden/measurements/training.jsonl"
SETS = ROOT / "hardware_specs/software"
HELD_OUT = ROOT / "tests/golden/held_out.json"

FITTED = ("constants", "on", "residual", "residuals")
"""Fields of a set that the fit writes."""


def written(stack: Software) -> str:
    """A set as the text of its file."""
    fields = stack.model_dump(mode="json", exclude_defaults=True)
    fitted = {name: fields.pop(name) for name in FITTED if name in fields}
    if "constants" in fitted:
        fitted["constants"] = stack.constants.model_dump(mode="json")
    head = "# yaml-language-server: $schema=../schema/software.json\n"
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 116}
    kept = yaml.safe_dump(fields, default_flow_style=False, **style)
    lines = [
        yaml.safe_dump({name: value}, default_flow_style=None if isinstance(value, dict) else False, **style)
        for name, value in fitted.items()
    ]
    return head + kept + "".join(lines)


def main() -> int:
    """Fit, hold out, write."""
    runs = counted(read_rows(RUNS))
    stacks: Stacks = fit_stacks(runs)
    predicted = {name: held_out(stacks, group) for name, group in LEFT_OUT.items()}
    sets = {}
    for name, spread in spreads(runs, predicted, software()).items():
        sets[name] = updated(stacks, Software.load(name), spread)
        (SETS / f"{name}.yaml").write_text(written(sets[name]), encoding="utf-8")
    predicted["fitted"] = np.array([run.predicted(sets[run.software].fit(run.architecture)) for run in runs])
    rows = {
        str(run.row["id"]): {name: float(f"{times[row]:.5g}") for name, times in predicted.items()}
        for row, run in enumerate(runs)
    }
    found = {"coverage": round(coverage(runs, predicted["group"]), 3), "runs": rows}
    HELD_OUT.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    print(f"{len(runs)} runs, {len(software())} sets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
