"""What every test shares: a quiet, repeatable surrounding and the way to the golden data."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

os.environ["MPLBACKEND"] = "Agg"  # no window, whatever the machine
os.environ.pop("PERFMODEL_PATH", None)  # a developer's own specs must not change what the tests see

settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("house")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of measured and exact truth."""
    return ROOT / "tests" / "golden"
