"""Estimates by name: the tables that they share, what a dollar buys of each, and where prices break even."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from perfmodel.errors import InputError, MissingExtraError, unknown
from perfmodel.estimation.answer import VIEWS
from perfmodel.report import RESOURCES, TERMS
from perfmodel.sensitivity.outcomes import RATES, TIME, speedup
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison"]

TABLES = ("metrics", "terms", "resources", "memory")
"""Tables of a comparison, each with a row an estimate."""
MILLION = 1e6


@dataclass(frozen=True, repr=False)
class Comparison:
    """Estimates by name; the first one is what the others are held against."""

    estimates: dict[str, Any]
    """By their names in the table."""
    prices: dict[str, float | None]
    """Of an hour of one device; None is not known [USD/h]."""

    def __getitem__(self, name: str) -> Any:
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    @property
    def first(self) -> str:
        """The name of the first."""
        return next(iter(self.estimates))

    def _named(self, name: str) -> Any:
        if name not in self.estimates:
            raise unknown("estimate", name, self.estimates)
        return self.estimates[name]

    def speedup(self, name: str, against: str | None = None) -> float:
        """How much faster one is than another.

        Parameters
        ----------
        name : of the one
        against : of the other; None is the first

        Returns
        -------
        samples a second over the other's; where requests arrive at a rate of their own, its time over the one's [-]
        """
        return speedup(self._named(against or self.first), self._named(name))

    def usd_per_hour(self, name: str) -> float | None:
        """Price of the machine of one; None where it is not known [USD/h].

        Parameters
        ----------
        name : of the estimate
        """
        price, est = self.prices[name], self._named(name)
        return None if price is None else float(price * est.cluster.devices)

    def usd_per_million(self, name: str) -> float | None:
        """Price of a million tokens, or of samples where there are no tokens; None where it is not known [USD].

        Parameters
        ----------
        name : of the estimate
        """
        hour = self.usd_per_hour(name)
        return None if hour is None else float(hour / 3600 / self._rate(name)[1] * MILLION)

    def _rate(self, name: str) -> tuple[str, float]:
        """What is counted, and how many of it a second."""
        est = self._named(name)
        what, field = next(
            (what, field) for what, field in RATES[est.kind].items() if getattr(est, field) is not None
        )
        return what, float(getattr(est, field))

    def break_even(
        self, price: float | None = None, *, of: str | None = None, against: str | None = None
    ) -> float:
        """The price of a device at which one estimate gives as much for a dollar as another.

        Below it the one is the better buy, above it the other.

        Parameters
        ----------
        price : of an hour of one of the other's devices; None is its price in the table [USD/h]
        of : name of the one; None is the second
        against : name of the other; None is the first

        Returns
        -------
        price of an hour of one of the one's devices [USD/h]

        Raises
        ------
        InputError
            there is no second estimate, or the other's price is not known
        """
        names = list(self.estimates)
        if of is None and len(names) < 2:
            raise InputError("a price breaks even between two estimates, and there is one")
        one, other = of or names[1], against or self.first
        known = self.prices[other] if price is None else price
        if known is None:
            raise InputError(
                f"the price of {other} is not known; give it: break_even(2.5), in USD an hour of a device"
            )
        count = [self._named(name).cluster.devices for name in (one, other)]
        return float(known * self.speedup(one, other) * count[1] / count[0])

    def rows(self, table: str = "metrics") -> dict[str, dict[str, Any]]:
        """One of the tables: a row an estimate, a value a column.

        Parameters
        ----------
        table : metrics, terms or resources (seconds), or memory (bytes)

        Raises
        ------
        UnknownNameError
            no such table
        """
        if table not in TABLES:
            raise unknown("table", table, TABLES)
        if table == "metrics":
            return {name: self._metrics(name) for name in self.estimates}
        found = {
            name: est.memory.by_kind if table == "memory" else getattr(est, table)
            for name, est in self.estimates.items()
        }
        most = {
            key: max(row.get(key, 0.0) for row in found.values()) for row in found.values() for key in row
        }
        columns = sorted(most, key=lambda key: -most[key])
        return {name: {key: float(row.get(key, 0.0)) for key in columns} for name, row in found.items()}

    @property
    def _fields(self) -> list[str]:
        """Answers that any of the kinds has, the time first."""
        kinds = dict.fromkeys(est.kind for est in self.estimates.values())
        return list(dict.fromkeys(field for kind in kinds for field in METRICS[kind]))

    def _metrics(self, name: str) -> dict[str, Any]:
        est = self.estimates[name]
        return {
            "devices": est.cluster.devices,
            **{field: getattr(est, field, None) for field in self._fields},
            "memory_gib": est.memory.total / 2**30,
            "fits": bool(est.fits),
            "limiter": est.limiter.name,
            "speedup": self.speedup(name),
            "usd_per_hour": self.usd_per_hour(name),
            "usd_per_million": self.usd_per_million(name),
        }

    @property
    def index(self) -> Any:
        """Names of the rows, as pandas has them."""
        return self.to_frame().index

    @property
    def loc(self) -> Any:
        """Cells of the metrics by names of row and column, as pandas has them."""
        return self.to_frame().loc

    def to_dict(self) -> dict[str, Any]:
        """Every table in SI units, ready for JSON."""
        return {table: self.rows(table) for table in TABLES} | {"usd_per_device_hour": self.prices}

    def to_frame(self, table: str = "metrics") -> pandas.DataFrame:
        """A table with a row an estimate; or all of them as one long column, whose outer index is the estimate's name.

        Parameters
        ----------
        table : metrics, terms or resources (seconds), memory (bytes), or everything

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frame") from None
        if table == "everything":
            values = {
                (name, kind, key): value
                for kind in TABLES
                for name, row in self.rows(kind).items()
                for key, value in row.items()
            }
            index = pandas.MultiIndex.from_tuples(list(values), names=["estimate", "table", "quantity"])
            return pandas.Series(list(values.values()), index=index, name="value", dtype=object).to_frame()
        return pandas.DataFrame.from_dict(self.rows(table), orient="index")

    def plot(self, *, ax: Any = None) -> Any:
        """Bars: how much faster each is, and how much more it gives for a dollar, over the first.

        Parameters
        ----------
        ax : where to draw; a new figure if None

        Returns
        -------
        the axes
        """
        return VIEWS["comparison", "plot"](self, ax=ax)

    def _unpriced(self) -> str:
        missing = [name for name, price in self.prices.items() if price is None]
        return f"no price is known of {', '.join(missing)}; give it: prices={{…}}" if missing else ""

    def __repr__(self) -> str:
        rows = [("", list(self.estimates)), *_printed(self)]
        width = 2 + max(len(cell) for _, cells in rows for cell in cells)
        lines = []
        for name, cells in rows:
            lines.append(f"  {name:<50}" + "".join(f"{cell:>{width}}" for cell in cells))
        return "\n".join([*lines, *(f"  {told}" for told in [self._unpriced()] if told)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in ("", *self.estimates))
        body = "".join(
            f"<tr><td style='text-align:left'>{escape(name.strip())}</td>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, cells in _printed(self)
        )
        told = f"<p>{escape(self._unpriced())}</p>" if self._unpriced() else ""
        return f"<div><table><thead><tr>{head}</tr></thead>{body}</table>{told}</div>"


SERVED = (
    "latency", "ttft", "tpot", "output_tokens_per_second", "output_tokens_per_second_per_device", "samples_per_second",
)  # fmt: skip
METRICS = {
    "training": ("step_time", "tokens_per_second_per_device", "samples_per_second_per_device", "mfu"),
    "inference": SERVED,
    "serving": SERVED,
}
"""What is told of each kind of estimate, beside its memory and money."""
TIMES = {*TIME.values(), "step_time", "ttft", "tpot"}
"""Answers in seconds."""


def _printed(found: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Rows of the printed table, a cell an estimate."""
    ests = list(found.estimates.values())
    for field in found._fields[:1]:
        yield field.replace("_", " "), [_cell(field, getattr(est, field, None)) for est in ests]
    terms = found.rows("terms")
    for key in terms[found.first]:
        values = [row[key] for row in terms.values()]
        if max(values) > 0:
            yield f"  {TERMS.get(key, key)}", [show(value, "s") for value in values]
    for field in found._fields[1:]:
        values = [getattr(est, field, None) for est in ests]
        if any(value is not None for value in values):
            yield field.replace("_", " "), [_cell(field, value) for value in values]
    yield "memory of one device", [show(est.memory.total, "B") for est in ests]
    yield "fits", ["yes" if est.fits else "NO" for est in ests]
    yield "limited by", [RESOURCES.get(est.limiter.name, est.limiter.name) for est in ests]
    yield "faster than the first", [f"{found.speedup(name):.2f}x" for name in found]
    yield "USD an hour", [_money(found.usd_per_hour(name)) for name in found]
    what = found._rate(found.first)[0]
    yield f"USD a million {what}", [_money(found.usd_per_million(name)) for name in found]


def _cell(field: str, value: Any) -> str:
    if value is None:
        return ""
    if field == "mfu":
        return f"{value:.1%}"
    return show(value, "s") if field in TIMES else f"{value:,.4g}"


def _money(value: float | None) -> str:
    return "?" if value is None else f"{value:,.4g}"
