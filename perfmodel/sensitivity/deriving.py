"""The formula of an answer: a closed form in named symbols for the regime in force, and where that regime ends.

The estimate is made once more with numbers that carry their expression (`tracing`); `Formula` is what one can do with
what comes out.

>>> import perfmodel as pm
>>> est = pm.estimate(pm.Model.load("llama-3.1-70b"), pm.Training(global_batch=512, sequence_length=8192),
...                   pm.Parallel(tp=8, pp=4, vpp=5, sequence_parallel=True), pm.Cluster.load("dgx-h100", devices=512))
>>> found = formula(est, "step_time", symbols="global_batch")  # 0.01849*global_batch + 0.2873
>>> abs(found(global_batch=512) / est.step_time - 1) < 1e-9
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import sympy

from perfmodel.errors import UnsupportedError, unknown
from perfmodel.estimation import ServingEstimate
from perfmodel.estimation.timed import Timed, hidden_part
from perfmodel.sensitivity.closed_form import Formula, Named
from perfmodel.sensitivity.elasticity import metric_of
from perfmodel.sensitivity.quantities import Quantity, meaning, numbers, with_values
from perfmodel.sensitivity.reading import tidied
from perfmodel.sensitivity.tracing import Traced, expression_of

__all__ = ["formula"]


def formula(est: Any, metric: str | None = None, *, symbols: str | Sequence[str] | None = None) -> Formula:
    """The closed form of an answer in the regime in force.

    Parameters
    ----------
    est : an estimate of one configuration
    metric : an attribute of it, such as step_time, decode_time or memory.total; None is its main time
    symbols : names of `numbers`, as machine and job have them: memory_bandwidth, peak (in the format of the products),
        fabric.bandwidth, host.launch, global_batch, sequence_length, tp, …; all others are numbers. None is the peak
        and every bandwidth that has a part in it

    Returns
    -------
    expression, values, conditions

    Raises
    ------
    UnknownNameError
        no such metric or number; near names are suggested
    UnsupportedError
        the estimate is one of serving, or holds arrays, or a symbol has to be a whole number (stages of a schedule that
        is timed event by event)
    MissingExtraError
        SymPy is not installed

    Examples
    --------
    >>> import perfmodel as pm
    >>> run = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Inference(batch=1, input_length=128, output_length=8),
    ...                   pm.Parallel(), pm.Cluster.of("h100", 1))
    >>> form = formula(run, "decode_time", symbols=("memory_bandwidth", "peak"))
    >>> abs(form(memory_bandwidth=4.8e12) / form.value - 1) < 0.5
    True
    """
    if isinstance(est, ServingEstimate):
        raise UnsupportedError(
            "the running batch of requests served together is a fixed point, which has no closed form; formula of "
            "pm.Inference(batch=…) has that of a batch, pm.elasticities and pm.crossover take both"
        )
    head, *rest = (metric or metric_of(est, None)).split(".")
    metric = ".".join((metric_of(est, head), *rest))
    known = numbers(est)
    named = {_symbol_name(est, name): known[name] for name in _chosen(est, known, symbols)}
    traced = {name: Traced(_value(one), sympy.Symbol(name, positive=True)) for name, one in named.items()}
    again = with_values(est, {named[name].name: number for name, number in traced.items()})
    found = attrgetter(metric)(again)
    expression = tidied(expression_of(found))
    gaps = tuple(found.gaps) if isinstance(found, Traced) else ()
    used = {
        name: Named(number.expression, number.value, named[name].unit, meaning(est, named[name]))
        for name, number in traced.items()
        if symbols is not None or any(one.has(number.expression) for one in (expression, *gaps))
    }
    terms = _terms_of(again, found) or {metric: expression}
    return Formula(metric, float(attrgetter(metric)(est)), expression, terms, used, gaps)


def _chosen(est: Any, known: Mapping[str, Quantity], symbols: str | Sequence[str] | None) -> list[str]:
    """The numbers that are asked for, by their own names."""
    if symbols is None:
        rates = [name for name, one in known.items() if one.kind == "rate" and one.origin == "fact"]
        return [name for name in rates if not name.startswith("peak.") or _symbol_name(est, name) == "peak"]
    named = {_symbol_name(est, name): name for name in known} | {name: name for name in known}
    asked = [symbols] if isinstance(symbols, str) else list(symbols)
    for name in asked:
        if name not in named:
            raise unknown("number", name, {**named})
    return list(dict.fromkeys(named[name] for name in asked))


def _symbol_name(est: Any, name: str) -> str:
    entered = est.costs if hasattr(est.costs, "dtype") else est.costs.prompt
    return "peak" if name == f"peak.{entered.dtype}" else name.replace(".", "_")


def _value(number: Quantity) -> float:
    if np.ndim(number.value):
        raise UnsupportedError(f"{number.name} is an array here; a formula is that of one configuration")
    return float(number.value)


def _terms_of(est: Any, found: Any) -> dict[str, Any]:
    """The same by kind of work, where it is the time of the whole tree or of a part of it."""
    parts = [getattr(est, name, None) for name in ("tree", "prefill", "decode")]
    for part in parts:
        if isinstance(part, Timed) and expression_of(part.seconds) == expression_of(found):
            terms = {kind: tidied(expression_of(value)) for kind, value in _by_term(part).items()}
            return {kind: value for kind, value in terms.items() if value != 0}
    return {}


def _by_term(node: Timed) -> dict[str, Any]:
    """Seconds by kind of work; messages that stick out by what sticks out, not by their share of all."""
    if node.kind:
        return {node.kind: node.seconds}
    found: dict[str, Any] = {}
    beside = hidden_part(node)
    for part in node.parts:
        terms = _by_term(part)
        if beside is not None and part is node.parts[0] and len(terms) == 1:
            terms = dict.fromkeys(terms, part.seconds)
        for kind, value in terms.items():
            found[kind] = found.get(kind, 0.0) + node.times * value
    return found
