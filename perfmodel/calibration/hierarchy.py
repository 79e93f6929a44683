"""One fit for many families: each has its own constants, drawn towards what its kin share.

A member's constants are a sum over the levels it belongs to: those of everything, of its software, of its
architecture, of the two together. Each level's share is drawn to zero by a prior of its own width, so that a family
with few runs stays near its kin, a family with many goes its own way, and one that nobody has measured gets what is
typical.

>>> levels = Levels([("all", "a"), ("all", "b")], centre=np.zeros(1), width=lambda key: np.ones(1))
>>> levels.keys, levels.of(np.array([[1.0], [0.25], [0.0]]), ("all", "a"))
(('all', 'a', 'b'), array([1.25]))
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Joint", "Levels", "fit_jointly", "refit"]

Array = npt.NDArray[np.float64]
Membership = tuple[Hashable, ...]
Response = Callable[[int, Array], Any]
"""Row and its constants, or several sets of them, one a line -> log of the predicted time, one a set."""

NOISE = 0.06
"""Log error of a run that no constant explains: repeatability of published steps [-]."""
FREEDOM = 4.0
"""Degrees of freedom of Student's t, whose tails let an odd run be [-]."""
LONGEST = 0.7
"""Longest step of a constant in one iteration: a factor of two, as a logarithm [-]."""
ENOUGH = 0.05
"""Gain of the posterior's logarithm that is worth another iteration."""
NUDGE = 0.02
"""Change of a constant for its derivative [-]."""


class Levels:
    """Which levels a row's constants add up from, and how far each may go.

    Parameters
    ----------
    members : for each row the keys of its levels
    centre : constants where nothing is known
    width : of each key's prior, one number a constant; 0 holds it
    """

    def __init__(
        self, members: Sequence[Membership], centre: Array, width: Callable[[Hashable], Array]
    ) -> None:
        self.members, self.centre = members, centre
        self.keys: tuple[Any, ...] = tuple(dict.fromkeys(key for member in members for key in member))
        self._at = {key: index for index, key in enumerate(self.keys)}
        self.widths = np.stack([width(key) for key in self.keys])
        kinds = {member: kind for kind, member in enumerate(dict.fromkeys(members))}
        self.kinds = np.array([kinds[member] for member in members])
        self.holds = np.array([[key in member for key in self.keys] for member in kinds], dtype=float)

    def of(self, shares: Array, member: Membership) -> Array:
        """Constants of a member; a level that nobody belongs to adds nothing.

        Parameters
        ----------
        shares : of every key, one row a key and one column a constant
        member : keys of its levels
        """
        known = [self._at[key] for key in member if key in self._at]
        return np.asarray(self.centre + shares[known].sum(axis=0))

    def along(self, jacobian: Array, shares: Array) -> Array:
        """How far shares carry each row.

        Parameters
        ----------
        jacobian : derivative of each row by its own constants
        shares : of every key, one row a key and one column a constant
        """
        return np.asarray((jacobian * (self.holds @ shares)[self.kinds]).sum(axis=1))

    def collected(self, slopes: Array) -> Array:
        """Sum over the rows of each key: the transpose of `along`.

        Parameters
        ----------
        slopes : of each row, one column a constant
        """
        return np.asarray(self.holds.T @ self._by_kind(slopes))

    def normal(self, jacobian: Array, pull: Array) -> Array:
        """Normal equations of all shares. Rows with the same keys are one block, placed wherever two keys meet.

        Parameters
        ----------
        jacobian : derivative of each row by its own constants
        pull : weight of each row
        """
        (_, constants), keys = jacobian.shape, len(self.keys)
        outer = (pull[:, None] * jacobian)[:, :, None] * jacobian[:, None, :]
        blocks = self._by_kind(outer.reshape(-1, constants * constants))
        meet = (self.holds[:, :, None] * self.holds[:, None, :]).reshape(-1, keys * keys)
        placed = (meet.T @ blocks).reshape(keys, keys, constants, constants)
        return np.asarray(placed.transpose(0, 2, 1, 3).reshape(keys * constants, -1))

    def _by_kind(self, values: Array) -> Array:
        """Sums over rows with the same keys."""
        found = np.zeros((len(self.holds), values.shape[1]))
        np.add.at(found, self.kinds, values)
        return found


