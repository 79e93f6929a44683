"""A user's own training runs -> a software set: constants before and after, errors on runs that were left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.calibration.fitting import Spread, spread
from perfmodel.calibration.result import saved
from perfmodel.calibration.runs import counted
from perfmodel.calibration.software import fit_stack, quantiles
from perfmodel.efficiency import Software, SoftwareFit
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.units import show

__all__ = ["StackCalibration", "calibrate_stack"]

FEWEST = 8
"""Runs that make errors of their own worth a band [-]."""
SECONDS = ("launch", "gap", "step")
"""Constants that are times."""


@dataclass(frozen=True)
class StackCalibration:
    """A software set made from measured steps, and how.

    Parameters
    ----------
    software : the new set
    start : the set it began with
    runs : measured steps that were fitted [-]
    before : errors with the constants it began with
    held : errors on groups of runs that the fit did not see
    skipped : rows without a prediction [-]
    """

    software: Software
    start: Software
    runs: int
    before: Spread
    held: Spread
    skipped: int

    def save(self, path: str | Path) -> Software:
        """Write the set as a YAML file that `Software.load` reads; its id becomes the name of the file.

        Parameters
        ----------
        path : of the file, ending in .yaml

        Returns
        -------
        the set as it was written
        """
        return saved(self.software, "software", path)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as `perfmodel calibrate --json` prints it."""
        return {
            "software": self.software.model_dump(mode="json"),
            "start": self.start.id,
            "runs": self.runs,
            "skipped": self.skipped,
            "before": self.before._asdict(),
            "held": self.held._asdict(),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.software.name} ({self.software.id})"
        sizes = " -> ".join(f"{one.median:.1%} / {one.p90:.1%}" for one in (self.before, self.held))
        yield f"\n{self.runs} runs, median / 90th percentile error, left out by group: {sizes}"
        for name in SoftwareFit.model_fields:
            old, new = (_shown(name, getattr(each.constants, name)) for each in (self.start, self.software))
            yield f"  {name:<16}{old:>12} -> {new}"
        if self.skipped:
            yield f"\n{self.skipped} rows not used: no prediction or no measured time"


def calibrate_stack(rows: Iterable[Mapping[str, Any]]) -> StackCalibration:
    """Fit the constants of the stack that some measured steps ran on.

    Parameters
    ----------
    rows : training rows of one stack, in the format of `docs/measurements.md`

    Returns
    -------
    the calibration; printed, it is a report

    Raises
    ------
    InputError
        no row can be used
    UnsupportedError
        the rows are those of several stacks
    """
    given = [dict(row) for row in rows]
    runs = counted(given)
    if not runs:
        raise InputError(
            "no row has both a measured step_time_s and a prediction; perfmodel validate says why"
        )
    stacks = sorted({run.software for run in runs})
    if len(stacks) > 1:
        raise UnsupportedError(f"the runs are those of {', '.join(stacks)}: calibrate one stack at a time")
    start = Software.load(stacks[0])
    constants, left_out = fit_stack(runs, start.constants)
    measured = np.array([run.seconds for run in runs])
    before = np.array([run.predicted(start.fit(run.architecture)) for run in runs])
    errors = np.log(left_out / measured)
    changed = start.replace(
        id=f"{start.id}-calibrated",
        name=f"{start.name}, calibrated",
        aliases=(),
        constants=constants,
        on={},
        residuals=quantiles(errors) if len(runs) >= FEWEST else start.residuals,
        residual=f"fitted to {len(runs)} runs",
        sources=tuple(dict.fromkeys(f"fitted to: {run.row.get('source', 'own runs')}" for run in runs)),
        notes=f"Began with {start.id}. {start.notes}".strip(),
    )
    log_before = np.log(before / measured)
    return StackCalibration(
        changed, start, len(runs), spread(log_before), spread(errors), len(given) - len(runs)
    )


def _shown(name: str, value: float) -> str:
    return show(value, "s") if name in SECONDS else f"{value:.3g}"
