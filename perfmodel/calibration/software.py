"""Constants of training stacks, fitted jointly to measured runs, and what is left on runs that the fit did not see."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.calibration.constants import CONSTANTS, centre, rounded, to_fit
from perfmodel.calibration.hierarchy import Joint, Levels, Response, fit_jointly, refit
from perfmodel.calibration.runs import Run, even_weights
from perfmodel.efficiency import Residuals, Software, SoftwareFit

__all__ = ["Stacks", "fit_stacks", "held_out", "quantiles", "stack_of", "updated"]

Array = npt.NDArray[np.float64]

LOOSE = {"estimate": 5.0}
"""Architectures whose operator fits are ceilings, not measurements, may differ so many times further [-]."""


class Stacks(NamedTuple):
    """A joint fit of all stacks.

    Parameters
    ----------
    runs : that were fitted
    joint : the fit
    """

    runs: list[Run]
    joint: Joint

    def constants(self, software: str | None = None, architecture: str | None = None) -> SoftwareFit:
        """Constants of a stack on an architecture; what is not named is typical.

        Parameters
        ----------
        software : id of its set
        architecture : in lower case
        """
        return to_fit(self.joint.levels.of(self.joint.shares, _membership(software, architecture)))


def _membership(software: str | None, architecture: str | None) -> tuple[Hashable, ...]:
    return (
        "typical",
        ("software", software),
        ("architecture", architecture),
        ("pair", software, architecture),
    )


def stack_of(run: Run) -> tuple[Hashable, ...]:
    """Levels that a run's constants add up from."""
    return _membership(run.software, run.architecture)


def fit_stacks(
    runs: list[Run],
    *,
    scale: Mapping[str, float] | None = None,
    weights: Array | None = None,
    iterations: int = 12,
) -> Stacks:
    """Fit the constants of all stacks to all runs at once.

    Parameters
    ----------
    runs : measured steps
    scale : how many times as wide the priors of a level are made: typical, software, architecture or pair; 0 holds [-]
    weights : of the runs; None evens out series of like runs [-]
    iterations : most times that the derivatives are taken anew [-]

    Returns
    -------
    the fit
    """
    measured_operators = {run.architecture: run.fits for run in runs}

    def width(key: Hashable) -> Array:
        level = key[0] if isinstance(key, tuple) else key
        widths = np.array([getattr(constant.widths, str(level)) for constant in CONSTANTS])
        if isinstance(key, tuple) and level == "architecture":
            fits = measured_operators[key[1]]
            known = fits.architectures and fits.confidence != "estimate"
            widths = widths if known else LOOSE["estimate"] * widths
        return widths * (scale or {}).get(str(level), 1.0)

    levels = Levels([stack_of(run) for run in runs], centre(), width)

    pull = even_weights(runs) if weights is None else weights
    return Stacks(runs, fit_jointly(_response(runs), _seconds(runs), levels, pull, iterations=iterations))


def held_out(stacks: Stacks, group: Callable[[Run], Any], strangers: list[Run] | None = None) -> Array:
    """Predictions of each run by a fit that saw no run of its group.

    Parameters
    ----------
    stacks : the fit of all runs
    group : what is left out together
    strangers : the runs by the default recipe, for those whose whole stack is left out; None takes their own recipe

    Returns
    -------
    one time a run [s]
    """
    runs, joint = stacks.runs, stacks.joint
    found = np.empty(len(runs))
    for inside in _groups(runs, group):
        shares = refit(joint, ~inside)
        known = {run.software for run, out in zip(runs, inside, strict=True) if not out}
        for row in np.flatnonzero(inside):
            run = runs[row]
            asked = run if strangers is None or run.software in known else strangers[row]
            found[row] = asked.predicted(to_fit(joint.levels.of(shares, stack_of(run))))
    return found


def quantiles(log_errors: Array, weights: Array | None = None, *, rows: int | None = None) -> Residuals:
    """Quantiles of log errors, as a stack's set keeps them.

    Parameters
    ----------
    log_errors : ln(predicted / measured) of held-out predictions [-]
    weights : of the runs; None is 1 for all [-]
    rows : runs that count as the stack's own; None is all [-]
    """
    levels = np.array(Residuals.model_fields["levels"].default)
    order = np.argsort(log_errors)
    pull = (np.ones(len(order)) if weights is None else weights)[order]
    reached = (np.cumsum(pull) - pull / 2) / pull.sum()
    values = np.interp(levels, reached, log_errors[order])
    return Residuals(
        rows=len(log_errors) if rows is None else rows,
        log_error=tuple(round(float(value), 4) for value in values),
    )


def updated(stacks: Stacks, stack: Software, band: Residuals, log_errors: Array) -> Software:
    """A stack's set with the constants that were fitted.

    Parameters
    ----------
    stacks : the fit
    stack : its set as it was
    band : quantiles that its band is made of
    log_errors : ln(predicted / measured) of its own runs, held out; of the default set, of all runs [-]

    Returns
    -------
    the set, with constants on any architecture and on each that it was measured on
    """
    name = None if stack.id == "default" else stack.id
    own = [run for run in stacks.runs if name is None or run.software == name]
    on = {run.architecture: rounded(stacks.constants(name, run.architecture)) for run in own}
    size, bias = np.median(np.abs(np.expm1(log_errors))), np.median(np.expm1(log_errors))
    unseen = "each of a stack left out whole" if name is None else "none of a run's own group seen"
    return stack.replace(
        constants=rounded(stacks.constants(name)),
        on=dict(sorted(on.items())),
        residuals=band,
        residual=f"median error {size:.1%}, bias {bias:+.1%} on {len(own)} runs, {unseen}",
    )


def _response(runs: list[Run]) -> Response:
    return lambda row, values: np.log(runs[row].predicted(to_fit(values)))


def _seconds(runs: list[Run]) -> Array:
    return np.array([run.seconds for run in runs])


def _groups(runs: list[Run], group: Callable[[Run], Any]) -> Iterator[npt.NDArray[np.bool_]]:
    """Which runs belong to each group."""
    groups = [group(run) for run in runs]
    for name in dict.fromkeys(groups):
        yield np.array([one == name for one in groups])
