"""The fastest of several ways, with its name: works element by element on arrays, and on symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.ops import greater, minimum, where

__all__ = ["Choice", "Route", "Way", "fastest"]


NEVER = 1e300
"""What a way takes that is not open [s]."""


class Choice(NamedTuple):
    """One of several names; which one may differ from element to element.

    Parameters
    ----------
    names : to choose from
    index : position of the chosen one: a number, an array or a symbol [-]
    """

    names: tuple[str, ...]
    index: Any

    @property
    def name(self) -> Any:
        """The chosen name; an array of names for arrays, all that may be chosen for a symbol."""
        if hasattr(self.index, "free_symbols"):
            return " or ".join(self.names)
        if np.ndim(self.index):
            return np.array(self.names)[np.asarray(self.index, dtype=int)]
        return self.names[int(self.index)]


class Route(NamedTuple):
    """How a message travels.

    Parameters
    ----------
    algorithm : of the collective: ring, tree, nvls, …
    tier : the outermost tier that it crosses
    """

    algorithm: Choice
    tier: Choice

    def __str__(self) -> str:
        return f"{self.algorithm.name} over {self.tier.name}"


class Way(NamedTuple):
    """One algorithm for a message.

    Parameters
    ----------
    name : of the algorithm
    seconds : that it takes [s]
    resources : the same by resource [s]
    open : 1 where the topology offers it, else 0 [-]
    """

    name: str
    seconds: Any
    resources: dict[str, Any]
    open: Any = 1.0


def fastest(ways: Sequence[Way]) -> tuple[Any, dict[str, Any], Choice]:
    """The fastest way that is open.

    Parameters
    ----------
    ways : to choose from, of which one is open; on a tie the earlier one

    Returns
    -------
    its seconds, the same by resource [s], and which it is
    """
    first, *others = ways
    seconds, resources = _offered(first), first.resources
    index: Any = 0
    for place, way in enumerate(others, start=1):
        offered = _offered(way)
        better = greater(seconds, offered)
        resources = {name: where(better, way.resources[name], kept) for name, kept in resources.items()}
        index = where(better, place, index)
        seconds = minimum(offered, seconds)
    return seconds, resources, Choice(tuple(way.name for way in ways), index)


def _offered(way: Way) -> Any:
    return where(greater(way.open, 0), way.seconds, NEVER)
