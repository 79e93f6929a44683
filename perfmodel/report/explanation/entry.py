"""One explained number: what it is, its formula, what went in, and where that comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Entry", "cited"]


class Entry(NamedTuple):
    """One explained number.

    Parameters
    ----------
    quantity : what it is
    value : the number, printed
    formula : in LaTeX, or a sentence
    inputs : what went in, by symbol or name, printed
    source : of the formula or the numbers
    """

    quantity: str
    value: str
    formula: str
    inputs: dict[str, str]
    source: str


def cited(formula: Callable[..., Any]) -> tuple[str, str]:
    """Equation and references of a formula, read from its docstring, so that they can't differ from it.

    Parameters
    ----------
    formula : a function of `perfmodel.formulas`

    Returns
    -------
    LaTeX, references

    Examples
    --------
    >>> from perfmodel.formulas.memory import sharded
    >>> cited(sharded)[0]
    'n / p'
    """
    text = inspect.getdoc(formula) or ""
    maths = re.search(r"\.\. math:: (.*?)\n\n", text, re.DOTALL)
    references = re.search(r"References\n-+\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
    equation, source = (" ".join(found[1].split()) if found else "" for found in (maths, references))
    return equation, f"{formula.__module__}.{formula.__name__}; {source}"
