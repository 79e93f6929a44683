"""Measurements -> Efficiency: constants fitted to measured operators and runs, with their errors."""

from perfmodel.calibration.fitting import Fitted, Spread, cross_validate, fit, spread

__all__ = ["Fitted", "Spread", "cross_validate", "fit", "spread"]
