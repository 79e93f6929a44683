"""The constants of a training stack as a fit moves them: unbounded, each with what was thought of it before."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from perfmodel.efficiency import SoftwareFit
from perfmodel.ops import exp, minimum

__all__ = ["CONSTANTS", "Constant", "Widths", "bounded", "from_fit", "rounded", "to_fit"]

F = TypeVar("F", bound=SoftwareFit)
Array = npt.NDArray[np.float64]


class Widths(NamedTuple):
    """How far a constant may go at each level, as a logarithm (a share as its log-odds).

    Parameters
    ----------
    typical : of what is typical of all software
    software : of one software
    architecture : of all software on an architecture whose operators were measured
    pair : of one software on one architecture
    """

    typical: float
    software: float
    architecture: float
    pair: float


class Constant(NamedTuple):
    """One constant of `SoftwareFit`.

    Parameters
    ----------
    name : its field
    centre : what one would think of it without any run, in its own unit
    widths : how sure one is
    most : largest value [its unit]
    share : a number between 0 and 1
    """

    name: str
    centre: float
    widths: Widths
    most: float
    share: bool = False

    def free(self, value: float) -> float:
        """As a number without bounds; nothing and all of it are taken a little inside."""
        value = min(max(value, LEAST), 1 - LEAST) if self.share else max(value, LEAST)
        return math.log(value / (1 - value)) if self.share else math.log(value)

    def bound(self, value: Any) -> Any:
        """Back in its own unit, number by number of an array."""
        return 1 / (1 + exp(-value)) if self.share else minimum(exp(value), self.most)


LEAST = 1e-9
"""Nothing, where a logarithm is taken."""

CONSTANTS = (
    Constant("matmul", 0.97, Widths(0.05, 0.06, 0.03, 0.06), 2.0),
    Constant("attention", 0.95, Widths(0.20, 0.25, 0.05, 0.25), 2.0),
    Constant("convolution", 0.80, Widths(0.20, 0.20, 0.10, 0.20), 2.0),
    Constant("pointwise", 1.15, Widths(0.25, 0.40, 0.05, 0.25), 20.0),
    Constant("scale_up", 0.95, Widths(0.15, 0.20, 0.05, 0.10), 2.0),
    Constant("fabric", 0.90, Widths(0.20, 0.25, 0.05, 0.15), 2.0),
    Constant("overlapped", 0.90, Widths(0.50, 0.70, 0.10, 0.30), 1.0, share=True),
    Constant("launch", 6e-6, Widths(0.30, 0.50, 0.05, 0.20), 1e-3),
    Constant("gap", 1e-6, Widths(0.50, 1.00, 0.05, 0.50), 1e-3),
    Constant("step", 0.01, Widths(0.70, 0.80, 0.05, 0.30), 10.0),
    Constant("straggling", 0.004, Widths(0.50, 0.60, 0.05, 0.20), 0.2),
)
"""Centres are those of a well-kept stack: near the operator fits, pointwise work mostly fused, launches at the rate
of eager PyTorch. Widths say how much stacks differ: products little (all call the vendor's library), attention kernels
by a generation's factor, fusion of pointwise work by more than that."""


def to_fit(values: Array) -> SoftwareFit:
    """Constants from numbers without bounds, in the order of `CONSTANTS`.

    Parameters
    ----------
    values : one a constant, or a line of them for each of several sets

    Returns
    -------
    the constants in their own units, within their bounds by how they are made; of several sets, arrays
    """
    return SoftwareFit.model_construct(**bounded(values, CONSTANTS))


def bounded(values: Array, table: tuple[Constant, ...]) -> dict[str, Any]:
    """Constants by name in their own units, within their bounds.

    Parameters
    ----------
    values : one a constant, or a line of them for each of several sets
    table : the constants, in order
    """
    columns = values.T if values.ndim > 1 else values.tolist()
    return {one.name: one.bound(value) for one, value in zip(table, columns, strict=True)}


def from_fit(fit: SoftwareFit) -> Array:
    """Numbers without bounds, in the order of `CONSTANTS`.

    Parameters
    ----------
    fit : constants in their own units

    Examples
    --------
    >>> fit = SoftwareFit(matmul=0.9, overlapped=0.8, step=0.02, straggling=0.01)
    >>> bool(abs(to_fit(from_fit(fit)).matmul - 0.9) < 1e-12)
    True
    """
    return np.array([constant.free(getattr(fit, constant.name)) for constant in CONSTANTS])


def centre() -> Array:
    """What one would think without any run."""
    return np.array([constant.free(constant.centre) for constant in CONSTANTS])


def rounded(fit: F) -> F:
    """Constants to three digits: more than measurements can tell.

    Parameters
    ----------
    fit : in their own units

    Examples
    --------
    >>> rounded(SoftwareFit(matmul=0.98765)).matmul
    0.988
    """
    return type(fit)(**{name: float(f"{value:.3g}") for name, value in fit.model_dump().items()})
