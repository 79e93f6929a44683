"""Robust least squares on the logarithm of time: the one fit that every calibration uses.

All constants are positive and fitted as logarithms, so that a step is a percentage; so are the errors. An outlier pulls
with a bounded force (soft L1), and a prior pulls each constant towards its start, so that data which say nothing of a
constant leave it where it was.

>>> import numpy as np
>>> size = np.array([1e3, 1e4, 1e5, 1e6])
>>> found = fit(lambda c: c[0] + size / c[1], 2e-6 + size / 1e12, [1e-6, 2e12], lower=[1e-7, 1e11], upper=[1e-5, 1e13])
>>> [float(f"{value:.3g}") for value in found.values]
[2e-06, 1000000000000.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError, MissingExtraError

__all__ = ["Fitted", "Spread", "cross_validate", "fit", "spread"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Values = Sequence[float] | Array
Predict = Callable[[Array], Array]

NOISE = 0.05
"""Log error at which a row begins to count as an outlier, and against which priors are weighed [-]."""

EDGE = 1e-4
"""A constant this near to its bound, as a logarithm, has run into it [-]."""

TINY = 1e-300
"""Keeps a logarithm and a quotient finite."""


class Fitted(NamedTuple):
    """What a fit found.

    Parameters
    ----------
    values : the constants, in their own units
    errors : standard error of each, in its unit; not a number where it was held or ran into a bound
    residuals : log of predicted over measured, one a row [-]
    jacobian : change of log predicted by log constant, one row a measurement and one column a constant [-]
    at_bound : which constants ran into a bound
    """

    values: Array
    errors: Array
    residuals: Array
    jacobian: Array
    at_bound: Mask


class Spread(NamedTuple):
    """How far predictions are off.

    Parameters
    ----------
    rows : how many [-]
    median, p90 : median and 90th percentile of the absolute relative error [-]
    bias : median signed relative error [-]
    """

    rows: int
    median: float
    p90: float
    bias: float


def spread(residuals: Array) -> Spread:
    """Sizes of relative errors.

    Parameters
    ----------
    residuals : log of predicted over measured [-]

    Returns
    -------
    their median, 90th percentile and bias

    Examples
    --------
    >>> spread(np.log([1.1, 0.9, 1.0]))
    Spread(rows=3, median=0.1, p90=0.1, bias=0.0)
    """
    if not len(residuals):
        return Spread(0, float("nan"), float("nan"), float("nan"))
    errors = np.expm1(residuals)
    size = np.abs(errors)
    return Spread(
        len(errors), float(np.median(size)), float(np.percentile(size, 90)), float(np.median(errors))
    )


def fit(
    predict: Predict,
    measured: Values,
    start: Values,
    *,
    lower: Values,
    upper: Values,
    prior_width: float | Values = np.inf,
    weights: Values | None = None,
    noise: float = NOISE,
) -> Fitted:
    """Constants that bring predictions nearest to measurements.

    .. math:: \\min_c \\sum_i w_i\\,\\rho\\!\\left(\\frac{\\log \\hat t_i(c) - \\log t_i}{\\sigma}\\right)
        + \\sum_j \\left(\\frac{\\log c_j - \\log c_j^0}{s_j}\\right)^2, \\qquad \\rho(r) = 2(\\sqrt{1 + r^2} - 1)

    Parameters
    ----------
    predict : constants, in their own units -> a time for each row [s]
    measured : the times [s]
    start : first guess and centre of the priors, in the constants' units
    lower, upper : bounds, in the same units, above 0; equal ones hold a constant where it is
    prior_width : how far a constant may go from its start, as a logarithm; infinite is no prior [-]
    weights : of the rows; a row of weight 0 has a residual, but no say; None is 1 for all [-]
    noise : log error at which a row begins to count as an outlier [-]

    Returns
    -------
    constants with their errors

    Raises
    ------
    InputError
        no rows, times or bounds that are not positive, or a prediction that is none

    References
    ----------
    Huber (1964), Robust estimation of a location parameter, doi:10.1214/aoms/1177703732; Triggs et al. (2000), Bundle
    adjustment, section 4.3 (robust weights in the covariance)
    """
    problem = _problem(predict, measured, start, lower, upper, prior_width, weights, noise)
    logs = problem.centre
    jacobian = np.zeros((len(problem.truth), 0))
    if problem.free.any():
        logs = _best(problem)
        jacobian = _jacobian(problem.residuals, logs)
    return _told(problem, logs, problem.residuals(logs), jacobian)


def cross_validate(
    predict: Predict, measured: Values, start: Values, *, groups: Sequence[Any], **options: Any
) -> Array:
    """Residuals of rows that the fit did not see: one fit for each group that is left out.

    Parameters
    ----------
    predict, measured, start : as for `fit`
    groups : which group each row belongs to
    options : bounds, priors, weights and noise, as for `fit`

    Returns
    -------
    log of predicted over measured, one a row [-]

    Examples
    --------
    >>> size = np.array([1.0, 2.0, 3.0, 4.0])
    >>> left = cross_validate(lambda c: size / c[0], size / 5, [4.0], groups=[0, 0, 1, 1], lower=[1], upper=[9])
    >>> bool(np.abs(left).max() < 1e-6)
    True
    """
    names = np.asarray([str(group) for group in groups])
    given = options.pop("weights", None)
    weights = np.ones(len(names)) if given is None else np.asarray(given, float)
    left = np.empty(len(names))
    for group in np.unique(names):
        held = names == group
        seen = fit(predict, measured, start, weights=np.where(held, 0.0, weights), **options)
        left[held] = seen.residuals[held]
    return left


@dataclass(frozen=True)
class _Problem:
    """A fit in logarithms: only constants that are free to move, with their centres, bounds and priors."""

    predict: Predict
    truth: Array
    fixed: Array
    free: Mask
    low: Array
    high: Array
    width: Array
    weight: Array
    noise: float

    @property
    def centre(self) -> Array:
        return self.fixed[self.free]

    def every(self, logs: Array) -> Array:
        """Logarithms of all constants, those that are held included."""
        logs_of_all = self.fixed.copy()
        logs_of_all[self.free] = logs
        return logs_of_all

    def residuals(self, logs: Array) -> Array:
        constants = np.exp(self.every(logs))
        predicted = np.asarray(self.predict(constants), float)
        if not np.all(predicted[self.weight > 0] > 0):
            raise InputError(f"a prediction is not a positive time at the constants {constants}")
        return np.asarray(np.log(np.maximum(predicted, TINY)) - np.log(self.truth))


def _problem(  # noqa: PLR0917  # what `fit` was given
    predict: Predict,
    measured: Values,
    start: Values,
    lower: Values,
    upper: Values,
    prior_width: float | Values,
    weights: Values | None,
    noise: float,
) -> _Problem:
    truth, first = np.asarray(measured, float), np.asarray(start, float)
    least, most = np.broadcast_to(lower, first.shape), np.broadcast_to(upper, first.shape)
    weight = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    if not np.any(weight > 0):
        raise InputError("there are no rows to fit to")
    if not np.all(np.isfinite(truth) & (truth > 0)):
        raise InputError("measured times must be finite and above 0 s")
    if not np.all((first > 0) & (least > 0) & (most >= least)):
        raise InputError(
            "constants are fitted as logarithms: start and bounds above 0, lower not above upper"
        )
    free = least < most
    width = np.broadcast_to(np.asarray(prior_width, float), first.shape)[free]
    fixed = np.log(np.clip(first, least, most))
    return _Problem(
        predict, truth, fixed, free, np.log(least[free]), np.log(most[free]), width, weight, noise
    )


def _best(problem: _Problem) -> Array:
    """The logarithms of least loss: soft L1 for rows, plain squares for priors."""
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise MissingExtraError("scipy", "fit") from None
    rows, weight = len(problem.truth), problem.weight

    def parts(logs: Array) -> Array:
        return np.concatenate(
            [problem.residuals(logs) / problem.noise, (logs - problem.centre) / problem.width]
        )

    def loss(squares: Array) -> Array:
        """Value, first and second derivative."""
        root = np.sqrt(1 + squares[:rows])
        of_rows = np.stack([2 * (root - 1), 1 / root, -0.5 / root**3]) * weight
        priors = squares[rows:]
        return np.hstack([of_rows, np.stack([priors, np.ones_like(priors), np.zeros_like(priors)])])

    low, high = problem.low, problem.high
    inside = np.clip(problem.centre, low + EDGE * (high - low), high - EDGE * (high - low))
    found = least_squares(parts, inside, bounds=(low, high), loss=loss, xtol=1e-10, ftol=1e-10)
    return np.asarray(found.x)


def _jacobian(residuals: Callable[[Array], Array], logs: Array, step: float = 1e-5) -> Array:
    """Change of each residual by each logarithm, by central differences."""
    columns = [
        (residuals(logs + step * one) - residuals(logs - step * one)) / (2 * step)
        for one in np.eye(len(logs))
    ]
    return np.stack(columns, axis=1)


def _told(problem: _Problem, logs: Array, left: Array, jacobian: Array) -> Fitted:
    """The answer in the constants' own units, with those that were held."""
    shape = problem.fixed.shape
    pinned = (logs - problem.low < EDGE) | (problem.high - logs < EDGE)
    at_bound, errors, columns = np.zeros(shape, bool), np.full(shape, np.nan), np.zeros((len(left), *shape))
    at_bound[problem.free], columns[:, problem.free] = pinned, jacobian
    moving = np.flatnonzero(problem.free)[~pinned]
    errors[moving] = _standard_errors(problem, left, jacobian[:, ~pinned], problem.width[~pinned])
    values = np.exp(problem.every(logs))
    return Fitted(values, values * errors, left, columns, at_bound)


def _standard_errors(problem: _Problem, left: Array, jacobian: Array, width: Array) -> Array:
    """Standard errors of the logarithms, each row weighed as the robust loss weighs it."""
    weight = problem.weight
    pull = weight / np.sqrt(1 + (left / problem.noise) ** 2)
    freedom = max(int(np.sum(weight > 0)) - jacobian.shape[1], 1)
    variance = float(np.sum(pull * left**2)) / freedom
    information = jacobian.T @ (pull[:, None] * jacobian) / max(variance, TINY) + np.diag(1 / width**2)
    size = np.sqrt(np.diag(information))
    known = size > 0  # data and priors that say nothing leave the error infinite
    found = np.full(size.shape, np.inf)
    scaled = information[np.ix_(known, known)] / np.outer(size[known], size[known])
    found[known] = np.sqrt(np.maximum(np.diag(np.linalg.pinv(scaled, hermitian=True)), 0.0)) / size[known]
    return found
