"""What one per cent more of each number of the machine does to the time, in per cent.

The elasticity of a time T in a number x is d ln T / d ln x. All of them come from one pass of dual numbers through the
formulas (`perfmodel.duals`), exact to rounding. A machine whose rates are divided by c and whose times are multiplied
by c takes c times as long: so the elasticities of all times less those of all rates add up to 1.

>>> import perfmodel as pm
>>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=16))
>>> found = elasticities(est)
>>> next(iter(found)), -0.9 < found["peak.bf16"] < -0.6, -0.3 < found["memory_bandwidth"] < -0.1
('peak.bf16', True, True)
>>> abs(found.sum("time") - found.sum("rate") - 1) < 1e-9
True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.duals import slopes_of, variables
from perfmodel.errors import InputError, UnsupportedError, unknown
from perfmodel.ops import plain
from perfmodel.report.tables import pandas_module
from perfmodel.sensitivity.quantities import KINDS, Quantity, quantities, with_values
from perfmodel.sensitivity.quantities import numbers as every_number
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

__all__ = ["METRICS", "Elasticities", "elasticities", "metric_of"]

METRICS = ("step_time", "latency", "tpot")
"""What an estimate is asked for where nothing else is said: the first of these that it has."""


@dataclass(frozen=True, repr=False)
class Elasticities(Mapping[str, Any]):
    """Elasticities by the name of the number, the largest first; those that are 0 are there too, at the end."""

    metric: str
    """What changes."""
    value: Any
    """Of the metric, as it is [SI]."""
    quantities: Mapping[str, Quantity]
    """The numbers."""
    slopes: Mapping[str, Any]
    """Their elasticities; arrays where the estimate has some [-]."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.slopes:
            raise unknown("number", name, self.slopes)
        return self.slopes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.slopes)

    def __len__(self) -> int:
        return len(self.slopes)

    def sum(self, kind: str) -> Any:
        """The elasticities of all numbers of a kind together [-].

        Parameters
        ----------
        kind : rate (what a machine does a second), time (latencies and starts), share (fractions, exponents), size

        Raises
        ------
        UnknownNameError
            no such kind
        """
        if kind not in KINDS.values():
            raise unknown("kind", kind, sorted(set(KINDS.values())))
        return sum(value for name, value in self.slopes.items() if self.quantities[name].kind == kind)

    def largest(self, count: int = 12) -> dict[str, Any]:
        """The numbers that matter most.

        Parameters
        ----------
        count : at most so many; those without any influence are left out [-]
        """
        felt = {name: value for name, value in self.slopes.items() if np.any(np.asarray(value) != 0)}
        return dict(list(felt.items())[:count])

    def to_dict(self) -> dict[str, Any]:
        """Metric, value, and what is known of each number that has an influence, ready for JSON."""
        told = {}
        for name, value in self.largest(len(self)).items():
            one = self.quantities[name]
            told[name] = {
                "value": one.value, "unit": one.unit, "kind": one.kind, "origin": one.origin, "elasticity": value,
            }  # fmt: skip
        return {"metric": self.metric, "value": self.value, "numbers": told}

    def to_frame(self) -> pandas.DataFrame:
        """Numbers that have an influence, as a table.

        Returns
        -------
        one row a number; columns value, unit, kind, origin, elasticity, and ten_percent_more: by what share
        the metric changes where the number is 1.1 times as large and the elasticity stays [-]

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        rows = {}
        for name, value in self.largest(len(self)).items():
            one = self.quantities[name]
            rows[name] = (one.value, one.unit, one.kind, one.origin, value, 1.1**value - 1)
        columns = ["value", "unit", "kind", "origin", "elasticity", "ten_percent_more"]
        table: pandas.DataFrame = pandas_module().DataFrame.from_dict(rows, orient="index", columns=columns)
        return table

    def __repr__(self) -> str:
        if np.ndim(self.value):
            return f"elasticities of {self.metric} in {len(self)} numbers, over {np.shape(self.value)}"
        lines = [f"{self.metric} {show(self.value, 's')}; of one per cent more, in per cent"]
        for name, shown, value, origin in self._rows():
            lines.append(f"  {name:<34}{shown:>14}{value:>10}  {origin}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if np.ndim(self.value):
            return f"<p>{escape(repr(self))}</p>"
        cells = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td><td>{escape(shown)}</td><td>{value}</td>"
            f"<td>{origin}</td></tr>"
            for name, shown, value, origin in self._rows()
        )
        head = "<tr><th>number</th><th>value</th><th>elasticity</th><th></th></tr>"
        return f"<table><caption>{self.metric} {escape(show(self.value, 's'))}</caption>{head}{cells}</table>"

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Name, value, elasticity and origin of the numbers that matter most, printed."""
        for name, value in self.largest().items():
            one = self.quantities[name]
            shown = f"{one.value:.4g}" if one.unit == "-" else show(one.value, one.unit)  # type: ignore[arg-type]
            yield name, shown, f"{value:+.3f}", one.origin


def elasticities(
    est: Any, metric: str | None = None, *, numbers: Iterable[str] | None = None
) -> Elasticities:
    """How a time of an estimate answers to each number of the machine and of the efficiency set.

    Parameters
    ----------
    est : an estimate; it may hold arrays over configurations
    metric : an attribute of the estimate, such as step_time or decode_time; None is its main one
    numbers : names of `numbers`, those of workload and layout among them; None is all of machine and efficiency set

    Returns
    -------
    d ln metric / d ln number, by name [-]

    Raises
    ------
    UnknownNameError
        the estimate has no such metric, or the machine no such number
    InputError
        the metric is no number above 0

    Notes
    -----
    Where two branches tie (a message just as long as what hides it, two stages just as full) the time has a kink, and
    the elasticity is that of the branch which the prediction takes: one-sided.
    """
    metric = metric_of(est, metric)
    known = quantities(est) if numbers is None else every_number(est)
    names = list(known if numbers is None else numbers)
    for name in names:
        if name not in known:
            raise unknown("number", name, known)
    # a factor of 1 on each, so that slopes are those by the logarithm, and nothing divides by a number that is 0
    factors = zip(names, variables([1.0] * len(names)), strict=True)
    dual = getattr(with_values(est, {name: known[name].value * factor for name, factor in factors}), metric)
    value = plain(dual)
    if not np.all(np.asarray(value) > 0):
        raise InputError(f"{metric} = {value}: an elasticity is that of a number above 0")
    slopes = slopes_of(dual, len(names)) / np.asarray(value)[..., None]
    found = {
        name: slopes[..., place] if np.ndim(value) else float(slopes[place])
        for place, name in enumerate(names)
    }
    ranked = dict(sorted(found.items(), key=lambda item: -float(np.max(np.abs(item[1]), initial=0.0))))
    return Elasticities(metric, value, known, ranked)


def metric_of(est: Any, metric: str | None) -> str:
    """The metric asked for, or the main one of an estimate.

    Parameters
    ----------
    est : an estimate
    metric : asked for

    Raises
    ------
    UnknownNameError
        the estimate has none of that name
    UnsupportedError
        the estimate has none that is known
    """
    if metric is None:
        found = next((name for name in METRICS if hasattr(est, name)), None)
        if found is None:
            raise UnsupportedError(
                f"{type(est).__name__} has none of {', '.join(METRICS)}; name a metric of it"
            )
        return found
    if not hasattr(est, metric):
        raise unknown("metric", metric, [name for name in dir(est) if not name.startswith("_")])
    return metric
