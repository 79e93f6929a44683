"""Measured operators against the bundled fits, and which of them each bundled set was fitted to.

`python tools/operators.py` prints the table of residuals, `python tools/operators.py --fit` calibrates again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import perfmodel as pm
from perfmodel.calibration import calibrated, spread
from perfmodel.validation import Report
from perfmodel.validation.scores import Score, read_rows

Row = dict[str, Any]

TABLES = Path(__file__).resolve().parent.parent / "tests" / "golden" / "measurements" / "operators"
FILES = [TABLES / f"{name}.csv" for name in ("gemm", "attention", "collectives", "elementwise")]
STREAMS = ("embedding", "residual_add", "rms_norm", "rope", "silu_mul")


def family(score: Score) -> str:
    """The column an operator row stands in."""
    op = score.groups["op"]
    if op == "gemm":
        return "products" if score.groups["dtype"] in ("bf16", "fp16") else "in 8 or 4 bits"
    if op.startswith("attn"):
        return op.removeprefix("attn_")
    if op in STREAMS:
        return "streams"
    return "NCCL" if score.groups["software"].startswith("nccl") else "other messages"


FAMILIES = ("products", "in 8 or 4 bits", "prefill", "decode", "NCCL", "other messages", "streams")


def table(report: Report | None = None) -> str:
    """Markdown: median and 90th percentile of the error by device and kind of operator, with the rows.

    Parameters
    ----------
    report : of the operator tables; None scores the golden ones
    """
    scores = (report or pm.validate(FILES)).of("time")
    cells: dict[tuple[str, str], list[float]] = {}
    for score in scores:
        for device in (score.groups["hardware"], "**all**"):
            cells.setdefault((device, family(score)), []).append(score.error)
    lines = [f"| device | {' | '.join(FAMILIES)} |", f"|---|{'---:|' * len(FAMILIES)}"]
    for device in sorted({device for device, _ in cells}, key=lambda name: (name.startswith("*"), name)):
        told = (cell(cells.get((device, name), [])) for name in FAMILIES)
        lines.append(f"| {device.replace('_', '-')} | {' | '.join(told)} |")
    return "\n".join(lines)


def cell(errors: list[float]) -> str:
    """Median / 90th percentile and rows of one cell."""
    if not errors:
        return ""
    found = spread(np.log1p(errors))
    return f"{100 * found.median:.1f} / {100 * found.p90:.0f} % ({found.rows})"


def attention(row: Row, *systems: str) -> bool:
    """An attention row of these devices."""
    return row["system"] in systems and row["op"].startswith("attn")


def burst(row: Row, *systems: str) -> bool:
    """A product of these devices that was measured alone, in a CUDA graph."""
    return row["system"] in systems and row["op"] == "gemm" and row["source"].startswith("aiconfigurator")


def of_framework(row: Row, *systems: str) -> bool:
    """An all-reduce of these devices by a framework's own kernel."""
    return row["system"] in systems and row["op"] == "all_reduce_custom"


SELECTIONS: dict[str, Callable[[Row], bool]] = {
    "hopper": lambda row: (
        (attention(row, "h100_sxm", "h200_sxm") and "fa3" in row["note"])
        or burst(row, "h100_sxm")
        or of_framework(row, "h100_sxm")
    ),
    "ampere": lambda row: (
        attention(row, "a100_sxm") or burst(row, "a100_sxm") or of_framework(row, "a100_sxm")
    ),
    "ampere.nvidia-a40": lambda row: row["system"] == "a40",
    "ada.nvidia-l40s": lambda row: row["system"] == "l40s",
    "blackwell": lambda row: (
        attention(row, "b200_sxm") or burst(row, "b200_sxm") or of_framework(row, "b200_sxm")
    ),
    "blackwell-ultra": lambda row: burst(row, "gb300") or of_framework(row, "gb300"),
    "rtx-blackwell": lambda row: row["system"] == "rtx_pro_6000_server",
    "xe2": lambda row: row["system"] == "b60",
    "cdna2": lambda row: row["system"] == "mi210",
}
"""Open rows that constants of a bundled set were fitted to, of its own or of one device; other constants come from the
whole published tables."""


LONG = tuple(
    f"matmul.{dtype}.{name}"
    for dtype in ("default", "fp8", "fp8_block", "fp4")
    for name in ("compute", "exponent")
)
"""Constants of long products that come from the whole published tables, where there are some."""

HELD: dict[str, tuple[str, ...]] = {
    "hopper": (*LONG, "attention.block"),  # tiles that begin cost nothing that shows
    "ampere": (*LONG, "matmul.default.memory"),
    "ada.nvidia-l40s": ("attention.softmax_dims",),  # 41 rows do not tell it from the walk
    "blackwell": LONG,
    "blackwell-ultra": LONG,
    "xe2": ("matmul.default.memory", "matmul.default.cached"),  # every row lies in the cache
}
"""Constants of a selection's set that its rows do not move."""


def held(name: str) -> tuple[str, ...]:
    """Constants of a selection's set that its rows do not move."""
    return HELD.get(name, ())


def start_of(name: str) -> pm.Efficiency:
    """The bundled set of a selection: a set, or what it is on a device."""
    set_name, _, device = name.partition(".")
    return pm.Efficiency.load(set_name).measured_on(device)


def fits() -> str:
    """Every calibration again, each beginning from the bundled set."""
    rows = [row for path in FILES for row in read_rows(path)]
    told = []
    for name, chosen in SELECTIONS.items():
        chosen_rows = [row for row in rows if chosen(row)]
        told.append(str(calibrated(chosen_rows, start=start_of(name), hold=held(name))))
    return "\n\n".join(told)


if __name__ == "__main__":
    print(fits() if "--fit" in sys.argv else table())
