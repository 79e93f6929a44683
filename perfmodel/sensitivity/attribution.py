"""Where the time of an estimate goes: by resource, by layer, by phase, by pipeline stage; what limits it, how long.

>>> import perfmodel as pm
>>> est = pm.estimate(pm.Model.load("llama-3.1-70b"), pm.Training(global_batch=512, sequence_length=8192),
...                   pm.Parallel(tp=8, pp=4, vpp=5, sequence_parallel=True), pm.Cluster.load("dgx-h100", devices=512))
>>> found = attribution(est)
>>> found.limiter, found.runner_up
('compute', 'scale_up')
>>> abs(sum(part.seconds for part in found.by("resource").values()) / est.step_time - 1) < 1e-12
True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perfmodel.errors import InputError, unknown
from perfmodel.estimation.timed import Timed, hidden_part
from perfmodel.report.tables import RESOURCES, Row, Table, html_page, pandas_module
from perfmodel.sensitivity.places import layer_of, phase_of
from perfmodel.sensitivity.quantities import quantities, with_values
from perfmodel.sensitivity.scanning import last_held
from perfmodel.sensitivity.stages import StageTime, stage_times
from perfmodel.units import show
from perfmodel.work import Attention, Matmul

if TYPE_CHECKING:
    import pandas

__all__ = ["Attribution", "Cell", "Part", "attribution"]

FASTEST = 1e6
"""How much faster the limiting resource is thought to get at most [-]."""


class Cell(NamedTuple):
    """Seconds that are alike in every respect.

    Parameters
    ----------
    resource : what is waited for: compute, memory_bandwidth, a network tier, …
    detail : the same, compute split: compute:bf16 (matrix units by number format), compute:vector (exponentials of
        attention), compute:contention (what messages beside it take of it)
    term : kind of work, as in `est.terms`
    phase : forward, backward, recompute, optimizer, communication, contention, bubble, host, stragglers; of other
        estimates the parts of their tree
    layer : of the model; what is in none has the name of its part of the step
    seconds : that the step waits for it [s]
    hidden : that it takes beside compute [s]
    """

    resource: str
    detail: str
    term: str
    phase: str
    layer: str
    seconds: Any
    hidden: Any


class Part(NamedTuple):
    """A part of the step.

    Parameters
    ----------
    seconds : that the step waits for it [s]
    share : of the step [-]
    hidden : beside compute, not counted in the step [s]
    """

    seconds: Any
    share: Any
    hidden: Any


@dataclass(frozen=True, repr=False)
class Attribution:
    """Where the time goes, as a cube: sum it along any of its sides."""

    est: Any
    """The estimate."""
    cells: tuple[Cell, ...]
    """Every combination that takes time; they add up to the step."""
    stages: tuple[StageTime, ...]
    """Kinds of pipeline stages, with what each does and waits."""

    @property
    def step_time(self) -> Any:
        """Time of the whole [s]."""
        return self.est.tree.seconds

    def by(self, *sides: str) -> dict[Any, Part]:
        """Time along some sides of the cube, the largest first.

        Parameters
        ----------
        sides : resource, detail, term, phase or layer; of several the keys are tuples

        Raises
        ------
        UnknownNameError
            no such side

        Examples
        --------
        >>> import perfmodel as pm
        >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
        ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
        >>> list(attribution(est).by("phase"))[:3]
        ['backward', 'forward', 'communication']
        """
        places = []
        for side in sides or ("resource",):
            if side not in SIDES:
                raise unknown("side", side, SIDES)
            places.append(Cell._fields.index(side))
        seconds: dict[Any, Any] = {}
        hidden: dict[Any, Any] = {}
        for cell in self.cells:
            key = tuple(cell[place] for place in places) if len(places) > 1 else cell[places[0]]
            seconds[key] = seconds.get(key, 0.0) + cell.seconds
            hidden[key] = hidden.get(key, 0.0) + cell.hidden
        ranked = sorted(seconds, key=lambda key: -float(np.sum(seconds[key])))
        return {key: Part(seconds[key], seconds[key] / self.step_time, hidden[key]) for key in ranked}

    @property
    def limiter(self) -> str:
        """The resource that takes most of the time."""
        first: str = next(iter(self.by("resource")))
        return first

    @property
    def runner_up(self) -> str:
        """The next one."""
        second: str = [*self.by("resource"), "nothing"][1]
        return second

    @cached_property
    def takeover(self) -> tuple[str, float]:
        """Which resource takes over once the limiting one is so many times as fast, all else being equal [-].

        Found by predicting again, so that what overlaps and what is hidden change with it. Infinite where the limiter
        is no speed that could be raised (a bubble, stragglers) or stays the limiter however fast it gets.

        Examples
        --------
        >>> import perfmodel as pm
        >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
        ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
        >>> name, times = attribution(est).takeover
        >>> name, 2 < times < 5
        ('memory_bandwidth', True)
        """
        if np.ndim(self.step_time):
            raise InputError("takeover is of one configuration; this estimate holds an array of them")
        times = last_held(lambda factors: self._raced(factors)[0], 1.0, FASTEST)
        if times == FASTEST:
            return self.runner_up, float("inf")
        # a little beyond, where it has taken over
        return self._raced(np.array([times * (1 + 1e-9)]))[1], times

    def _raced(self, factors: Any) -> tuple[Any, str]:
        """Whether the limiter still takes most once it is so many times as fast; who is first of the others at last."""
        speeds = {
            name: one.value * factors if one.kind == "rate" else one.value / factors
            for name, one in quantities(self.est).items()
            if one.resource == self.limiter
        }
        seconds = with_values(self.est, speeds).tree.resources
        others = {name: value for name, value in seconds.items() if name != self.limiter}
        rows = np.array([np.broadcast_to(value, factors.shape) for value in others.values()])
        ahead = np.broadcast_to(seconds[self.limiter], factors.shape) > rows.max(axis=0, initial=0.0)
        return ahead, [*others][int(rows[:, -1].argmax())] if others else self.runner_up

    def to_frame(self) -> pandas.DataFrame:
        """Every cell as a row.

        Returns
        -------
        columns resource, detail, term, phase, layer, seconds [s], hidden [s], share [-]

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        found: pandas.DataFrame = pandas_module().DataFrame(self.cells, columns=list(Cell._fields))
        return found.assign(share=found["seconds"] / self.step_time)

    def to_dict(self) -> dict[str, Any]:
        """Limiter, takeover, every side of the cube and the stages, ready for JSON; an infinite takeover is null."""
        name, times = self.takeover
        sides = {side: {key: part._asdict() for key, part in self.by(side).items()} for side in SIDES}
        return {
            "seconds": self.step_time,
            "limiter": self.limiter,
            "runner_up": self.runner_up,
            "takeover": {"by": name, "times": times if times < float("inf") else None},
            **sides,
            "stages": [stage._asdict() for stage in self.stages],
        }

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        tables = []
        for side, title in PRINTED.items():
            parts = {_told(name) if side == "detail" else name: part for name, part in self.by(side).items()}
            rows = [Row(name, part.seconds, part.share) for name, part in parts.items() if part.seconds > 0]
            beside = [Row(name, part.hidden, part.hidden / self.step_time) for name, part in parts.items()
                      if part.hidden > 0]  # fmt: skip
            tables += [Table(title, "s", rows)] + [Table(f"{title}, beside compute", "s", beside)] * bool(
                beside
            )
        answers = {"time": show(self.step_time, "s"), "limited by": self._limit()}
        return html_page("where the time goes", answers, tables)

    def _lines(self) -> Iterator[str]:
        yield f"{show(self.step_time, 's')}, limited by {self._limit()}"
        for side, title in PRINTED.items():
            yield f"\n  {title:<36}{'waited for':>12}{'share':>8}{'beside compute':>16}"
            for name, part in self.by(side).items():
                hidden = show(part.hidden, "s") if part.hidden > 0 else ""
                told = _told(name) if side == "detail" else name
                yield f"    {told:<34}{show(part.seconds, 's'):>12}{part.share:>8.1%}{hidden:>16}".rstrip()
        if len(self.stages) > 1:
            yield "\n  by stage"
            yield from (f"    {stage}" for stage in self.stages)

    def _limit(self) -> str:
        name, times = self.takeover
        share = self.by("resource")[self.limiter].share
        until = f" until it is {times:.3g} times as fast" if times < float("inf") else ""
        return f"{_told(self.limiter)} ({share:.0%}){until}, then {_told(name)}"


