"""Tables of inference for docs/accuracy.md: errors of batches and servers that the fit did not see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perfmodel.validation.groups import groups_of
from perfmodel.validation.measured import measured_metrics
from perfmodel.validation.scores import read_rows

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "tests/golden/measurements/inference.jsonl"
HELD_OUT = ROOT / "tests/golden/held_out_inference.json"
LEFT_OUT = {
    "group": "its group: source, model, device, engine, format of the weights",
    "device": "its device, whole",
    "generation": "its device generation, whole",
    "source": "its source, whole",
    "constants": "its engine, whole: default constants, its own recipe",
    "software": "its engine, whole: default constants and recipe",
}
QUANTITIES = {
    "prefill_time": "prefill, TTFT", "ttft": "prefill, TTFT", "decode_time": "decode, TPOT", "tpot": "decode, TPOT",
}  # fmt: skip


class Value(NamedTuple):
    """One measured value with its predictions."""

    quantity: str
    row: dict[str, Any]
    measured: float
    predicted: dict[str, float]


def values() -> Iterator[Value]:
    """Every measured value that was held out."""
    found = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    for row in read_rows(ROWS):
        for metric, predicted in found.get(str(row["id"]), {}).items():
            offline = row["phase"] == "offline_throughput"
            quantity = "offline throughput" if offline else QUANTITIES.get(metric, "latency")
            yield Value(quantity, row, measured_metrics(row)[metric], predicted)


def cells(found: list[Value], by: str) -> str:
    """Rows, median, 90th percentile, bias."""
    errors = np.array([one.predicted[by] / one.measured - 1 for one in found])
    size = np.abs(errors)
    told = (np.median(size), np.percentile(size, 90))
    shares = (*(f"{value:.1%}" for value in told), f"{np.median(errors):+.1%}")
    return " | ".join((str(len(found)), *shares)).replace("%", " %")


def summary(every: list[Value]) -> str:
    """Errors by what was left out, one line a quantity."""
    lines = [
        "| left out of the fit | quantity | values | median error | 90th percentile | bias |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for by, told in LEFT_OUT.items():
        for quantity in ("decode, TPOT", "prefill, TTFT", "latency", "offline throughput"):
            chosen = [one for one in every if one.quantity == quantity]
            lines.append(f"| {told} | {quantity} | {cells(chosen, by)} |")
    return "\n".join(lines)


def grouped(every: list[Value], name: str, key: Callable[[dict[str, Any]], str]) -> str:
    """Errors of each group, the group of each value left out."""
    lines = [
        f"| {name} | quantity | values | median error | 90th percentile | bias |",
        "|---|---|---:|---:|---:|---:|",
    ]
    kinds: dict[tuple[str, str], list[Value]] = {}
    for one in every:
        kinds.setdefault((key(one.row), one.quantity), []).append(one)
    for (group, quantity), found in sorted(kinds.items()):
        lines.append(f"| {group} | {quantity} | {cells(found, 'group')} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Blocks by name."""
    every = list(values())
    return {"inference-held-out": summary(every)} | {
        f"inference-{name}": grouped(every, name, lambda row, name=name: groups_of(row)[name])
        for name in ("software", "hardware", "family", "phase", "batch")
    }
