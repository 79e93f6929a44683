"""The program: its verbs hang here; it turns errors into one line and answers into an exit code."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from perfmodel.errors import PerfModelError

__all__ = ["BAD_INPUT", "DOES_NOT_FIT", "FITS", "Json", "app", "listed", "main", "print_json"]

FITS, DOES_NOT_FIT, BAD_INPUT = 0, 1, 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How long a step of a large model takes on a machine, what memory it needs, and what limits it.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON: stable keys, SI numbers.")]


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and exit with its code.

    Parameters
    ----------
    arguments : without the program's name; None takes the process's own
    """
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except PerfModelError as error:
        code = _complain(str(error))
    except typer.Abort:
        code = _complain("aborted")
    except BrokenPipeError:
        # the reader has seen enough (| head); the interpreter's own flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FITS
    except Exception as error:
        # click's own usage errors know their text; anything else is a bug and keeps its traceback
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message())
    sys.exit(code if isinstance(code, int) else FITS)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return BAD_INPUT


def listed(text: str) -> list[str]:
    """Items of a list with commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


def print_json(value: Any) -> None:
    """JSON on stdout: stable keys, no number that is none."""
    print(json.dumps(value, indent=2, allow_nan=False))
