"""What an attribute's docstring says, read from the source when it is first asked for: importing must stay quick."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from itertools import pairwise

__all__ = ["field_docs", "field_units"]


@cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstrings under the attributes of a class and its bases, by attribute.

    Parameters
    ----------
    cls : a class whose source can be read; one without source has no docs
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(("builtins", "pydantic")):
            found.update(_own_docs(base))
    return found


@cache
def field_units(cls: type) -> dict[str, str]:
    """The units that close the docstrings of a class's attributes, in square brackets, by attribute.

    Parameters
    ----------
    cls : as of `field_docs`

    Examples
    --------
    >>> from perfmodel.hardware.device import Device
    >>> units = field_units(Device)
    >>> units["l2"], units["clock"], "architecture" in units
    ('B', 'Hz', False)
    """
    found = {name: re.search(r"\[([^\]\s]+)\]\W*$", text) for name, text in field_docs(cls).items()}
    return {name: unit[1] for name, unit in found.items() if unit}


def _own_docs(cls: type) -> dict[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return {}
    lines = body.body if isinstance(body, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(lines)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
