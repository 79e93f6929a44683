"""What every estimate offers: a timed tree, and what can be read from it whatever was asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from perfmodel.efficiency import Efficiency
from perfmodel.estimation.timed import Timed, by_kind, leaf_times
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel

if TYPE_CHECKING:
    import pandas

__all__ = ["VIEWS", "Answer", "Limiter", "Overlapped", "limiter_of", "view"]

MESSAGES = ("tp", "cp", "ep", "dp", "pp")
"""Parallel axes, as the terms of their messages are named."""

VIEWS: dict[tuple[str, str], Callable[..., Any]] = {}
"""How an estimate is shown, by its kind and the view's name; filled by the floor above (`report`), so that nothing here
looks upward."""


def view(name: str, kind: str = "training") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the view of that name.

    Parameters
    ----------
    name : dict, frame, explain, trace, text or html
    kind : of estimate: training, inference or serving
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        VIEWS[kind, name] = function
        return function

    return register


class Overlapped(NamedTuple):
    """Communication of one parallel axis in a step.

    Parameters
    ----------
    hidden : runs beside compute [s]
    exposed : the step waits for it [s]
    """

    hidden: Any
    exposed: Any


class Limiter(NamedTuple):
    """The resource that takes most of the step, and the next one.

    Parameters
    ----------
    name, share : the limiting resource and its part of the step [-]
    runner_up, runner_up_share : the next one [-]
    """

    name: str
    share: float
    runner_up: str
    runner_up_share: float

    @property
    def lead(self) -> float:
        """How many times as long as the runner-up it takes; `pm.attribution` tells when that one takes over [-]."""
        return self.share / self.runner_up_share if self.runner_up_share else math.inf

    def __str__(self) -> str:
        return f"{self.name} ({self.share:.0%}), then {self.runner_up} ({self.runner_up_share:.0%})"


def limiter_of(node: Timed) -> Limiter:
    """The resource that takes most of a part's time, and the runner-up.

    Parameters
    ----------
    node : of a timed tree
    """
    ranked = sorted(node.resources.items(), key=lambda item: -item[1])
    (first, most), (second, next_) = ranked[0], [*ranked, ("nothing", 0.0)][1]
    return Limiter(first, most / node.seconds, second, next_ / node.seconds)


class Answer:
    """An estimate: how long something takes, by resource and by kind of work, and what limits it."""

    kind: ClassVar[str]
    """What was estimated: training, inference or serving."""
    model: Model
    """What is run."""
    layout: Parallel
    """Degrees of parallelism, dp filled in."""
    cluster: Cluster
    """The machine."""
    efficiency: Efficiency
    """The fits in force."""
    costs: Any
    """What was counted."""
    tree: Timed
    """The work as a tree with seconds."""
    peak: Any
    """Dense peak of one device in the number format of the products [FLOP/s]."""

    @cached_property
    def resources(self) -> dict[str, Any]:
        """Seconds by resource; they add up to the whole [s]."""
        return self.tree.resources

    @cached_property
    def terms(self) -> dict[str, Any]:
        """Seconds by kind of work; they add up to the whole [s]."""
        return by_kind(self.tree)

    @property
    def overlap(self) -> dict[str, Overlapped]:
        """Communication of each parallel axis: what runs beside compute, and what is waited for [s]."""
        axes = [axis for axis in MESSAGES if axis in self.terms or axis in self.tree.covered]
        return {
            axis: Overlapped(self.tree.covered.get(axis, 0.0), self.terms.get(axis, 0.0)) for axis in axes
        }

    @cached_property
    def algorithms(self) -> dict[str, tuple[Any, Any]]:
        """The algorithm of every message and the outermost tier that it crosses; of equal names, the longest message's.

        Messages over one rank are none. In a sweep both are arrays of names.
        """
        sent = [
            leaf for _, leaf in leaf_times(self.tree) if leaf.route and np.any(np.asarray(leaf.seconds) > 0)
        ]
        longest = {leaf.name: leaf.route for leaf in sorted(sent, key=lambda leaf: np.max(leaf.seconds))}
        return {name: (way.algorithm.name, way.tier.name) for name, way in longest.items() if way}

    @property
    def limiter(self) -> Limiter:
        """The resource that takes most of the time, and the runner-up."""
        return limiter_of(self.tree)

    def to_dict(self) -> dict[str, Any]:
        """Every input and every number, in SI units, ready for JSON."""
        return VIEWS[self.kind, "dict"](self)  # type: ignore[no-any-return]

    def to_frame(self) -> pandas.DataFrame:
        """The breakdown as a table: term, seconds, share."""
        return VIEWS[self.kind, "frame"](self)  # type: ignore[no-any-return]

    def explain(self, format: str = "text") -> str:
        """Each number with its formula, its inputs and its source.

        Parameters
        ----------
        format : text, markdown, html or json

        Raises
        ------
        UnknownNameError
            no such format
        """
        return VIEWS[self.kind, "explain"](self, format)  # type: ignore[no-any-return]

    def to_trace(self, path: str | PathLike[str]) -> Path:
        """Write the tree in time as a Chrome trace, which https://ui.perfetto.dev opens.

        Parameters
        ----------
        path : of the file, such as step.json

        Returns
        -------
        the path
        """
        return VIEWS[self.kind, "trace"](self, path)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return str(VIEWS[self.kind, "text"](self))

    def _repr_html_(self) -> str:
        return str(VIEWS[self.kind, "html"](self))
