"""What all reports are made of: words for terms and resources, rows with shares, and how a page shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

from perfmodel.errors import MissingExtraError
from perfmodel.estimation import Limiter
from perfmodel.estimation.answer import view
from perfmodel.parallel import AXES, Parallel
from perfmodel.units import Dimension, show

__all__ = [
    "RESOURCES", "SERVED_TERMS", "TERMS", "Row", "Table", "band_told", "frame", "html_page", "kind_rows", "limits",
    "pandas_module", "shown_by", "spread", "term_rows", "text_page", "throughput",
]  # fmt: skip

TERMS = {
    "matmul": "matrix products",
    "attention": "attention kernels",
    "memory-bound": "norms, activations, optimizer and other streams",
    "tp": "tensor-parallel messages, exposed",
    "cp": "context-parallel messages, exposed",
    "ep": "expert-parallel messages, exposed",
    "pp": "pipeline sends, exposed",
    "dp": "data-parallel messages, exposed",
    "offload": "copies to and from the host, exposed",
    "contention": "compute slowed by messages beside it",
    "bubble": "pipeline bubble",
    "host": "waiting for the host",
    "stragglers": "waiting for the slowest device",
    "input": "waiting for samples",
    "queue": "waiting for other requests",
}
"""Kinds of work, as printed."""

SERVED_TERMS = TERMS | {"memory-bound": "norms, activations and other streams"}
"""The same where nothing is trained."""

RESOURCES = {
    "compute": "matrix units",
    "memory_bandwidth": "memory bandwidth",
    "kernel_latency": "kernel start-up",
    "network_latency": "network latency",
    "scale_up": "scale-up network",
    "node": "network inside the node",
    "fabric": "network between nodes",
    "host_link": "link to the host",
    "host_memory": "memory of the host",
    "storage": "storage of the host",
    "spine": "spine of the network between nodes",
    "pipeline_bubble": "pipeline bubble",
    "host_launch": "host",
    "stragglers": "slowest device",
    "input_pipeline": "input pipeline",
    "queue": "other requests",
}
"""Resources, as printed."""


class Row(NamedTuple):
    """A line of a table.

    Parameters
    ----------
    name : as printed
    value : in the table's unit
    share : of the whole [-]
    """

    name: str
    value: float
    share: float


class Table(NamedTuple):
    """Rows under a title.

    Parameters
    ----------
    title : what is told apart
    unit : of the values: s or B
    rows : largest first
    more : lines that a text says below, outside the sum
    """

    title: str
    unit: Dimension
    rows: list[Row]
    more: tuple[str, ...] = ()


def term_rows(terms: Mapping[str, Any], whole: Any, words: Mapping[str, str] = TERMS) -> list[Row]:
    """Terms of a time, the longest first.

    Parameters
    ----------
    terms : seconds by kind of work [s]
    whole : their sum [s]
    words : for each kind of work
    """
    rows = [Row(words.get(name, name), value, value / whole) for name, value in terms.items() if value > 0]
    return sorted(rows, key=lambda row: -row.share)


def kind_rows(kinds: Mapping[str, Any], whole: Any) -> list[Row]:
    """Kinds of memory, in their order.

    Parameters
    ----------
    kinds : bytes by kind [B]
    whole : their sum [B]
    """
    return [Row(name, value, value / whole) for name, value in kinds.items() if value > 0]


def spread(layout: Parallel) -> Iterator[str]:
    """How a model is spread, in words: degrees, then what goes with them.

    Parameters
    ----------
    layout : dp filled in
    """
    yield from (
        f"{axis} {getattr(layout, axis)}"
        for axis in ("tp", "cp", "ep", "pp", "vpp", "dp")
        if getattr(layout, axis) > 1 or axis == "dp"
    )
    if layout.expert_tp is not None:
        yield f"expert tp {layout.expert_tp}"
    if layout.cp > 1 and layout.context != "ring":
        yield f"context by {layout.context}"
    if layout.schedule != "auto":
        yield f"schedule {layout.schedule}"
    if layout.order != AXES:
        yield f"order {' '.join(layout.order)}"


def throughput(rates: Iterable[tuple[str, Any]], devices: int) -> str:
    """Rates of all devices and of each.

    Parameters
    ----------
    rates : what is counted, and how much of it in a second [1/s]
    devices : all [-]
    """
    return ", ".join(f"{_count(all_)} {what}/s, {_count(all_ / devices)} per device" for what, all_ in rates)


def _count(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def limits(limiter: Limiter) -> str:
    """What limits, in words.

    Parameters
    ----------
    limiter : with its runner-up
    """
    first, second = (RESOURCES.get(name, name) for name in (limiter.name, limiter.runner_up))
    return f"{first} ({limiter.share:.0%}), then {second} ({limiter.runner_up_share:.0%})"


def band_told(what: str, bounds: tuple[float, float]) -> str:
    """Where eight in ten measured times lie.

    Parameters
    ----------
    what : is measured, in the plural
    bounds : of its time [s]
    """
    low, high = bounds
    return f" (eight in ten such {what}: {show(low, 's', 3)} to {show(high, 's', 3)})"


def text_page(title: str, answers: Mapping[str, str], tables: Iterable[Table]) -> str:
    """An estimate on one screen.

    Parameters
    ----------
    title : the question in one line
    answers : by name
    tables : below them
    """
    width = max(len(name) for name in answers) + 2
    lines = [title, "", *(f"  {name:<{width}}{value}" for name, value in answers.items())]
    for table in tables:
        lines += ["", f"  {table.title}"]
        lines += [
            f"    {row.name:<50}{show(row.value, table.unit):>11}{row.share:>8.1%}" for row in table.rows
        ]
        lines += table.more
    return "\n".join(lines)


def html_page(title: str, answers: Mapping[str, str], tables: Iterable[Table]) -> str:
    """An estimate for a notebook: tables with bars, no scripts.

    Parameters
    ----------
    title : the question in one line
    answers : by name
    tables : below them
    """
    told = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>"
        f"{escape(value)}</td></tr>"
        for name, value in answers.items()
    )
    return f"<div><p><b>{escape(title)}</b></p><table>{told}</table>{''.join(map(_bars, tables))}</div>"


def _bars(table: Table) -> str:
    cells = "".join(
        f"<tr><td style='text-align:left'>{escape(row.name)}</td><td>{escape(show(row.value, table.unit))}</td>"
        f"<td>{row.share:.1%}</td><td style='min-width:12em'>{_bar(row.share)}</td></tr>"
        for row in table.rows
    )
    head = f"<th style='text-align:left' colspan='4'>{escape(table.title)}</th>"
    return f"<table><thead><tr>{head}</tr></thead>{cells}</table>"


def _bar(share: float) -> str:
    return f"<div style='background:#4c78a8;height:0.8em;width:{100 * share:.1f}%'></div>"


def shown_by(
    kind: str,
    describe: Callable[[Any], str],
    headline: Callable[[Any], Mapping[str, str]],
    tables: Callable[[Any], Mapping[str, Table]],
) -> None:
    """Show a kind of estimate on a screen (text), in a notebook (html: tables with bars, no scripts), as a data frame.

    Parameters
    ----------
    kind : of estimate, as in `view`
    describe : the question in one line
    headline : the answers, by what they are called
    tables : where time and memory go, by the word for them in the column `quantity`
    """
    view("text", kind)(lambda est: text_page(describe(est), headline(est), tables(est).values()))
    view("html", kind)(lambda est: html_page(describe(est), headline(est), tables(est).values()))
    view("frame", kind)(lambda est: frame(tables(est)))


def frame(tables: Mapping[str, Table]) -> Any:
    """Tables as one data frame.

    Parameters
    ----------
    tables : by the word for them in the column `quantity`

    Returns
    -------
    columns quantity, name, value (s or B), share

    Raises
    ------
    MissingExtraError
        pandas is not installed
    """
    rows = [(quantity, *row) for quantity, table in tables.items() for row in table.rows]
    return pandas_module().DataFrame(rows, columns=["quantity", "name", "value", "share"])


def pandas_module() -> Any:
    """Pandas, loaded when a table of it is asked for.

    Raises
    ------
    MissingExtraError
        it is not installed
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("pandas", "frame") from None
    return pandas
