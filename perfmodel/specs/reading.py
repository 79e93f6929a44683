"""Reads YAML safely, by the rules of YAML 1.2 that editors follow, and says the line of every fault.

Under YAML 1.1 ``1e9`` is text, ``12:30`` is 750 and ``no`` is false; under 1.2 they are a number, text, text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from perfmodel.errors import SpecError
from perfmodel.specs.telling import Location, told

if TYPE_CHECKING:
    from os import PathLike

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml: slower, else the same
    from yaml import SafeLoader  # type: ignore[assignment]

__all__ = ["parse_yaml", "read_spec", "read_yaml"]

T = TypeVar("T", bound=BaseModel)


class _Loader(SafeLoader):
    """A safe loader with the scalars of YAML 1.2 that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f'the key "{key.value}" is given twice', problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
_FLOAT = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
for _tag, _pattern, _firsts in (
    ("bool", r"true|false", [*"tf"]),
    ("null", r"~|null|", [*"~n", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)", [*"-+0123456789"]),
    ("float", _FLOAT, [*"-+.0123456789"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _firsts)


def read_yaml(path: str | PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file.

    Parameters
    ----------
    path : of the file

    Returns
    -------
    its content; anything but a mapping with unique keys is a `SpecError` that names the file and the line
    """
    content = parse_yaml(_text(Path(path)), str(path))
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise SpecError(f'{path}: a specification is a mapping ("field: value" lines); found {found}')
    return content


def parse_yaml(text: str, origin: str = "this text") -> Any:
    """The content of YAML text.

    Parameters
    ----------
    text : a whole document
    origin : where it is from; opens the message of an error
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise SpecError(
            f"{origin}{line}: this is not readable as YAML: {error.problem or error.context}"
        ) from None
    except yaml.YAMLError as error:
        raise SpecError(f"{origin}: this is not readable as YAML: {error}") from None


def read_spec(path: Path, cls: type[T]) -> T:
    """The specification in a YAML file, whose name must be the id in it.

    Parameters
    ----------
    path : of the file
    cls : what it must hold
    """
    content = read_yaml(path)
    if "id" in cls.model_fields and content.get("id", path.stem) != path.stem:
        raise SpecError(
            f'{path}: the id is "{content["id"]}" but the file is named "{path.stem}"; make them equal'
        )
    try:
        return cls.model_validate(content)
    except ValidationError as error:
        root = yaml.compose(_text(path), _Loader)
        faults = told(error, cls, line=lambda location: _line(root, location))
        faults.subject = str(path)
        raise faults.error(SpecError) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(f"{path}: cannot be read: {reason}") from None


def _line(node: yaml.Node | None, location: Location) -> str:
    """Where the value at a location stands in the file; of a missing one, where its owner stands."""
    if node is None:
        return ""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return f"line {line}: "
