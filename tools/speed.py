"""Runs the benchmarks and fills the table of docs/speed.md, so that no printed number is typed by hand.

`python tools/speed.py` runs them; `python tools/speed.py FILE` takes what pytest-benchmark has saved in FILE before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "speed.md"
CLOCK = "benchmarks.clock.cpu_time"

ROWS = (
    ("one estimate, with its whole tree", "test_estimate[llama-3.1-70b]", "test_yardstick_thousand_powers",
     "under 300 us"),
    ("the same as a function of its numbers, every result", "test_estimate_as_function[every column]",
     "test_yardstick_thousand_powers", "under 300 us"),
    ("the same, time and memory", "test_estimate_as_function[time and memory]", "test_yardstick_thousand_powers", ""),
    ("making that function", "test_function_is_made", "test_yardstick_thousand_powers", ""),
    ("1,620 plans of GPT-3 175B, every column", "test_gpt3_grid", "test_yardstick_single_estimates", "under 50 ms"),
    ("1,000,000 random plans: memory, time, limiter", "test_random_plans[memory, time, limiter]",
     "test_yardstick_hundred_powers", "300,000 a second"),
    ("the same, every column", "test_random_plans[every column]", "test_yardstick_hundred_powers", ""),
    ("open grid with a bandwidth and a peak: memory, time, limiter", "test_open_grid[memory, time, limiter]",
     "test_yardstick_ten_powers", ""),
    ("the same, every column", "test_open_grid[every column]", "test_yardstick_ten_powers", "1,000,000 a second"),
    ("every layout of GPT-3 on 1,024 devices, ranked", "test_exhaustive", "test_yardstick_enumeration_alone",
     "under 60 s"),
    ("import", "test_import[perfmodel]", "test_import[yardstick: numpy, pydantic, yaml]", "under 0.5 s"),
)  # fmt: skip
"""What is told, its benchmark and its yardstick, and what is wanted."""
MEMORY = "test_peak_memory[memory, time, limiter]", "test_peak_memory[yardstick: nothing but the import]"


def measured() -> dict[str, Any]:
    """What the benchmarks say."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmarks.json"
        wanted = " or ".join(f"({name.partition('[')[0]})" for row in ROWS for name in row[1:3])
        command = [
            sys.executable, "-m", "pytest", "-q", "benchmarks", "--benchmark-enable", f"--benchmark-timer={CLOCK}",
            f"--benchmark-json={file}", "-k", f"{wanted} or test_peak_memory",
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)
        return json.loads(file.read_text())


def seconds(value: float) -> str:
    """A time with a unit of its size."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The table, and on what it was measured."""
    by_name = {one["name"]: one for one in found["benchmarks"]}
    machine, commit = found["machine_info"], found["commit_info"]
    processor = machine["cpu"].get("brand_raw", machine["processor"])
    yield (
        f"Measured on one core of {processor}, Python {machine['python_version']}, at commit {commit['id'][:7]}"
        f"{' with changes' if commit['dirty'] else ''}, {found['datetime'][:10]}: CPU time, "
        "median and least of several runs; rates are those of the median."
    )
    yield ""
    yield "| what | median | least | configurations a CPU second | wanted | over its yardstick |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for told, name, yardstick, wanted in ROWS:
        one, other = by_name[name], by_name[yardstick]
        time, rows = one["stats"]["median"], one["extra_info"].get("rows")
        rate = f"{rows / time:,.0f}" if rows else ""
        ratio = time / (other["stats"]["median"] * other["extra_info"].get("times", 1))
        least = seconds(one["stats"]["min"])
        yield f"| {told} | {seconds(time)} | {least} | {rate} | {wanted} | {ratio:.3g} |"
    peak, bare = (by_name[name]["extra_info"]["MiB"] for name in MEMORY)
    yield ""
    yield (
        f"The 1,000,000 random plans take {peak:,.0f} MiB at their peak, {bare:,.0f} MiB of it for Python, NumPy and "
        "the library itself."
    )


def main() -> None:
    """Fill the page."""
    found = json.loads(Path(sys.argv[1]).read_text()) if len(sys.argv) > 1 else measured()
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition("<!-- begin speed -->\n")
    _, end, after = rest.partition("<!-- end speed -->")
    PAGE.write_text(before + begin + "\n".join(lines(found)) + "\n" + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
