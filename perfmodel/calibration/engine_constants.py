"""The constants of an inference engine as a fit moves them: unbounded, each with what was thought of it before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perfmodel.calibration.constants import Constant, Widths, bounded
from perfmodel.efficiency import EngineFit

__all__ = ["ENGINE_CONSTANTS", "engine_centre", "to_engine"]

Array = npt.NDArray[np.float64]

ENGINE_CONSTANTS = (
    Constant("matmul", 0.95, Widths(0.10, 0.15, 0.08, 0.15), 2.0),
    Constant("attention", 0.90, Widths(0.20, 0.30, 0.10, 0.25), 2.0),
    Constant("convolution", 0.80, Widths(0.20, 0.25, 0.10, 0.20), 2.0),
    Constant("pointwise", 1.20, Widths(0.25, 0.40, 0.10, 0.25), 20.0),
    Constant("scale_up", 0.90, Widths(0.15, 0.25, 0.10, 0.20), 2.0),
    Constant("fabric", 0.80, Widths(0.25, 0.30, 0.05, 0.20), 2.0),
    Constant("launch", 6e-6, Widths(0.30, 0.70, 0.10, 0.30), 1e-3),
    Constant("gap", 1e-6, Widths(0.50, 1.00, 0.10, 0.50), 1e-3),
    Constant("step", 0.001, Widths(0.70, 1.20, 0.10, 0.50), 1.0),
    Constant("sequence", 1e-5, Widths(0.70, 1.20, 0.10, 0.40), 1e-2),
    Constant("request", 1e-2, Widths(0.70, 1.20, 0.05, 0.20), 10.0),
    Constant("bandwidth", 0.95, Widths(0.08, 0.10, 0.08, 0.10), 1.5),
    Constant("decode", 0.90, Widths(0.20, 0.30, 0.10, 0.25), 1.5),
    Constant("core", 16.0, Widths(0.05, 0.60, 0.02, 0.10), 64.0),
    Constant("packed", 0.85, Widths(0.20, 0.25, 0.10, 0.20), 1.5),
)
"""Centres are those of a well-kept engine: near the operator fits, pointwise work mostly fused, a millisecond of the
host for each pass."""


def to_engine(values: Array) -> EngineFit:
    """Constants from numbers without bounds, in the order of `ENGINE_CONSTANTS`.

    Parameters
    ----------
    values : one a constant, or a line of them for each of several sets

    Returns
    -------
    the constants in their own units; of several sets, arrays
    """
    return EngineFit.model_construct(overlapped=1.0, straggling=0.0, **bounded(values, ENGINE_CONSTANTS))


def engine_centre() -> Array:
    """What one would think without any run."""
    return np.array([one.free(one.centre) for one in ENGINE_CONSTANTS])