SIDES = Cell._fields[:5]
"""Sides of the cube."""
PRINTED = {"detail": "by resource", "phase": "by phase", "layer": "by layer"}
"""Sides that are printed, with their titles."""
UNITS = {"compute:vector": "vector units, for exponentials", "compute:contention": "compute lost to messages"}
"""Details of compute in words, number formats left out."""


def attribution(est: Any) -> Attribution:
    """Take the seconds of an estimate apart.

    Parameters
    ----------
    est : an estimate of any workload

    Returns
    -------
    seconds and shares by resource, detail, term, phase, layer and pipeline stage; exposed and hidden apart
    """
    found: dict[tuple[str, ...], list[Any]] = {}
    for key, seconds, hidden in _told_apart(est.tree, 1.0, (est.tree.name,), est.efficiency):
        total = found.setdefault(key, [0.0, 0.0])
        total[0], total[1] = total[0] + seconds, total[1] + hidden
    cells = tuple(
        Cell(*key, *total)
        for key, total in found.items()
        if any(np.any(np.asarray(each) != 0) for each in total)
    )
    return Attribution(est, cells, stage_times(est))


def _told_apart(
    node: Timed, times: Any, path: tuple[str, ...], fits: Any, *, hidden: bool = False
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Resource, detail, term, phase and layer of all seconds below a node: what is waited for, what runs beside."""
    if node.kind:
        term, phase, layer = node.kind, phase_of(path, node.kind), layer_of(path)
        for resource, detail, share in _resources(node, fits):
            seconds = share * times
            yield (resource, detail, term, phase, layer), *((0.0, seconds) if hidden else (seconds, 0.0))
        return
    for part in node.parts:
        yield from _told_apart(part, times * node.times, (*path, part.name), fits, hidden=hidden)
    beside = None if hidden else hidden_part(node)
    if beside is not None:
        share, messages = beside
        yield from _told_apart(messages, times * share, (*path, messages.name), fits, hidden=True)


def _resources(leaf: Timed, fits: Any) -> Iterator[tuple[str, str, Any]]:
    """Resources of a leaf, compute split by what computes."""
    for name, seconds in leaf.spent.items():
        if name != "compute":
            yield name, name, seconds
        elif isinstance(
            leaf.work, Attention
        ):  # softmax counts as so many head dimensions: they are exponentials
            vector = fits.attention.softmax_dims / (leaf.work.head_dim + fits.attention.softmax_dims)
            yield name, f"compute:{leaf.work.dtype}", seconds * (1 - vector)
            yield name, "compute:vector", seconds * vector
        else:
            yield (
                name,
                f"compute:{leaf.work.dtype if isinstance(leaf.work, Matmul) else 'contention'}",
                seconds,
            )


def _told(name: str) -> str:
    """A resource in words."""
    if name in UNITS:
        return UNITS[name]
    resource, _, dtype = name.partition(":")
    return f"{RESOURCES.get(resource, resource)}{f' in {dtype}' if dtype else ''}"
