"""`make oracles` without its libraries says so; with them it is run by hand, for it takes half a minute."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("oracles_tool", ROOT / "tools" / "oracles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_missing_libraries_are_told(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    assert tool.main() == 2
    assert "torch and transformers missing" in capsys.readouterr().out


def test_a_sample_is_spread_evenly(tool, monkeypatch):
    monkeypatch.setattr(tool.sys, "argv", ["oracles.py"])
    rows = [{"n": n} for n in range(10)]
    assert [row["n"] for row in tool.sample(rows, 5)] == [0, 2, 4, 6, 8]
    assert tool.sample(rows[:3], 5) == rows[:3]
    monkeypatch.setattr(tool.sys, "argv", ["oracles.py", "--all"])
    assert tool.sample(rows, 5) == rows


def test_what_differs_and_what_cannot_be_counted_are_told(tool, monkeypatch, capsys):
    def rows():
        yield "one", {"total": 1}, {"total": 1}
        yield "two", {"total": 2}, {"total": 3}
        yield "three", {"total": 3}, tool.tried(lambda: 1 / 0)

    monkeypatch.setattr(tool, "missing", list)
    monkeypatch.setattr(tool.sys, "argv", ["oracles.py"])
    for name in ("native_rows", "parameter_rows", "flop_rows"):
        monkeypatch.setattr(tool, name, rows if name == "flop_rows" else lambda: iter(()))
    assert tool.main() == 1
    out = capsys.readouterr().out
    assert "differ: two" in out
    assert "ZeroDivisionError" in out
    assert "1 equal, 1 differ, 1 not counted" in out


def test_every_native_row_has_a_builder(tool):
    rows = json.loads((ROOT / "tests" / "golden" / "native.json").read_text(encoding="utf-8"))["rows"]
    assert {row["format"] for row in rows} == {*tool.BUILDERS}
