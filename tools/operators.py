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


def cold(row: Row) -> bool:
    """A decode row whose cache is well beyond the L2, or so small that only the latency shows."""
    seen = min(row["kv_len"], row["window"] or row["kv_len"])
    cache = 2 * 2 * row["batch"] * row["kv_heads"] * row["head_dim"] * seen
    level2 = pm.Device.load(row["system"]).l2
    return row["op"] != "attn_decode" or cache > 2 * level2 or cache < level2 / 20


def attention(row: Row, *systems: str) -> bool:
    """An attention row of these devices with a 16-bit cache."""
    return row["system"] in systems and row["op"].startswith("attn") and row["kv_dtype"] == "bf16"


SELECTIONS: dict[str, Callable[[Row], bool]] = {
    "hopper": lambda row: attention(row, "h100_sxm", "h200_sxm") and "fa3" in row["note"] and cold(row),
    "ampere": lambda row: attention(row, "a100_sxm") and row["op"] == "attn_prefill",
    "ada": lambda row: attention(row, "l40s"),
    "blackwell": lambda row: attention(row, "b200_sxm") and row["op"] == "attn_decode" and cold(row),
    "rtx-blackwell": lambda row: row["system"] == "rtx_pro_6000_server",
    "cdna2": lambda row: row["system"] == "mi210",
}
"""Open rows that constants of a bundled set were fitted to; the others come from the whole published tables."""


def fits() -> str:
    """Every calibration again, each beginning from the bundled set."""
    rows = [row for path in FILES for row in read_rows(path)]
    told = []
    for name, chosen in SELECTIONS.items():
        start = pm.Efficiency.load(name)
        told.append(str(calibrated([row for row in rows if chosen(row)], start=start)))
    return "\n\n".join(told)


if __name__ == "__main__":
    print(fits() if "--fit" in sys.argv else table())
