"""Predictions of measured runs by constants that saw none of their kin: the errors worth publishing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from perfmodel.calibration.runs import Run, as_strangers, counted, even_weights
from perfmodel.calibration.software import Stacks, fit_stacks, held_out, quantiles
from perfmodel.efficiency import Residuals
from perfmodel.errors import unknown
from perfmodel.validation.scores import Report, Score, groups_of

__all__ = [
    "LEFT_OUT",
    "LeftOut",
    "coverage",
    "cross_validate_runs",
    "held_out_report",
    "left_out",
    "log_errors",
    "spreads",
]

Array = npt.NDArray[np.float64]

LeftOut = Literal["group", "generation", "source", "software"]
"""What is left out together: runs that share source, model, hardware and software; a device generation; a source; a
training stack."""

FEW = 12
"""A stack with fewer runs has no errors of its own worth a band: it takes those of all [-]."""

LEFT_OUT: dict[str, Callable[[Run], Any]] = {
    "group": lambda run: run.group,
    "generation": lambda run: run.architecture,
    "source": lambda run: str(run.row["source"]),
    "software": lambda run: run.software,
}


def cross_validate_runs(rows: Iterable[dict[str, Any]], by: str = "group") -> Report:
    """Score training rows by constants that were fitted to all others.

    Parameters
    ----------
    rows : measured runs, in the format of `docs/measurements.md`
    by : what is left out together

    Returns
    -------
    the report, step times only; rows without a prediction are left to `validate`

    Raises
    ------
    UnknownNameError
        nothing of that name can be left out
    """
    if by not in LEFT_OUT:
        raise unknown("what is left out", by, get_args(LeftOut))
    return held_out_report(fit_stacks(counted(rows)), by)


def held_out_report(stacks: Stacks, by: str = "group") -> Report:
    """The same from a fit at hand.

    Parameters
    ----------
    stacks : the fit of all runs
    by : what is left out together
    """
    predicted = left_out(stacks, by)
    pairs = zip(stacks.runs, np.asarray(predicted).tolist(), strict=True)
    return Report(
        [Score(str(run.row["id"]), "step_time", run.seconds, time, groups_of(run.row)) for run, time in pairs]
    )


def left_out(stacks: Stacks, by: str) -> Array:
    """Predictions with what `by` names left out; a stack that is left out whole is run by the default recipe.

    Parameters
    ----------
    stacks : the fit of all runs
    by : what is left out together

    Returns
    -------
    one time a run [s]
    """
    return held_out(stacks, LEFT_OUT[by], as_strangers(stacks.runs))


def log_errors(runs: list[Run], predicted: Array) -> Array:
    """ln(predicted / measured) of every run [-].

    Parameters
    ----------
    runs : measured steps
    predicted : their times [s]
    """
    return np.asarray(np.log(predicted / np.array([run.seconds for run in runs])))


def spreads(runs: list[Run], predicted: dict[str, Array], names: Iterable[str]) -> dict[str, Residuals]:
    """Errors that the band of each stack is made of.

    A stack's next job is none of those that were measured: half of its band is made of the errors of its own runs, half
    of those of all runs. A series of like runs counts as the root of their number.

    Parameters
    ----------
    runs : measured steps
    predicted : held-out times by what was left out, "group" and "software" among them [s]
    names : ids of all sets

    Returns
    -------
    of each stack; of the default set, the errors of stacks that were left out whole
    """
    kin, pull = log_errors(runs, predicted["group"]), even_weights(runs)
    own = np.array([run.software for run in runs])
    found = {name: _of_stack(name, kin, own, pull) for name in names}
    return {**found, "default": quantiles(log_errors(runs, predicted["software"]), pull)}


def coverage(runs: list[Run], predicted: Array, level: float = 0.8) -> float:
    """Share of runs whose measured time lies in the band that runs of other groups make.

    Parameters
    ----------
    runs : measured steps
    predicted : held-out times, each run's group left out [s]
    level : of the band [-]

    Returns
    -------
    share inside, the level where bands are honest [-]
    """
    kin, pull = log_errors(runs, predicted), even_weights(runs)
    own = np.array([run.software for run in runs])
    groups = ["\n".join(run.group) for run in runs]
    inside = 0
    for name in dict.fromkeys(groups):
        here = np.array([one == name for one in groups])
        for stack in dict.fromkeys(own[here].tolist()):
            band = _of_stack(stack, kin[~here], own[~here], pull[~here])
            low, high = band.quantile(0.5 - level / 2), band.quantile(0.5 + level / 2)
            mine = kin[here & (own == stack)]
            inside += int(((mine >= low) & (mine <= high)).sum())
    return inside / len(runs)


def _of_stack(name: str, kin: Array, own: Any, pull: Array) -> Residuals:
    mine = own == name
    if mine.sum() < FEW:
        return quantiles(kin, pull, rows=int(mine.sum()))
    return quantiles(kin, pull * (mine / pull[mine].sum() + 1 / pull.sum()), rows=int(mine.sum()))
