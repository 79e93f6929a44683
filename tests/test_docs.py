"""The pages lead where they say: links, files, names of functions and of rooms that they mention are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import perfmodel as pm

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TOPS = ("perfmodel", "hardware_specs", "model_specs", "tests", "tools", "docs", "notebooks", "benchmarks")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(page: Path) -> list[tuple[str, str]]:
    """Words and target of every link into the project."""
    found = re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text(page))
    return [(words, target) for words, target in found if "://" not in target]


def named_paths(words: str) -> set[str]:
    """Files and folders of the project that stand in code type."""
    told = re.findall(rf"`((?:{'|'.join(TOPS)})/[\w./-]*)`", words)
    return {path for path in told if "ID" not in path}


@cache
def defined(file: Path) -> set[str]:
    """Names that a module defines, methods and fields of its classes included."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    fields = [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
    return names | {target.id for target in fields if isinstance(target, ast.Name)}


@every_page
def test_links_lead_to_files(page: Path):
    faults = [target for _, target in links(page) if not (page.parent / target.partition("#")[0]).exists()]
    assert not faults


@every_page
def test_linked_functions_stand_in_the_linked_module(page: Path):
    faults = [
        f"{name} is not in {target}"
        for words, target in links(page)
        if target.endswith(".py")
        for name in re.findall(r"`(?:\w+\.)*(\w+)`", words)
        if name not in defined((page.parent / target).resolve())
    ]
    assert not faults


@every_page
def test_named_paths_exist(page: Path):
    faults = sorted(path for path in named_paths(text(page)) if not (ROOT / path).exists())
    assert not faults


@every_page
def test_named_public_names_exist(page: Path):
    faults = sorted({name for name in re.findall(r"\bpm\.(\w+)", text(page)) if not hasattr(pm, name)})
    assert not faults


def test_the_index_links_every_page():
    named = {(ROOT / "docs" / target).resolve() for _, target in links(ROOT / "docs" / "index.md")}
    pages = {page for page in PAGES if page.name != "index.md"}
    assert pages <= named, f"docs/index.md lacks {sorted(page.name for page in pages - named)}"


def test_contributing_names_every_room():
    table = re.search(r"\| room \|.*?\n\n", text(ROOT / "CONTRIBUTING.md"), re.DOTALL)
    assert table is not None
    firsts = re.findall(r"^\| ([^|]+) \|", table[0], re.MULTILINE)
    told = {name for first in firsts for name in re.findall(r"`(\w+)`", first)}
    rooms = {path.stem for path in (ROOT / "perfmodel").iterdir() if path.suffix == ".py" or path.is_dir()}
    there = {room for room in rooms if not room.startswith("_")}
    assert there <= told, f"the table of rooms lacks {sorted(there - told)}"


def test_a_wrong_path_is_told():
    assert named_paths("see `perfmodel/nowhere.py` and `perfmodel show ID`") == {"perfmodel/nowhere.py"}
