"""Two-column tables for the terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["html_table", "text_table"]


def text_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A title and one indented line a row.

    Parameters
    ----------
    title : first line
    rows : label and text; rows without text are left out

    Examples
    --------
    >>> print(text_table("M 1", [("memory", "80.00 GiB"), ("notes", "")]))
    M 1
      memory      80.00 GiB
    """
    return "\n".join([title, *(f"  {label:<11} {text}" for label, text in rows if text)])


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """The same as an HTML table; every text is escaped.

    Parameters
    ----------
    title : caption
    rows : label and text; rows without text are left out

    Examples
    --------
    >>> html_table("A & B", [("memory", "80.00 GiB")])
    '<table><caption>A &amp; B</caption><tr><th>memory</th><td>80.00 GiB</td></tr></table>'
    """
    body = "".join(
        f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>" for label, text in rows if text
    )
    return f"<table><caption>{escape(title)}</caption>{body}</table>"
