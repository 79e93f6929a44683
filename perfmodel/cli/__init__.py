"""The same verbs on the command line. Results on stdout, talk on stderr; exit 0 it fits, 1 it does not, 2 bad input."""

from perfmodel.cli import asking, changing, estimating, scoring, showing, sweeping  # noqa: F401  each hangs its verbs in
from perfmodel.cli.app import app, main

__all__ = ["app", "main"]
