"""One door for all measurements: the kind of rows decides what is fitted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from perfmodel.calibration.engine import calibrate_engine
from perfmodel.calibration.operators import fit_operators
from perfmodel.calibration.result import Calibration
from perfmodel.calibration.software_result import Calibrations, SoftwareCalibration
from perfmodel.calibration.stack import calibrate_stack
from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError, UnsupportedError
from perfmodel.hardware import Device
from perfmodel.validation.scores import read_rows
from perfmodel.validation.tables import OPERATOR, operator_rows

__all__ = ["calibrate", "calibrated"]

Measurements = str | Path | Iterable[str | Path] | Iterable[Mapping[str, Any]]
"""A file, several files, or rows at hand."""

RUNS: dict[str, Callable[[Iterable[Mapping[str, Any]]], SoftwareCalibration]] = {
    "training": calibrate_stack,
    "inference": calibrate_engine,
}
"""How each kind of rows gives a set of software."""


def calibrate(
    measurements: Measurements, *, device: str | Device | None = None, start: Efficiency | None = None
) -> Efficiency | Software | tuple[Software, ...]:
    """A set fitted to what you measured, for `estimate(efficiency=…)`.

    Operators give an efficiency set, steps of training the set of their stack, batches and loads of inference that of
    their engine. A stack or an engine begins with the bundled set that the rows' `software` matches.

    Parameters
    ----------
    measurements : a file of operators (.csv; at the least m, n, k, dtype and time_s), or of training runs or inference
        of one software (.jsonl), several, or rows of one
    device : whose operators are fitted, and the device of rows that name none; None takes all rows
    start : the set that operators begin with; None takes the default of the device's architecture

    Returns
    -------
    a copy of that set with new constants, their residual and their sources; of rows of training and of inference
    together, one of each

    Raises
    ------
    InputError
        a file that can't be read, or nothing in it that can be fitted
    UnsupportedError
        rows of several stacks or engines

    Examples
    --------
    >>> rows = [{"m": m, "n": 4096, "k": 4096, "dtype": "bf16", "time_s": 4e-6 + m * 2 * 4096**2 / 700e12}
    ...         for m in (512, 1024, 2048, 4096, 8192, 16384)]
    >>> mine = calibrate(rows, device="h100")
    >>> mine.id, round(mine.matmul_for("bf16").compute, 1)
    ('hopper-calibrated', 0.7)
    """
    found = calibrated(measurements, device=device, start=start)
    return found.efficiency if isinstance(found, Calibration) else found.sets


def calibrated(
    measurements: Measurements,
    *,
    device: str | Device | None = None,
    start: Efficiency | None = None,
    hold: Collection[str] = (),
) -> Calibration | SoftwareCalibration | Calibrations:
    """The same with everything that was found: constants before and after, residuals, rows that had no say.

    Parameters
    ----------
    measurements, device, start : as for `calibrate`
    hold : paths of operator constants that stay as they are, such as `matmul.default.compute`

    Returns
    -------
    the calibration; printed, it is a report
    """
    rows = _rows(measurements)
    kinds = {kind: [row for row in rows if _kind(row) == kind] for kind in dict.fromkeys(map(_kind, rows))}
    if set(kinds) == {OPERATOR}:
        return fit_operators(rows, device=device, start=start, hold=hold)
    if not set(kinds) <= set(RUNS):
        raise UnsupportedError(
            f"rows of kind {', '.join(sorted(kinds))} are not fitted together; valid: operator tables (.csv), or "
            f"training runs and inference (.jsonl)"
        )
    if device is not None or start is not None:
        raise InputError(
            "device and start are for tables of operators; runs name their device, and begin with the set of their "
            "software"
        )
    parts = {kind: fit(kinds[kind]) for kind, fit in RUNS.items() if kind in kinds}
    return Calibrations(parts) if len(parts) > 1 else next(iter(parts.values()))


def _kind(row: Mapping[str, Any]) -> str:
    return str(row.get("kind") or "training")


def _rows(measurements: Measurements) -> list[dict[str, Any]]:
    given = [measurements] if isinstance(measurements, str | Path | Mapping) else list(measurements)
    rows: list[dict[str, Any]] = []
    for one in given:
        if isinstance(one, Mapping):
            rows.append(dict(one))
        elif isinstance(one, str | Path):
            rows.extend(read_rows(one))
        else:
            raise InputError(f"a measurement is a file or a row with named values, not {one!r}")
    if not rows:
        raise InputError("there are no measurements to fit to")
    plain = [row for row in rows if "kind" not in row and "time_s" in row]
    return [*(row for row in rows if row not in plain), *operator_rows(plain)] if plain else rows