class Joint(NamedTuple):
    """What a joint fit found.

    Parameters
    ----------
    levels : of its rows
    shares : of every key, one row a key and one column a constant
    predicted : log of each row's predicted time
    jacobian : derivative of each row by its own constants
    truth : log of each row's measured time
    weights : of the rows [-]
    """

    levels: Levels
    shares: Array
    predicted: Array
    jacobian: Array
    truth: Array
    weights: Array


def fit_jointly(
    response: Response, measured: Array, levels: Levels, weights: Array, *, iterations: int = 12
) -> Joint:
    """Most likely constants under Student's t for rows and normal priors for shares.

    Parameters
    ----------
    response : row and its constants -> log of the predicted time
    measured : times [s]
    levels : of the rows
    weights : of the rows [-]
    iterations : most times that the derivatives are taken anew [-]

    Returns
    -------
    shares, and what predictions for left-out rows need

    References
    ----------
    Gelman, Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, chapter 12; Lange, Little,
    Taylor (1989), Robust statistical modeling using the t distribution, doi:10.1080/01621459.1989.10478852
    """
    truth = np.log(measured)
    joint = _linearised(response, levels, np.zeros(levels.widths.shape), truth, weights)
    for _ in range(iterations):
        step = np.clip(refit(joint, np.ones(len(truth), bool)) - joint.shares, -LONGEST, LONGEST)
        shorter = _shorter(response, joint, step)
        if shorter is None:
            break
        joint = _linearised(response, levels, joint.shares + shorter, truth, weights)
    return joint


def _shorter(response: Response, joint: Joint, step: Array, halvings: int = 5) -> Array | None:
    """The step, or as much of it as makes predictions better; None where none of it does."""
    before = _loss(joint.levels, joint.shares, joint.predicted - joint.truth, joint.weights)
    for halving in range(halvings):
        tried = step / 2**halving
        shares = joint.shares + tried
        predicted = np.array(
            [
                response(row, joint.levels.of(shares, member))
                for row, member in enumerate(joint.levels.members)
            ]
        )
        if _loss(joint.levels, shares, predicted - joint.truth, joint.weights) < before - ENOUGH:
            return np.asarray(tried)
    return None


def _loss(levels: Levels, shares: Array, residual: Array, weights: Array) -> float:
    """Twice the negative logarithm of the posterior, constants left out."""
    rows = weights * (FREEDOM + 1) * np.log1p((residual / NOISE) ** 2 / FREEDOM)
    priors = np.divide(shares, levels.widths, out=np.zeros_like(shares), where=levels.widths > 0) ** 2
    return float(rows.sum() + priors.sum())


def refit(joint: Joint, kept: npt.NDArray[np.bool_]) -> Array:
    """Shares from some of the rows only, with the derivatives of the whole fit.

    Parameters
    ----------
    joint : the whole fit
    kept : rows that have a say

    Returns
    -------
    shares of every key; 0 where no kept row belongs to it
    """
    levels, jacobian, weights = joint.levels, joint.jacobian, joint.weights * kept
    free = (levels.widths > 0) & (levels.collected(np.abs(jacobian) * kept[:, None]) > 0)
    unknown, prior = free.ravel(), np.diag(1 / levels.widths[free] ** 2)
    shares = np.where(free, joint.shares, 0.0)
    offset = joint.truth - joint.predicted + levels.along(jacobian, shares)
    for _ in range(10):  # reweighting, until the odd runs are known
        residual = offset - levels.along(jacobian, shares)
        pull = weights * (FREEDOM + 1) / (FREEDOM + (residual / NOISE) ** 2) / NOISE**2
        normal = levels.normal(jacobian, pull)[np.ix_(unknown, unknown)] + prior
        before, shares = shares, np.zeros_like(shares)
        shares[free] = np.linalg.solve(normal, levels.collected((pull * offset)[:, None] * jacobian)[free])
        if np.abs(shares - before).max(initial=0.0) < 1e-3:
            break
    return shares


def _linearised(response: Response, levels: Levels, shares: Array, truth: Array, weights: Array) -> Joint:
    rows, constants = len(truth), len(levels.centre)
    predicted, jacobian = np.empty(rows), np.empty((rows, constants))
    nudges = NUDGE * np.eye(constants + 1, constants, -1)  # none first, then each constant alone
    for row, member in enumerate(levels.members):
        predicted[row], *nudged = response(row, levels.of(shares, member) + nudges)
        jacobian[row] = (np.array(nudged) - predicted[row]) / NUDGE
    return Joint(levels, shares, predicted, jacobian, truth, weights)
