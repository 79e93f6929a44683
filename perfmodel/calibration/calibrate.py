"""One door for all measurements: the kind of rows decides what is fitted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from perfmodel.calibration.operators import fit_operators
from perfmodel.calibration.result import Calibration
from perfmodel.calibration.stack import StackCalibration, calibrate_stack
from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.hardware import Device
from perfmodel.validation.scores import read_rows
from perfmodel.validation.tables import OPERATOR, operator_rows

__all__ = ["calibrate", "calibrated"]

Measurements = str | Path | Iterable[str | Path] | Iterable[Mapping[str, Any]]
"""A file, several files, or rows at hand."""


def calibrate(
    measurements: Measurements, *, device: str | Device | None = None, start: Efficiency | None = None
) -> Efficiency | Software:
    """An efficiency set fitted to measured operators, or a software set fitted to measured training runs.

    Parameters
    ----------
    measurements : a file of operators (.csv; at the least m, n, k, dtype and time_s) or of training runs of one stack
        (.jsonl), several, or rows of one
    device : whose operators are fitted, and the device of rows that name none; None takes all rows
    start : the set that operators begin with; None takes the default of the device's architecture

    Returns
    -------
    a copy of that set with new constants, their residual and their sources

    Raises
    ------
    InputError
        a file that can't be read, or nothing in it that can be fitted

    Examples
    --------
    >>> rows = [{"m": m, "n": 4096, "k": 4096, "dtype": "bf16", "time_s": 4e-6 + m * 2 * 4096**2 / 700e12}
    ...         for m in (512, 1024, 2048, 4096, 8192, 16384)]
    >>> mine = calibrate(rows, device="h100")
    >>> mine.id, round(mine.matmul_for("bf16").compute, 1)
    ('hopper-calibrated', 0.7)
    """
    found = calibrated(measurements, device=device, start=start)
    return found.efficiency if isinstance(found, Calibration) else found.software


def calibrated(
    measurements: Measurements,
    *,
    device: str | Device | None = None,
    start: Efficiency | None = None,
    hold: Collection[str] = (),
) -> Calibration | StackCalibration:
    """The same with everything that was found: constants with their errors, residuals, rows that had no say.

    Parameters
    ----------
    measurements, device, start : as for `calibrate`
    hold : paths of operator constants that stay as they are, such as `matmul.default.compute`

    Returns
    -------
    the calibration; printed, it is a report
    """
    rows = _rows(measurements)
    kinds = {str(row.get("kind", "training")) for row in rows}
    if kinds == {"training"}:
        return calibrate_stack(rows)
    if kinds != {OPERATOR}:
        raise UnsupportedError(
            f"rows of kind {', '.join(sorted(kinds))} are not fitted together; valid: operator tables (.csv), or "
            f"training runs (.jsonl)"
        )
    return fit_operators(rows, device=device, start=start, hold=hold)


def _rows(measurements: Measurements) -> list[dict[str, Any]]:
    given = [measurements] if isinstance(measurements, str | Path) else list(measurements)
    rows: list[dict[str, Any]] = []
    for one in given:
        rows.extend(read_rows(one) if isinstance(one, str | Path) else [dict(one)])
    if not rows:
        raise InputError("there are no measurements to fit to")
    plain = [row for row in rows if "kind" not in row and "time_s" in row]
    return [*(row for row in rows if row not in plain), *operator_rows(plain)] if plain else rows
