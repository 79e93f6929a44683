"""What can be an axis of a sweep: fields of workload, layout, machine and efficiency, and which of them are numbers.

Numbers are swept as columns; structure (a schedule, a precision, a device) is gone through one by one.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError, unknown
from perfmodel.exploration.answers import numbers_of
from perfmodel.hardware import Cluster
from perfmodel.parallel import Parallel
from perfmodel.specs import Spec, field_units
from perfmodel.units import Dimension, parse, ratio

__all__ = ["HARDWARE", "WHOLE", "Field", "field_named"]

Owner = Literal["work", "layout", "cluster", "efficiency", "whole"]

DEGREES = frozenset({
    "tp", "pp", "vpp", "cp", "ep", "expert_tp", "dp", "micro_batch", "shards", "bucket", "first_stage_layers",
    "last_stage_layers",
})  # fmt: skip
"""Numbers of a layout."""

HARDWARE: dict[str, tuple[str, Dimension]] = {
    "memory_bandwidth": ("device__memory__bandwidth", "B/s"),
    "memory_capacity": ("device__memory__capacity", "B"),
    "peak": ("device__peak", "FLOP/s"),
    "devices": ("devices", "1"),
    "devices_per_node": ("devices_per_node", "1"),
    "scale_up__bandwidth": ("device__scale_up__bandwidth", "B/s"),
    "node__bandwidth": ("device__host_link__bandwidth", "B/s"),
    "fabric__bandwidth": ("scale_out", "B/s"),
    "fabric__oversubscription": ("oversubscription", "1"),
    "host_memory": ("host_memory", "B"),
    "storage": ("storage", "B/s"),
}
"""Numbers of a machine: the field of `Cluster` behind each, and what it measures. Bandwidths go by network tier."""

WHOLE = ("model", "cluster", "device", "software", "efficiency")
"""What can be exchanged whole."""

_COUNTS = frozenset({"devices", "devices_per_node"})


class Field(NamedTuple):
    """One thing that an axis may vary.

    Parameters
    ----------
    name : of the axis
    owner : whose field it is: work, layout, cluster or efficiency; or a whole one of them
    path : the way to it from there, nested fields joined by "__"
    number : it is swept as a column; else it is structure
    dimension : of a number that text may state with its unit
    low, high : bounds of a number, both of them valid
    above : the lower bound itself is not valid
    whole : only whole numbers are valid
    """

    name: str
    owner: Owner
    path: str
    number: bool
    dimension: Dimension = "1"
    low: float = 0.0
    high: float = math.inf
    above: bool = False
    whole: bool = False

    @property
    def stand_in(self) -> float:
        """A valid number to compute on where a malformed one stands."""
        return max(1.0, math.ceil(self.low)) if self.whole else min(max(1.0, self.low), self.high)

    def valid(self, values: Any) -> Any:
        """Which numbers of a column the field takes.

        Parameters
        ----------
        values : the column
        """
        inside = (values > self.low if self.above else values >= self.low) & (values <= self.high)
        inside &= np.isfinite(values)
        return inside & (np.floor(values) == values) if self.whole else inside

    @property
    def fault(self) -> str:
        """What is wrong with a number that it does not take."""
        kind = "whole number" if self.whole else "number"
        below = (
            f" above {self.low:g}"
            if self.above and not self.whole
            else f" from {max(self.low, self._first):,.0f}"
        )
        return f"{self.name} is no {kind}{below}" + ("" if self.high == math.inf else f" to {self.high:,.0f}")

    @property
    def _first(self) -> float:
        return self.low + 1 if self.above and self.whole else self.low

    def read(self, value: Any, base: Any = None) -> Any:
        """A number of an axis as it was given: text with its unit, or a factor of what the field holds.

        Parameters
        ----------
        value : "3.35 TB/s", "1.5x", "+10 %", a number, or None
        base : what the field holds, None where unknown

        Returns
        -------
        a float, nan for what is no number; None stays

        Raises
        ------
        InputError
            text that cannot be read, or a factor of what is not known
        """
        if value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool)):
            return value
        if not isinstance(value, str) or self.owner in ("work", "layout"):
            return math.nan
        if not re.search(r"[x×%]\s*$", value):
            return parse(value, self.dimension, name=self.name)
        if base is None:
            raise InputError(
                f'{self.name} = "{value}" is a factor of what is not known; give the value itself'
            )
        return base * ratio(value, name=self.name)

    def checked(self, value: Any, base: Any = None) -> float:
        """One number of an axis, which the field takes.

        Parameters
        ----------
        value, base : as in `read`

        Raises
        ------
        InputError
            it does not
        """
        number = self.read(value, base)
        if number is None or not self.valid(np.asarray(float(number))):
            raise InputError(f"{self.fault}: {value}")
        return float(number)


def field_named(name: str, work: type[Spec]) -> Field:
    """What an axis of a sweep means.

    Parameters
    ----------
    name : of a field of the workload, the layout, the cluster or the efficiency; of a nested one by its path
        (`overlap__slowdown`, `device__scale_up__bandwidth`); or model, cluster, device, software, efficiency
    work : class of the workload

    Returns
    -------
    the field

    Raises
    ------
    UnknownNameError
        nothing has that name; near names are suggested

    Examples
    --------
    >>> from perfmodel.workload import Training
    >>> field_named("tp", Training).number, field_named("schedule", Training).number
    (True, False)
    >>> field_named("micro_batchs", Training)
    Traceback (most recent call last):
    perfmodel.errors.UnknownNameError: unknown axis "micro_batchs"; did you mean micro_batch? ... are known; ...
    """
    found = _known(work).get(name) or _nested(name, work)
    if found is None:
        raise unknown("axis", name, (*_known(work), *WHOLE), "any field of workload, layout or machine")
    return found


@lru_cache(maxsize=16)
def _known(work: type[Spec]) -> dict[str, Field]:
    named: dict[str, Field] = {name: Field(name, "whole", name, False) for name in WHOLE}
    for name, (path, dimension) in HARDWARE.items():
        count = name in _COUNTS
        low = 1.0 if count or "oversubscription" in name else 0.0
        named[name] = Field(
            name, "cluster", path, True, dimension, low, 1e9 if count else math.inf, not low, count
        )
    owners: tuple[tuple[Owner, type[Spec], frozenset[str]], ...] = (
        ("layout", Parallel, DEGREES),
        ("work", work, numbers_of(work)),
    )
    for owner, cls, numbers in owners:
        for name in cls.model_fields:
            named[name] = _bounded(name, owner, name, cls, number=name in numbers)
    return named


def _nested(name: str, work: type[Spec]) -> Field | None:
    """A field inside another one, by its path."""
    owners: tuple[tuple[Owner, type[Spec]], ...] = (
        ("work", work),
        ("cluster", Cluster),
        ("efficiency", Efficiency),
    )
    *_, last = name.split("__")
    for owner, cls in owners:
        holder = _holder(name, cls)
        if holder is not None:
            number = float in _types(holder.model_fields[last].annotation) and owner != "work"
            return _bounded(name, owner, name, holder, number=number)
    return None


def _holder(path: str, cls: type[Spec]) -> type[Spec] | None:
    """The specification whose field a path ends at; a table's own keys are steps of it."""
    first, _, rest = path.partition("__")
    if first not in cls.model_fields:
        return None
    if not rest:
        return cls
    inner = [one for one in _types(cls.model_fields[first].annotation) if issubclass(one, Spec)]
    for one in inner:
        found = _holder(rest, one) or _holder(rest.partition("__")[2], one)
        if found is not None:
            return found
    return None


def _types(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    if isinstance(annotation, type):
        return [annotation]
    return [one for argument in get_args(annotation) for one in _types(argument)]


def _bounded(name: str, owner: Owner, path: str, cls: type[Spec], *, number: bool) -> Field:
    """A field with the bounds that its specification sets."""
    last = path.rsplit("__", maxsplit=1)[-1]
    info = cls.model_fields[last]
    found = Field(name, owner, path, number)
    if not number:
        return found
    unit = field_units(cls).get(last)
    dimension: Any = unit if unit in get_args(Dimension) else "1"
    low = next((one.ge for one in info.metadata if hasattr(one, "ge")), None)
    above = next((one.gt for one in info.metadata if hasattr(one, "gt")), None)
    high = next((one.le for one in info.metadata if hasattr(one, "le")), math.inf)
    whole = float not in _types(info.annotation)
    least = low if low is not None else above if above is not None else 0.0
    return found._replace(
        dimension=dimension, low=float(least), high=float(high), above=above is not None, whole=whole
    )
