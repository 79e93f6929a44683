"""Constants of an efficiency set by path, such as `matmul.fp8.compute`: read, bounded, and set in a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError

__all__ = ["Constant", "rounded", "value_of", "with_values"]

STAND_INS = {"matmul": "default", "collective": "default", "stream": "copy"}
"""Which entry of a table serves the entries that are not listed."""
NULL_IS = {
    "decode_memory": "memory", "decode_latency": "latency", "dispatch": "all_to_all", "tree": "all_reduce",
    "tree_step": "step", "switch_latency": "start", "crowding": "pair", "direct": "all_reduce", "direct_start": "start",
    "dispatch_start": "start",
}  # fmt: skip
"""Where a fit begins that a set leaves out: the field that stands in for it, or one of its size."""


class Constant(NamedTuple):
    """One constant of an efficiency set that a fit may move.

    Parameters
    ----------
    path : its fields, joined by dots
    lower, upper : bounds, in its unit
    prior_width : how far it may go from its start, as a logarithm; infinite is no prior [-]
    """

    path: str
    lower: float
    upper: float
    prior_width: float = np.inf


def value_of(efficiency: Efficiency, path: str) -> float:
    """A constant of a set.

    Parameters
    ----------
    efficiency : the set
    path : such as `stream.memory.norm`; of an entry that is not listed, that of the one which serves it

    Returns
    -------
    its value, in its unit

    Examples
    --------
    >>> hopper = Efficiency.load("hopper")
    >>> value_of(hopper, "matmul.fp8.compute") == hopper.matmul["fp8"].compute
    True
    >>> value_of(hopper, "matmul.int8.compute") == hopper.matmul["default"].compute
    True
    """
    value: Any = efficiency
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step, value.get(STAND_INS[path.split(".", maxsplit=1)[0]]))
        else:
            given = getattr(value, step, None)
            value = getattr(value, NULL_IS.get(step, step), None) if given is None else given
        if value is None:
            raise InputError(f'{efficiency.id} has no constant "{path}"')
    return float(value)


def with_values(efficiency: Efficiency, values: Mapping[str, float]) -> Efficiency:
    """A copy of a set with some constants changed.

    Parameters
    ----------
    efficiency : the set
    values : new values by path

    Returns
    -------
    the copy; an entry that was not listed begins as the one which served it

    Examples
    --------
    >>> changed = with_values(Efficiency.load("hopper"), {"matmul.int8.compute": 0.5, "stream.memory.norm": 0.4})
    >>> changed.matmul["int8"].compute, changed.matmul["default"].compute, changed.stream.memory["norm"]
    (0.5, 0.76, 0.4)
    """
    fields: dict[str, Any] = {}
    for path, value in values.items():
        head, *steps, last = path.split(".")
        if head not in fields:
            fields[head] = _plain(getattr(efficiency, head))
        owner = fields[head]
        for step in steps:
            if step not in owner:
                owner[step] = dict(owner[STAND_INS[head]])
            owner = owner[step]
        owner[last] = float(value)
    return efficiency.replace(**fields)


def _plain(value: Any) -> Any:
    """Specs as dictionaries, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.model_dump() if hasattr(value, "model_dump") else value


def rounded(value: float, digits: int = 3) -> float:
    """A value to so many significant digits: no fit knows more.

    Parameters
    ----------
    value : in its unit
    digits : that are kept [-]

    Examples
    --------
    >>> rounded(0.123456), rounded(1.23456e-6)
    (0.123, 1.23e-06)
    """
    return float(f"{value:.{digits - 1}e}")
