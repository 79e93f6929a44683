"""Fits the constants of all inference engines to the measured batches, and keeps what is left on batches held out.

Writes `hardware_specs/engines/*.yaml` and `tests/golden/held_out_inference.json`: for each measured time the one
predicted by fits that saw no batch of its group (source, model, hardware, software, format of the weights), of its
device, of its hardware generation, of its source, of its engine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sets import written

from perfmodel.calibration.batches import counted_batches
from perfmodel.calibration.engines import ENGINES_LEFT_OUT, bands, fit_engines, held_out_values, renewed
from perfmodel.efficiency import Engine, engines
from perfmodel.validation.scores import read_rows

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "tests/golden/measurements/inference.jsonl"
SETS = ROOT / "hardware_specs/engines"
HELD_OUT = ROOT / "tests/golden/held_out_inference.json"


def main() -> int:
    """Fit, hold out, write."""
    batches = counted_batches(read_rows(ROWS))
    found = fit_engines(batches)
    held = {by: held_out_values(found, batches, by) for by in ENGINES_LEFT_OUT}
    for name, band in bands(held["group"], held["software"], engines()).items():
        seen = held["software" if name == "default" else "group"]
        errors = seen.log_errors[(seen.engines == name) | (name == "default")]
        engine = renewed(found, Engine.load(name), band, errors)
        (SETS / f"{name}.yaml").write_text(written(engine, "engine"), encoding="utf-8")
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for index, one in enumerate(held["group"].asked):
        told = {by: float(f"{values.predicted[index]:.4g}") for by, values in held.items()}
        rows.setdefault(str(batches[one.batch].row["id"]), {})[one.metric] = told
    HELD_OUT.write_text(
        json.dumps(rows, separators=(",", ":")).replace('},"', '},\n"') + "\n", encoding="utf-8"
    )
    print(f"{len(batches)} batches and loads, {len(held['group'].asked)} values, {len(engines())} sets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
