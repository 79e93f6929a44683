"""Operator tables: one measured kernel or message a line of a .csv file, read into rows of numbers."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from perfmodel.errors import Faults, InputError

__all__ = ["OPERATOR", "SIZES", "operator_rows", "read_table"]

Row = dict[str, Any]

OPERATOR = "operator"
"""The `kind` of a row that was read from an operator table."""

SHAPES = {
    "gemm": ("m", "n", "k"),
    "attention": ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim"),
    "collective": ("ranks", "bytes"),
    "stream": ("bytes",),
}
"""Columns that tell a kind of table, and that each of its rows needs."""

SIZES = (*dict.fromkeys(name for names in SHAPES.values() for name in names), "window", "nodes")
"""Columns of numbers that a prediction may read."""
DEFAULT_OPS = {"gemm": "gemm", "stream": "copy"}
"""What a row is where the table has no column `op`."""


def read_table(path: str | Path) -> list[Row]:
    """Rows of an operator table; see `docs/measurements.md`.

    Parameters
    ----------
    path : of a .csv file

    Returns
    -------
    the rows, each with an id of file name and line, its sizes as numbers

    Raises
    ------
    InputError
        the file is missing, its columns are those of no operator, or values are no positive numbers
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}")
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        # a line's number in the file, not among the rows: fields may hold line breaks
        given = [{"id": f"{file.name}:{reader.line_num}", **row} for row in reader]
        columns = tuple(reader.fieldnames or ())
    _shape_of(columns, str(file))
    return operator_rows(given)


def operator_rows(given: list[Row]) -> list[Row]:
    """Rows at hand as rows of an operator table.

    Parameters
    ----------
    given : one dictionary a row, its values numbers or text

    Returns
    -------
    the same with their kind, and sizes as numbers

    Raises
    ------
    InputError
        columns of no operator, or values that are no positive numbers
    """
    faults = Faults("operator rows")
    rows = [_typed({"id": f"row:{number}", **row}, faults) for number, row in enumerate(given, start=1)]
    if len(faults) > MOST_FAULTS:
        left = len(faults) - MOST_FAULTS
        del faults.found[MOST_FAULTS:]
        faults.add(f"and {left} more")
    faults.raise_if_any()
    return rows


MOST_FAULTS = 5
"""So many bad values are told; a wrong column has one on every line."""


def _shape_of(columns: tuple[str, ...], told: str) -> str:
    shape = next((name for name, needed in SHAPES.items() if set(needed) <= set(columns)), None)
    if shape is None:
        tables = "; ".join(f"{shape}: {', '.join(needed)}" for shape, needed in SHAPES.items())
        raise InputError(
            f"{told}: columns {', '.join(columns) or '(none)'} are of no operator; valid: {tables}"
        )
    if "time_s" not in columns:
        raise InputError(f"{told}: the column time_s is missing: what was measured [s]")
    if shape not in DEFAULT_OPS and "op" not in columns:
        raise InputError(f"{told}: the column op is missing: which {shape} each row is")
    return shape


def _typed(row: Row, faults: Faults) -> Row:
    shape = _shape_of(tuple(name for name in row if name), str(row["id"]))
    found: Row = {"kind": OPERATOR, "op": DEFAULT_OPS.get(shape), **row}
    if None in row:
        faults.add(f"{row['id']}: more values than columns")
    for name in (*SIZES, "time_s"):
        if name not in found:
            continue
        value = _number(found[name])
        if name == "window" and not value:  # 0 is a full window
            value = None
        elif value is None and (name in SHAPES[shape] or name == "time_s"):
            faults.add(f"{row['id']}: {name} = {row[name]!r} is not a number above 0")
        found[name] = value
    return found


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
