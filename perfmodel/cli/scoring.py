"""`perfmodel validate` and `perfmodel calibrate`: predictions against measurements."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import perfmodel as pm
from perfmodel.calibration import calibrated, cross_validate_batches, cross_validate_runs
from perfmodel.cli.app import FITS, Json, app, print_json
from perfmodel.efficiency import load_fits
from perfmodel.errors import InputError
from perfmodel.validation import Report
from perfmodel.validation.scores import read_rows

__all__ = ["calibrate", "validate"]


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Measured runs (.jsonl) and operators (.csv).")],
    out: Annotated[
        Path | None, typer.Option("--json", help="Write rows, skipped rows and summary here.")
    ] = None,
    efficiency: Annotated[
        str | None, typer.Option(help="One efficiency set for all rows, or a file that calibrate wrote.")
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            help="Refit the software's constants without each group, generation, source or software (of inference: or "
            "device, constants), and score what was left out; a minute for training rows, several for inference."
        ),
    ] = None,
) -> int:
    """Score predictions against measured runs and operators: by source, hardware, software and kind of work."""
    if held_out is None:
        report = pm.validate(files, efficiency=load_fits(efficiency) if efficiency else None)
    else:
        report = _held_out([row for file in files for row in read_rows(file)], held_out)
    if out is not None:
        try:
            out.write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"can't write {out}: {error.strerror}") from None
    _print_report(report)
    return FITS


def _held_out(rows: list[dict[str, Any]], by: str) -> Report:
    """Scores of runs that a fit did not see, of training and of inference each by its own."""
    report, served = Report(), [row for row in rows if row.get("kind") == "inference"]
    rest = [row for row in rows if row.get("kind") != "inference"]
    if rest or not served:
        report.scores.extend(cross_validate_runs(rest, by).scores)
    if served:
        report.scores.extend(cross_validate_batches(served, by).scores)
    return report


def _print_report(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    for metric in report.metrics:
        for group, names in report.summary(metric).items():
            rows = {"all rows": names} if group == "all" else names
            title = f"{metric}: |error| {'over all rows' if group == 'all' else group.replace('_', ' ')}"
            console.print(_error_table(title, rows))
    if report.assumed:
        told = "took something as near or usual; see Report.assumed for what"
        console.print(f"{len(report.assumed)} predicted rows {told}", markup=False, highlight=False)
    if report.skipped:
        console.print(f"{len(report.skipped)} rows skipped:")
        for reason, count in report.reasons().items():
            console.print(f"  {count:>4}  {reason}", markup=False, highlight=False)


def _error_table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", overflow="fold", max_width=58)
    for name in ("rows", "skipped", "median", "p90", "mean", "bias"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        errors = [row[key] for key in ("median_error", "p90_error", "mean_error")]
        bias = "" if row["bias"] is None else f"{row['bias']:+.1%}"
        cells = ["" if error is None else f"{error:.1%}" for error in errors]
        table.add_row(name, str(row["rows"]), str(row["skipped"]), *cells, bias)
    return table


@app.command()
def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(help="Measured operators (.csv), or runs of training and of inference (.jsonl)."),
    ],
    device: Annotated[
        str | None, typer.Option(help="Whose rows are fitted, and the device of rows that name none.")
    ] = None,
    efficiency: Annotated[
        str | None, typer.Option(help="The set to begin with; by default the device's own.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the new set here, as .yaml; of both kinds of runs, a file for each."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Fit a set to what you measured: an efficiency set to operators, that of a stack or an engine to runs."""
    start = pm.Efficiency.load(efficiency) if efficiency else None
    found = calibrated(files, device=device, start=start)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    if out is not None:
        saved: Any = found.save(out)
        for one in saved if isinstance(saved, tuple) else (saved,):
            told = f"{out.with_name(one.id + out.suffix)}: pm.{type(one).__name__}.load(…), or --efficiency"
            print(f"wrote {told}", file=sys.stderr)
    return FITS
