"""What the README shows is what the code does: its blocks run, its output and its tables are today's."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import pytest

from perfmodel.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_tool", ROOT / "tools" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_block_is_up_to_date(tool: ModuleType) -> None:
    content = tool.blocks()
    for page in tool.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tool.filled(text, content) == text, f"{page.name} is stale: run python tools/readme.py"
        named = set(re.findall(r"<!-- begin ([\w-]+) -->", text))
        assert named <= set(content), f"{page.name} has blocks nothing fills: {named - set(content)}"


def test_the_python_blocks_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib.use("Agg")
    space: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, space)
    assert capsys.readouterr().out


def test_make_demo_prints_the_readme_s_first_screen(capsys: pytest.CaptureFixture[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    demo = re.search(r"^DEMO\s*\?=\s*perfmodel (.*)$", makefile, re.MULTILINE)
    assert demo is not None
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(demo[1]))
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() in README
