"""The same verbs on the command line. Results on stdout, talk on stderr; exit 0 it fits, 1 it does not, 2 bad input."""

from perfmodel.cli import (  # noqa: F401  each hangs its verbs in
    asking,
    changing,
    estimating,
    fronts,
    scoring,
    searching,
    showing,
    sweeping,
)
from perfmodel.cli.app import app, main

__all__ = ["app", "main"]
