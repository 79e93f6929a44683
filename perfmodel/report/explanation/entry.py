"""One explained number: what it is, its formula, what went in, and where that comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["Entry", "cited", "paragraphs"]


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


def paragraphs(title: str, entries: Iterable[Entry]) -> str:
    """Explained numbers as text.

    Parameters
    ----------
    title : the question
    entries : the answers first

    Returns
    -------
    a paragraph a number
    """
    lines = [f"How {title} was predicted", ""]
    for entry in entries:
        lines += [f"{entry.quantity} = {entry.value}", f"    {entry.formula}"]
        if entry.inputs:
            lines.append("    with " + ", ".join(f"{name} = {value}" for name, value in entry.inputs.items()))
        lines += [f"    source: {entry.source}", ""]
    return "\n".join(lines).rstrip()
