"""What a search can aim at or be limited by: results of an estimate, and the money and energy that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from perfmodel.errors import InputError, unknown
from perfmodel.workload import Inference, Serving, Training

__all__ = ["Metric", "Terms", "default_objective", "metric", "metrics_of"]

HOUR = 3600.0
"""Of a price [s]."""
MILLION = 1e6
"""Tokens that a price of serving is stated for [-]."""


class Terms(NamedTuple):
    """What money and energy depend on beside the estimate.

    Parameters
    ----------
    price : of an hour of one device; None is not known [USD/h]
    power : of one device; None is not known [W]
    tokens : of the whole training, or samples where a model has no tokens; None is one optimizer step [-]
    """

    price: float | None = None
    power: float | None = None
    tokens: float | None = None


ASKED = {
    "price": "the price of an hour of one device, such as price=2.5 [USD/h]",
    "power": "the power of one device, such as power=700 [W]",
    "tokens": "the tokens to train on, such as tokens=15e12",
}
"""What to give where a term is not known."""


class Metric(NamedTuple):
    """One number of an estimate, or of columns of them.

    Parameters
    ----------
    name : what it is called
    read : it, from an estimate and the terms; None where there is none
    unit : of the number
    more : more is better; else less is
    timed : it gets worse as time gets longer; else it has nothing to do with time
    needs : which of the terms it cannot do without
    """

    name: str
    read: Callable[[Any, Terms], Any]
    unit: Any
    more: bool = False
    timed: bool = True
    needs: str = ""

    def known(self, terms: Terms) -> Metric:
        """It, if its terms are known.

        Parameters
        ----------
        terms : of a search

        Raises
        ------
        InputError
            they are not; it says what to give
        """
        if self.needs and getattr(terms, self.needs) is None:
            raise InputError(f"{self.name} needs {ASKED[self.needs]}")
        return self

    def cost(self, est: Any, terms: Terms) -> Any:
        """It, turned so that less is better.

        Parameters
        ----------
        est, terms : as of `read`

        Raises
        ------
        InputError
            such a model has none
        """
        value = self.read(est, terms)
        if value is None:
            raise InputError(f"{est.model.name} has no {self.name}")
        return -value if self.more else value


def _of(name: str, unit: str, *, more: bool = False) -> Metric:
    return Metric(name, partial(_attribute, name), unit, more)


def _attribute(name: str, est: Any, terms: Terms) -> Any:
    return getattr(est, name)


def _memory(est: Any, terms: Terms) -> Any:
    return est.memory.total


def _output_each(est: Any, terms: Terms) -> Any:
    return est.output_tokens_per_second / est.cluster.devices


def _steps(est: Any, terms: Terms) -> Any:
    """Optimizer steps that are paid for [-]."""
    counted = est.costs.samples if est.costs.tokens is None else est.costs.tokens
    return 1.0 if terms.tokens is None else terms.tokens / counted


def _training_time(est: Any, terms: Terms) -> Any:
    return None if terms.tokens is None else est.step_time * _steps(est, terms)


def _device_seconds(est: Any, terms: Terms) -> Any:
    """Seconds of one device: of a step or the whole training, or of a token of output [s]."""
    if hasattr(est, "step_time"):
        return est.step_time * _steps(est, terms) * est.cluster.devices
    return est.cluster.devices / est.output_tokens_per_second


def _money(est: Any, terms: Terms) -> Any:
    each = 1.0 if hasattr(est, "step_time") else MILLION
    return None if terms.price is None else _device_seconds(est, terms) * each * (terms.price / HOUR)


def _energy(est: Any, terms: Terms) -> Any:
    return None if terms.power is None else _device_seconds(est, terms) * terms.power


COMMON = (
    Metric("memory.total", _memory, "B", timed=False),
    Metric("cost", _money, "USD", needs="price"),
    Metric("energy", _energy, "J", needs="power"),
)
OUTPUT = (
    _of("ttft", "s"),
    _of("tpot", "s"),
    _of("latency", "s"),
    _of("output_tokens_per_second", "1/s", more=True),
    Metric("output_tokens_per_second_per_device", _output_each, "1/s", more=True),
)  # fmt: skip
METRICS: Mapping[type, tuple[Metric, ...]] = {
    Training: (
        _of("step_time", "s"),
        _of("tokens_per_second_per_device", "1/s", more=True),
        _of("samples_per_second_per_device", "1/s", more=True),
        _of("tokens_per_second", "1/s", more=True),
        _of("samples_per_second", "1/s", more=True),
        _of("mfu", "1", more=True),
        *COMMON,
        Metric("time_to_train", _training_time, "s", needs="tokens"),
    ),
    Inference: (*OUTPUT, _of("samples_per_second", "1/s", more=True), _of("mfu", "1", more=True), *COMMON),
    Serving: (
        *OUTPUT, _of("requests_per_second", "1/s", more=True), _of("max_concurrency", "1", more=True), *COMMON,
    ),
}  # fmt: skip
"""By class of workload. Cost and energy are those of a step, or of a training on `tokens`; of a million tokens of
output and of one token where a model is served. Energy is devices times power times time: as long as a device draws no
more than its power limit, an upper bound."""


def metrics_of(kind: type) -> dict[str, Metric]:
    """All of them, for a kind of workload.

    Parameters
    ----------
    kind : class of the workload

    Raises
    ------
    InputError
        it cannot be searched for

    Examples
    --------
    >>> from perfmodel.workload import Serving
    >>> metrics_of(Serving)["ttft"].more
    False
    """
    if kind not in METRICS:
        known = ", ".join(cls.__name__ for cls in METRICS)
        raise InputError(f"a search knows the workloads {known}, not {kind.__name__}")
    return {one.name: one for one in METRICS[kind]}


def metric(name: str, kind: type, what: str = "objective") -> Metric:
    """One of them.

    Parameters
    ----------
    name : what it is called
    kind : class of the workload
    what : it is wanted for, told where there is none

    Raises
    ------
    UnknownNameError
        no such metric; near names are suggested

    Examples
    --------
    >>> from perfmodel.workload import Training
    >>> metric("step", Training)
    Traceback (most recent call last):
    perfmodel.errors.UnknownNameError: unknown objective "step"; did you mean step_time? valid: cost, energy, ...
    """
    found = metrics_of(kind)
    if name not in found:
        raise unknown(what, name, found)
    return found[name]


def default_objective(kind: type) -> str:
    """What is aimed at where nothing else is said: the time of a step, or output for each device.

    Parameters
    ----------
    kind : class of the workload
    """
    return "step_time" if kind is Training else "output_tokens_per_second_per_device"
