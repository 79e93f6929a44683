"""Measurements -> Efficiency: constants fitted to measured operators and runs, with their errors."""

from perfmodel.calibration.calibrate import calibrate, calibrated
from perfmodel.calibration.crossed import cross_validate_runs
from perfmodel.calibration.engine import calibrate_engine
from perfmodel.calibration.engines import cross_validate_batches
from perfmodel.calibration.fitting import Fitted, Spread, cross_validate, fit, spread
from perfmodel.calibration.operators import fit_operators
from perfmodel.calibration.result import Block, Calibration, Found
from perfmodel.calibration.software_result import Calibrations, Errors, SoftwareCalibration
from perfmodel.calibration.stack import calibrate_stack

__all__ = [
    "Block", "Calibration", "Calibrations", "Errors", "Fitted", "Found", "SoftwareCalibration", "Spread", "calibrate",
    "calibrate_engine", "calibrate_stack", "calibrated", "cross_validate", "cross_validate_batches",
    "cross_validate_runs", "fit", "fit_operators", "spread",
]  # fmt: skip
