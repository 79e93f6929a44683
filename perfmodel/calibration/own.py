"""A user's own measurements: which of them can be used, and a fit that begins with a bundled set and moves from there.

Constants are those of the bundled set on each architecture, moved by what the rows share and by what those of one
architecture share besides, each drawn to zero by a prior of its own width: where the rows say nothing, the bundled
constants stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from perfmodel.calibration.constants import Constant, bounded
from perfmodel.calibration.hierarchy import Joint, Levels, Response, fit_jointly, refit
from perfmodel.efficiency import SoftwareFit
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.validation.scores import validate_rows

__all__ = ["OwnFit", "Unseen", "fit_own", "moved", "one_set", "unseen", "usable"]

T = TypeVar("T")
F = TypeVar("F", bound=SoftwareFit)
Array = npt.NDArray[np.float64]
Row = dict[str, Any]

NOTHING_MEASURED = "nothing is measured that a fit reads"
MOST_REASONS = 3
"""So many reasons are told where no row can be used [-]."""


def usable(
    rows: Iterable[Mapping[str, Any]], count: Callable[[Iterable[Row]], list[T]]
) -> tuple[list[T], dict[str, int]]:
    """What can be fitted, and why the rest can't.

    Parameters
    ----------
    rows : in the format of `docs/measurements.md`
    count : what is fitted of some rows; an `InputError` says why they are not

    Returns
    -------
    what is fitted, in order, and the number of rows by reason

    Raises
    ------
    InputError
        no row can be used
    """
    found: list[T] = []
    reasons: Counter[str] = Counter()
    for row in map(_named, rows):
        reason, counted = _counted(row, count)
        found += counted
        if not counted:
            reasons[reason] += 1
    if not found:
        told = "; ".join(f"{reason} ({n} rows)" for reason, n in reasons.most_common(MOST_REASONS))
        raise InputError(f"no row can be used, and perfmodel validate says why: {told or 'there are none'}")
    return found, dict(reasons.most_common())


def _counted(row: Row, count: Callable[[Iterable[Row]], list[T]]) -> tuple[str, list[T]]:
    """What is fitted of a row, or why nothing."""
    skipped = validate_rows([row]).skipped
    if skipped:
        return skipped[0].reason, []
    try:
        return NOTHING_MEASURED, count([row])
    except InputError as error:
        return str(error), []


def _named(row: Mapping[str, Any]) -> Row:
    """The row with what tells kin apart, where it leaves that out."""
    named = {"source": "own measurements", "software": "", "weight_dtype": None, **row}
    model = row.get("model")
    if isinstance(model, Mapping):
        named["model"] = {"name": str(model.get("family") or "model"), **model}
    return named


def one_set(names: Iterable[str], called: str) -> str:
    """The one set that all rows are of.

    Parameters
    ----------
    names : ids of the sets, one a row
    called : what such a set is called

    Raises
    ------
    UnsupportedError
        they are of several
    """
    found = sorted(set(names))
    if len(found) > 1:
        raise UnsupportedError(f"the rows are those of {', '.join(found)}: calibrate one {called} at a time")
    return found[0]


class Unseen(NamedTuple):
    """What is left out together.

    Parameters
    ----------
    labels : one a value
    told : in words
    """

    labels: list[Hashable]
    told: str


def unseen(groups: Sequence[Hashable], rows: Sequence[Hashable], told: str) -> Unseen:
    """Kin are left out together; where all are kin, each row alone.

    Parameters
    ----------
    groups : of each value
    rows : of each value
    told : what makes a group

    Examples
    --------
    >>> unseen(["a", "a", "b"], [0, 1, 2], "model").told
    'each model left out in turn'
    >>> unseen(["a", "a", "a"], [0, 0, 1], "model")
    Unseen(labels=[0, 0, 1], told='each row left out in turn')
    """
    kin = len(set(groups)) > 1
    return Unseen(list(groups if kin else rows), f"each {told if kin else 'row'} left out in turn")


class OwnFit(NamedTuple):
    """How far one's own constants lie from the bundled ones.

    Parameters
    ----------
    joint : the fit
    held : log of each value's prediction by constants that did not see it; not a number where nothing else was there
    """

    joint: Joint
    held: Array

    def offset(self, architecture: str | None = None) -> Array:
        """How far constants move on an architecture; on one without rows, what all rows share.

        Parameters
        ----------
        architecture : in lower case
        """
        return self.joint.levels.of(self.joint.shares, _member(architecture))


def _member(architecture: str | None) -> tuple[Hashable, ...]:
    return ("own", ("architecture", architecture))


def moved(fit: F, offset: Array, table: tuple[Constant, ...]) -> F:
    """Constants so far from where they were; those that the table lacks stay. Nothing is checked.

    Parameters
    ----------
    fit : where they were
    offset : one a constant of the table, or a line of them for each of several sets
    table : constants that move

    Examples
    --------
    >>> from perfmodel.calibration.constants import CONSTANTS
    >>> further = moved(SoftwareFit(matmul=0.8, straggling=0.01), np.full(len(CONSTANTS), 0.1), CONSTANTS)
    >>> round(further.matmul / 0.8, 3)
    1.105
    """
    start = np.array([one.free(getattr(fit, one.name)) for one in table])
    return fit.model_copy(update=bounded(start + offset, table))


def fit_own(
    response: Response,
    measured: Array,
    table: tuple[Constant, ...],
    *,
    architectures: Sequence[str],
    left_out: Sequence[Hashable],
    weights: Array,
) -> OwnFit:
    """Fit how far constants lie from those of the bundled set.

    Parameters
    ----------
    response : value and how far its constants are moved -> log of the prediction
    measured : the values [s or 1/s]
    table : the constants
    architectures : of each value, in lower case
    left_out : of each, what is left out together
    weights : of each [-]

    Returns
    -------
    the fit, with predictions of values that it did not see
    """

    def width(key: Hashable) -> Array:
        return np.array([one.widths.software if key == "own" else one.widths.pair for one in table])

    levels = Levels([_member(one) for one in architectures], np.zeros(len(table)), width)
    joint = fit_jointly(response, measured, levels, weights)
    held = np.full(len(measured), np.nan)
    names = list(dict.fromkeys(left_out))
    for name in names if len(names) > 1 else []:
        inside = np.array([one == name for one in left_out])
        shares = refit(joint, ~inside)
        for value in np.flatnonzero(inside).tolist():
            held[value] = response(value, levels.of(shares, levels.members[value]))
    return OwnFit(joint, held)
