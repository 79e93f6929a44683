"""Fills the generated blocks of README.md and docs/accuracy.md, so that no printed number is typed by hand.

`python tools/readme.py` writes them, `python tools/readme.py --check` only compares. A block stands between
`<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import perfmodel as pm
from perfmodel.validation import Report
from perfmodel.validation.scores import read_rows

sys.path.insert(0, str(Path(__file__).resolve().parent))
from ablation import table

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "measurements"
PAGES = (ROOT / "README.md", ROOT / "docs" / "accuracy.md")


def snippet(page: str) -> str:
    """The first Python block of the README: the ten lines that answer its question."""
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found, "README.md has no Python block"
    return found[1]


def answer() -> str:
    """What those ten lines print."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(snippet(PAGES[0].read_text(encoding="utf-8")), {})
    return f"```text\n{out.getvalue().rstrip()}\n```"


def percent(value: float | None, sign: str = "") -> str:
    """A share as printed in tables."""
    return "-" if value is None else f"{value:{sign}.1%}".replace("%", " %")


def error_table(rows: dict[str, dict[str, Any]], head: str) -> str:
    """A Markdown table of error summaries; groups without a scored row are left to the list of skipped ones."""
    lines = [f"| {head} | rows | median error | 90th percentile | bias |", "|---|---:|---:|---:|---:|"]
    for name, row in rows.items():
        if row["rows"]:
            cells = (percent(row["median_error"]), percent(row["p90_error"]), percent(row["bias"], "+"))
            lines.append(f"| {name} | {row['rows']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def accuracy(report: Report) -> dict[str, str]:
    """Tables of the training rows, one a grouping."""
    found = report.summary("step_time")
    whole = {"**all rows scored**": found["all"]}
    blocks = {
        f"accuracy-{group}": error_table({**found[f"by_{group}"], **whole}, group)
        for group in ("software", "hardware", "family")
    }
    memory = report.summary("peak_memory")
    blocks["memory-software"] = error_table(
        {**memory["by_software"], "**all rows scored**": memory["all"]}, "software"
    )
    skipped = "\n".join(f"| {count} | {reason} |" for reason, count in report.reasons().items())
    blocks["skipped"] = f"| rows | reason |\n|---:|---|\n{skipped}"
    return blocks


def megatron(report: Report) -> str:
    """The eight published Megatron steps, predicted and measured."""
    lines = ["| step | measured | predicted | error |", "|---|---:|---:|---:|"]
    for score in report.of("step_time"):
        lines.append(
            f"| {score.id} | {score.measured:.2f} s | {score.predicted:.2f} s | {percent(score.error, '+')} |"
        )
    mean = report.summary("step_time")["all"]["mean_error"]
    return "\n".join([*lines, f"| **mean absolute error** | | | **{percent(mean)}** |"])


def blocks() -> dict[str, str]:
    """Every generated block by name."""
    training = pm.validate([GOLDEN / "training.jsonl"])
    eight = pm.validate([GOLDEN / "megatron-2205.05198.jsonl"])
    ablation = table(
        [*read_rows(GOLDEN / "training.jsonl"), *read_rows(GOLDEN / "megatron-2205.05198.jsonl")]
    )
    return {"answer": answer(), "megatron": megatron(eight), "ablation": ablation, **accuracy(training)}


def filled(page: str, content: dict[str, str]) -> str:
    """A page with its blocks replaced."""
    for name, text in content.items():
        marks = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        page = marks.sub(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
    return page


def main() -> int:
    """Write the blocks, or with --check say which page is stale."""
    content, stale = blocks(), []
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = filled(before, content)
        if after != before:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(after, encoding="utf-8")
    print(f"stale: {', '.join(stale)}" if stale else "all blocks are up to date")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
