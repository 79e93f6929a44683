"""A user's own training runs -> a software set: constants before and after, errors on runs that were left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from perfmodel.calibration.constants import CONSTANTS
from perfmodel.calibration.own import fit_own, moved, one_set, unseen, usable
from perfmodel.calibration.runs import counted, even_weights
from perfmodel.calibration.software_result import SoftwareCalibration
from perfmodel.efficiency import Software

__all__ = ["calibrate_stack"]


def calibrate_stack(rows: Iterable[Mapping[str, Any]]) -> SoftwareCalibration:
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
    runs, skipped = usable(rows, counted)
    start = Software.load(one_set((run.software for run in runs), Software.one_is_called))
    fits = {run.architecture: start.fit(run.architecture) for run in runs}

    def response(row: int, offset: Any) -> Any:
        run = runs[row]
        return np.log(run.predicted(moved(fits[run.architecture], offset, CONSTANTS)))

    left = unseen([run.group for run in runs], range(len(runs)), "source, model, hardware and software")
    own = fit_own(
        response,
        np.array([run.seconds for run in runs]),
        CONSTANTS,
        architectures=[run.architecture for run in runs],
        left_out=left.labels,
        weights=even_weights(runs),
    )
    return SoftwareCalibration.of(
        own,
        start,
        CONSTANTS,
        before=np.log([float(run.predicted(fits[run.architecture])) for run in runs]),
        metrics=["step_time"] * len(runs),
        rows=[run.row for run in runs],
        unseen=left.told,
        skipped=skipped,
    )
