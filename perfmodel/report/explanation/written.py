"""Explained numbers as text, Markdown, HTML and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from perfmodel.errors import unknown
from perfmodel.estimation.answer import view
from perfmodel.report.explanation.entry import Entry

__all__ = ["FORMATS", "explained_by", "html", "markdown", "paragraphs", "records", "written"]


def written(title: str, entries: Iterable[Entry], form: str = "text") -> str:
    """Explained numbers in a format.

    Parameters
    ----------
    title : the question
    entries : the answers first
    form : text, markdown, html or json

    Returns
    -------
    the whole explanation

    Raises
    ------
    UnknownNameError
        no such format

    Examples
    --------
    >>> entry = Entry("step time", "2 s", "t = F / P", {"F": "2 FLOP", "P": "1 FLOP/s"}, "the datasheet")
    >>> print(written("a step", [entry], "markdown"))
    # How a step was predicted
    <BLANKLINE>
    ## step time = 2 s
    <BLANKLINE>
    $$t = F / P$$
    <BLANKLINE>
    | with | |
    | --- | --- |
    | F | 2 FLOP |
    | P | 1 FLOP/s |
    <BLANKLINE>
    Source: the datasheet
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](f"How {title} was predicted", entries)


def explained_by(
    kind: str, describe: Callable[[Any], str], entries: Callable[[Any], Iterable[Entry]]
) -> None:
    """Explain a kind of estimate: every number with its formula, in a format.

    Parameters
    ----------
    kind : of estimate, as in `view`
    describe : the question in one line
    entries : what there is to explain, the answers first
    """
    view("explain", kind)(lambda est, form="text": written(describe(est), entries(est), form))


def paragraphs(heading: str, entries: Iterable[Entry]) -> str:
    """As text, a paragraph a number.

    Parameters
    ----------
    heading : above all
    entries : the answers first
    """
    lines = [heading, ""]
    for entry in entries:
        lines += [f"{entry.quantity} = {entry.value}", f"    {entry.formula}"]
        if entry.inputs:
            lines.append("    with " + ", ".join(f"{name} = {value}" for name, value in entry.inputs.items()))
        lines += [f"    source: {entry.source}", ""]
    return "\n".join(lines).rstrip()


def markdown(heading: str, entries: Iterable[Entry]) -> str:
    """As Markdown: a heading a number, its formula as mathematics, what went in as a table.

    Parameters
    ----------
    heading : above all
    entries : the answers first
    """
    lines = [f"# {heading}", ""]
    for entry in entries:
        lines += [f"## {entry.quantity} = {entry.value}", ""]
        lines += [f"$${entry.formula}$$" if _is_maths(entry.formula) else _cell(entry.formula), ""]
        if entry.inputs:
            lines += ["| with | |", "| --- | --- |"]
            lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in entry.inputs.items()] + [""]
        lines += [f"Source: {_cell(entry.source)}", ""]
    return "\n".join(lines).rstrip()


def html(heading: str, entries: Iterable[Entry]) -> str:
    """As HTML without scripts: a part that opens for each number; formulas in LaTeX, as notebooks set them.

    Parameters
    ----------
    heading : above all
    entries : the answers first
    """
    parts = []
    for entry in entries:
        formula = f"$${entry.formula}$$" if _is_maths(entry.formula) else entry.formula
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in entry.inputs.items()
        )
        parts.append(
            f"<details><summary><b>{escape(entry.quantity)}</b> = {escape(entry.value)}</summary>"
            f"<p>{escape(formula)}</p><table>{rows}</table><p><small>{escape(entry.source)}</small></p></details>"
        )
    return f"<div><p><b>{escape(heading)}</b></p>{''.join(parts)}</div>"


def records(heading: str, entries: Iterable[Entry]) -> str:
    """As JSON: title, and a list of quantity, value, formula, inputs, source.

    Parameters
    ----------
    heading : above all
    entries : the answers first
    """
    return json.dumps(
        {"title": heading, "entries": [entry._asdict() for entry in entries]}, indent=2, ensure_ascii=False
    )


FORMATS: dict[str, Callable[[str, Iterable[Entry]], str]] = {
    "text": paragraphs, "markdown": markdown, "html": html, "json": records,
}  # fmt: skip
"""How an explanation may be written."""


def _is_maths(formula: str) -> bool:
    """It is an equation, not a sentence: no words but LaTeX's."""
    return not re.search(r"[A-Za-z]{4,}", re.sub(r"\\\w+(\{\w+\})?", "", formula))


def _cell(text: str) -> str:
    """Text that a table of Markdown takes."""
    return text.replace("|", "\\|")
