"""Fills the generated blocks of README.md and docs/accuracy.md, so that no printed number is typed by hand.

`python tools/readme.py` writes them, `python tools/readme.py --check` only compares. A block stands between
`<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import perfmodel as pm
from perfmodel.validation import Report, Score
from perfmodel.validation.ranking import rankings
from perfmodel.validation.scores import groups_of, read_rows

sys.path.insert(0, str(Path(__file__).resolve().parent))
import operators
import served
import software
from ablation import table

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "measurements"
HELD_OUT = GOLDEN.parent / "held_out.json"
FIGURE = ROOT / "docs" / "errors.png"
LEFT_OUT = {
    "group": "its group: source, model, hardware, software",
    "generation": "its hardware generation, whole",
    "source": "its source, whole",
    "software": "its software, whole: default constants and recipe",
}
"""Columns of the held-out predictions, in words."""
PAGES = (ROOT / "README.md", ROOT / "docs" / "accuracy.md", ROOT / "docs" / "software.md")


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


def held_out(left_out: str) -> Report:
    """Scores of the measured runs by fits that did not see them, as `tools/stacks.py` left them."""
    runs = json.loads(HELD_OUT.read_text(encoding="utf-8"))["runs"]
    rows = read_rows(GOLDEN / "training.jsonl")
    return Report(
        [
            Score(
                str(row["id"]),
                "step_time",
                row["measured"]["step_time_s"],
                runs[str(row["id"])][left_out],
                groups_of(row),
            )
            for row in rows
            if str(row["id"]) in runs
        ]
    )


def left_out_table() -> str:
    """Errors by what the fit did not see, for language models and for others."""
    lines = [
        "| left out of the fit | models | rows | median error | 90th percentile | mean | bias |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for column, told in LEFT_OUT.items():
        for task, row in held_out(column).summary("step_time")["by_task"].items():
            errors = (percent(row[key]) for key in ("median_error", "p90_error", "mean_error"))
            cells = " | ".join((*errors, percent(row["bias"], "+")))
            lines.append(f"| {told} | {task} | {row['rows']} | {cells} |")
    return "\n".join(lines)


def accuracy() -> dict[str, str]:
    """Tables of the training rows, one a grouping; the group of each run left out of the fit."""
    found = held_out("group").summary("step_time")
    whole = {"**all rows**": found["all"]}
    return {
        f"accuracy-{group}": error_table({**found[f"by_{group}"], **whole}, group)
        for group in ("software", "hardware", "family", "scale", "source")
    }


def memory(report: Report) -> dict[str, str]:
    """Peak memory by software, and why rows are not scored."""
    found = report.summary("peak_memory")
    whole = {"**all rows**": found["all"]}
    skipped = "\n".join(f"| {count} | {reason} |" for reason, count in report.reasons().items())
    return {
        "memory-software": error_table({**found["by_software"], **whole}, "software"),
        "skipped": f"| rows | reason |\n|---:|---|\n{skipped}" if skipped else "Every row is scored.",
    }


def ranking() -> str:
    """Whether layouts are put in the right order, one row a series of runs that differ in layout alone."""
    found = rankings(read_rows(GOLDEN / "training.jsonl"), held_out("group").of("step_time"))
    lines = ["| series | layouts | Kendall's tau | the layout chosen takes |", "|---|---:|---:|---:|"]
    for one in found:
        lines.append(f"| {one.name} | {one.layouts} | {one.tau:+.2f} | {percent(one.regret, '+')} |")
    count = sum(one.layouts for one in found)
    mean = sum(one.layouts * one.tau for one in found) / count
    regret = sorted(one.regret for one in found)[len(found) // 2]
    whole = f"| **all, weighed by layouts; median** | {count} | {mean:+.2f} | {percent(regret, '+')} |"
    return "\n".join([*lines, whole])


def variants() -> str:
    """What the way to fit is worth: other ways, as `tools/stacks.py --compare` left them."""
    found = json.loads(HELD_OUT.read_text(encoding="utf-8")).get("variants", {})
    lines = [f"| way to fit | {' | '.join(LEFT_OUT)} |", f"|---|{'---:|' * len(LEFT_OUT)}"]
    for name, row in found.items():
        lines.append(f"| {name} | {' | '.join(percent(row[column]) for column in LEFT_OUT)} |")
    return "\n".join(lines)


def coverage() -> str:
    """How many runs the bands of `step_time_range` hold."""
    share = json.loads(HELD_OUT.read_text(encoding="utf-8"))["coverage"]
    return f"Bands of 80 %, made from runs of other groups, hold {percent(share)} of the runs."


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
    return {
        "answer": answer(),
        "held-out": left_out_table(),
        "coverage": coverage(),
        "variants": variants(),
        "ranking": ranking(),
        "megatron": megatron(eight),
        "ablation": ablation,
        "operators": operators.table(),
        "software": software.table(),
        **accuracy(),
        **memory(training),
        **served.tables(),
    }


def figure(path: Path) -> None:
    """The error of every run that its fit did not see, as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    ax = pm.plot.errors(held_out("group").of("step_time"))
    ax.set_title("training steps, each run's group left out of the fit", fontsize=9)
    ax.figure.savefig(path, dpi=110, metadata={"Software": None})


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
    if "--check" not in sys.argv:
        figure(FIGURE)
    print(f"stale: {', '.join(stale)}" if stale else "all blocks are up to date")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
