"""The architecture is a test: DESIGN's rooms, floors and habits, read from the source of whatever modules exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = "perfmodel"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE

# From the ground up. A room imports rooms of its own floor (as long as that makes no circle) or of floors below.
# A new room gets its place here, in the same change.
FLOORS: list[set[str]] = [
    {"units", "errors", "ops", "symbols", "duals", "program"},
    {"specs"},
    {"formulas", "work", "schedules"},
    {"hardware", "efficiency", "layers", "workload"},
    {"walk", "counting", "model"},
    {"decoder", "encoder", "native", "residual"},
    {"huggingface", "parallel"},
    {"costs"},
    {"estimation"},
    {"report", "exploration", "sensitivity", "calibration", "validation"},
    {"plan"},
    {"plot"},
    {"__init__"},  # the public face
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LATE = ["sympy", "matplotlib", "pandas", "scipy", "tqdm"]
LONGEST = 400


class Module(NamedTuple):
    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, len(text.splitlines()), ast.parse(text, str(path)))
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def running_nodes(tree: ast.AST):
    """Every node that runs: all but the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        if is_type_checking(child):
            for otherwise in child.orelse:
                yield otherwise
                yield from running_nodes(otherwise)
        else:
            yield child
            yield from running_nodes(child)


def imports_of(module: Module, known: dict[str, Module]) -> set[str]:
    """The package's own modules that `module` imports, late imports inside functions included."""
    home = module.name.split(".") if module.path.name == "__init__.py" else module.name.split(".")[:-1]
    targets = set()
    for node in running_nodes(module.tree):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            head = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import module` imports the module; `from package import name` the package
            targets |= {f"{head}.{a.name}" if f"{head}.{a.name}" in known else head for a in node.names}
    inside = {target for target in targets if target == PACKAGE or target.startswith(f"{PACKAGE}.")}
    return {target for target in inside if target in known} - {module.name}


@cache
def graph() -> dict[str, set[str]]:
    return {name: imports_of(module, modules()) for name, module in modules().items()}


def circle(edges: dict[str, set[str]]) -> str:
    """One circle as 'a -> b -> a', or nothing."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def public(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def told(faults: list[str]) -> str:
    return "\n  ".join(["", *faults])


def test_the_rooms_are_found():
    assert len(modules()) > 5


def test_no_import_circle_between_modules():
    assert circle(graph()) == ""


def test_no_import_circle_between_rooms():
    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        here = modules()[name].room
        rooms.setdefault(here, set()).update({modules()[other].room for other in others} - {here})
    assert circle(rooms) == ""


def test_every_room_has_its_floor():
    homeless = sorted({module.room for module in modules().values()} - set(FLOOR))
    assert not homeless, f"give these rooms their place in FLOORS (tests/test_house.py): {homeless}"


def test_no_import_upward():
    faults = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in sorted(others)
        if FLOOR.get(modules()[other].room, 0) > FLOOR.get(modules()[name].room, len(FLOORS))
    ]
    assert not faults, told(faults)


def test_costs_know_no_hardware_and_no_seconds():
    """The load-bearing wall: nothing below `estimation` knows a machine, but the room that describes it."""
    faults = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in sorted(others)
        if modules()[name].room in {"layers", "model", "decoder", "huggingface", "parallel", "costs"}
        and modules()[other].room in {"hardware", "efficiency"}
    ]
    assert not faults, told(faults)


def test_modules_are_one_idea_long():
    faults = [f"{m.path}: {m.lines} lines" for m in modules().values() if m.lines > LONGEST]
    assert not faults, told(faults)


def test_public_names_are_documented():
    faults = [
        f"{module.name}.{node.name}"
        for module in modules().values()
        for node in public(module.tree)
        if not ast.get_docstring(node)
    ]
    assert not faults, told(faults)


def formulas() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (f"{module.name}.{node.name}", node)
        for module in modules().values()
        if module.room == "formulas" and not module.path.stem.startswith("_")
        for node in public(module.tree)
        if isinstance(node, ast.FunctionDef)
    ]


def sections(doc: str) -> dict[str, str]:
    """The numpydoc sections of a docstring, by heading."""
    pieces = re.split(r"^(\w[\w ]*)\n-{3,}\n", doc + "\n", flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def entries(section: str) -> dict[str, str]:
    """The entries of a Parameters section: 'a, b : text' speaks for a and for b."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if match := re.match(r"(\w+(?:, \w+)*) *:", line):
            names = match[1].split(", ")
            found.update(dict.fromkeys(names, ""))
        for name in names:
            found[name] += line + "\n"
    return found


UNIT = re.compile(r"\[[^\]\s][^\]]*\]")


def faults_of_formula(node: ast.FunctionDef) -> list[str]:
    parts = sections(ast.get_docstring(node) or "")
    given = entries(parts.get("Parameters", ""))
    arguments = [argument.arg for argument in node.args.kwonlyargs]
    faults = [f"no unit in brackets for {name}" for name in arguments if not UNIT.search(given.get(name, ""))]
    if node.args.posonlyargs or node.args.args:
        faults.append("arguments must be keyword-only")
    if not UNIT.search(parts.get("Returns", "")):
        faults.append("no unit in brackets for what it returns")
    if not parts.get("References", "").strip():
        faults.append("no References section")
    return faults


def test_formulas_state_units_and_sources():
    faults = [f"{name}: {fault}" for name, node in formulas() for fault in faults_of_formula(node)]
    assert not faults, told(faults)


def test_formulas_take_their_words_from_the_glossary():
    """Every argument's name stands as `name` in the first column of a table in docs/glossary.md."""
    glossary = (ROOT.parent / "docs" / "glossary.md").read_text(encoding="utf-8")
    firsts = re.findall(r"^\| ([^|]+) \|", glossary, re.MULTILINE)
    known = {name for first in firsts for name in re.findall(r"`(\w+)`", first)}
    faults = [
        f"{name}({argument.arg}): use a name of docs/glossary.md, or add this one with its unit"
        for name, node in formulas()
        for argument in node.args.kwonlyargs
        if argument.arg not in known
    ]
    assert not faults, told(faults)


def test_only_the_command_line_prints():
    faults = [
        f"{module.path}:{node.lineno}"
        for module in modules().values()
        if module.room not in {"cli", "__main__"}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not faults, told(faults)


def test_import_is_light():
    """`import perfmodel` loads none of the packages that are wanted late."""
    code = f"import sys, {PACKAGE}; print(*sorted(set({LATE}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT.parent,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


# --- the tests of these tests: each rule on a few lines that break it ---------------------------------------------


def module(name: str, source: str, filename: str = "x.py") -> Module:
    return Module(name, Path(filename), source.count("\n"), ast.parse(source))


def test_imports_are_read_in_every_spelling():
    names = [
        "perfmodel",
        "perfmodel.ops",
        "perfmodel.layers",
        "perfmodel.layers.mlp",
        "perfmodel.layers.base",
    ]
    known = {name: module(name, "") for name in names}
    source = (
        "import perfmodel.ops\nfrom . import base\nfrom .base import Layer\nfrom ..layers import Mlp\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from perfmodel import estimate\n"
        "import perfmodelling\n"
    )
    seen = imports_of(module("perfmodel.layers.mlp", source), known)
    assert seen == {"perfmodel.ops", "perfmodel.layers", "perfmodel.layers.base"}
    assert imports_of(module("perfmodel.ops", "from perfmodel import estimate"), known) == {"perfmodel"}
    late = "def f():\n    from perfmodel import layers\n"
    assert imports_of(module("perfmodel.ops", late), known) == {"perfmodel.layers"}
    assert imports_of(module("perfmodel.layers", "from .mlp import Mlp", "__init__.py"), known) == {
        "perfmodel.layers.mlp"
    }


def test_a_circle_is_told():
    assert circle({"a": {"b"}, "b": {"a"}}) in {"a -> b -> a", "b -> a -> b"}
    assert circle({"a": {"b"}, "b": set()}) == ""


def test_a_formula_without_units_is_told():
    good = '''
def f(*, payload: Number, ranks: Number) -> Number:
    """Time.

    Parameters
    ----------
    payload, ranks : bytes,
        and so on [B]

    Returns
    -------
    time [s]

    References
    ----------
    Somebody (2005)
    """
'''
    assert faults_of_formula(ast.parse(good).body[0]) == []
    for broken in (good.replace("[B]", ""), good.replace("[s]", ""), good.replace("*, ", "")):
        assert faults_of_formula(ast.parse(broken).body[0])
    assert faults_of_formula(ast.parse(good.replace("References", "See Also")).body[0]) == [
        "no References section"
    ]
