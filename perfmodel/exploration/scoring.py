"""One structure of a search: its layouts enumerated, held against memory, timed where they may be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from perfmodel.efficiency import Efficiency, Software
from perfmodel.errors import InputError
from perfmodel.estimation import estimate, fits_in_force
from perfmodel.estimation.pipeline import CLOSED
from perfmodel.estimation.training import least_training, training_memory
from perfmodel.exploration.answers import Answers, answers_for
from perfmodel.exploration.enumeration import DEGREES, Candidates, Space
from perfmodel.exploration.keepers import Keeper, Kept, costs_of
from perfmodel.exploration.machines import Machines
from perfmodel.exploration.metrics import Metric, Terms, metrics_of
from perfmodel.exploration.plan import CHUNK
from perfmodel.exploration.questions import brief
from perfmodel.hardware import Cluster
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["Job", "Limit", "Part", "Scores", "score"]

FIRST = 64
"""Layouts that are timed event by event at once, those that may be best first; then twice as many, and so on [-]."""


class Limit(NamedTuple):
    """What a result must not exceed.

    Parameters
    ----------
    metric : the result
    most : so much of it is allowed
    reason : why others fail, in few words
    """

    metric: Metric
    most: float
    reason: str


@dataclass(frozen=True)
class Job:
    """A search, as it is sent to whoever answers a part of it.

    Parameters
    ----------
    space : what is enumerated
    cluster : the machine, but for its number of devices
    fleet : machines of all its numbers of devices, those that can be columns of one together
    software, efficiency : as of `estimate`
    terms : of money and energy
    limits : what results must not exceed
    """

    space: Space
    cluster: Cluster
    fleet: tuple[Machines, ...]
    software: str | None
    efficiency: Efficiency | Software | None
    terms: Terms
    limits: tuple[Limit, ...]


@dataclass
class Scores:
    """What became of the candidates.

    Parameters
    ----------
    refused : by the rules, with the first reason of each [-]
    lacking : for want of memory, likewise [-]
    outside : for a limit on a result, likewise [-]
    beaten : not timed, as they could not be kept even in the least time that their passes take [-]
    timed : estimated in full [-]
    kept : rows, best first
    """

    refused: Counter[str] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    beaten: int = 0
    timed: int = 0
    kept: Sequence[Kept] = ()

    @property
    def considered(self) -> int:
        """All candidates [-]."""
        return sum(self.refused.values()) + sum(self.lacking.values()) + self.beaten + self.timed

    def add(self, other: Scores) -> None:
        """Count those of another part, too; what is kept is not joined.

        Parameters
        ----------
        other : the part
        """
        self.refused.update(other.refused)
        self.lacking.update(other.lacking)
        self.outside.update(other.outside)
        self.beaten += other.beaten
        self.timed += other.timed


def score(job: Job, number: int, structure: Mapping[str, Any], keeper: Keeper) -> Scores:
    """Go through all layouts of one structure.

    Parameters
    ----------
    job : the search
    number : of the structure, by which ties go [-]
    structure : a value for each field that is no number
    keeper : what is kept so far, by which layouts are not timed that could not be; takes in what is found

    Returns
    -------
    counts, and which of its rows are kept now
    """
    scores, seen = Scores(), 0
    with np.errstate(all="ignore"):
        for candidates in job.space.of(structure):
            scores.refused.update(candidates.refused)
            for start in range(0, candidates.valid, CHUNK):
                numbers = {n: column[start : start + CHUNK] for n, column in candidates.numbers.items()}
                numbers["place"] = np.arange(len(numbers["tp"])) + (seen + start)
                for rows, cluster in _on(job, numbers["devices"]):
                    here = {name: column[rows] for name, column in numbers.items()}
                    _Layouts(job, candidates, here, cluster, number, keeper, scores).score()
            seen += candidates.valid
    scores.kept = [one for one in keeper.kept if one.place[0] == number]
    return scores


class Part(NamedTuple):
    """One structure of a search, as it is sent.

    Parameters
    ----------
    job : the search
    number, structure, keeper : as of `score`
    """

    job: Job
    number: int
    structure: Mapping[str, Any]
    keeper: Keeper

    @property
    def rows(self) -> int:
        """Candidates that it stands for [-]."""
        return self.job.space.size

    def answer(self, columns: Collection[str] | None) -> Scores:
        """Counts and kept rows.

        Parameters
        ----------
        columns : of a sweep; a search has its own
        """
        return score(self.job, self.number, self.structure, copy(self.keeper))  # others may have the same one


def _on(job: Job, devices: Any) -> Iterator[tuple[Any, Any]]:
    """Rows by machine, and the machine with columns for them."""
    place = np.searchsorted(np.array(job.space.devices, dtype=np.float64), devices)
    for machine in job.fleet:
        rows = np.broadcast_to(machine.rows, (len(job.space.devices),))[place]
        if rows.all():
            yield slice(None), _taken(machine.cluster, place)
        elif rows.any():
            yield rows, _taken(machine.cluster, place[rows])


def _taken(value: Any, places: Any) -> Any:
    """A specification whose columns are over numbers of devices, as one whose columns are over rows."""
    if isinstance(value, np.ndarray):
        return value[places]
    if isinstance(value, tuple):
        return tuple(_taken(one, places) for one in value)
    if hasattr(value, "model_copy"):
        taken = {name: _taken(one, places) for name, one in value.__dict__.items()}
        changed = {name: one for name, one in taken.items() if one is not value.__dict__[name]}
        return value.model_copy(update=changed) if changed else value
    return value


@dataclass
class _Layouts:
    """Layouts that are gone through at once: of one structure, on machines that are columns of one.

    Parameters
    ----------
    job, number, keeper, scores : as of `score`
    candidates : that they are of
    numbers : their columns, and their places among all layouts of the structure
    cluster : with columns for them, or why there is none
    """

    job: Job
    candidates: Candidates
    numbers: Mapping[str, Any]
    cluster: Cluster | InputError
    number: int
    keeper: Keeper
    scores: Scores

    def score(self) -> None:
        """Memory, then time, of what is left."""
        count = len(self.numbers["place"])
        try:
            if isinstance(self.cluster, InputError):
                raise self.cluster
            self._held_against_memory(np.arange(count))
        except InputError as error:  # of the structure that all of them share
            self.scores.refused[brief(error)] += count

    @cached_property
    def answers(self) -> Answers:
        """What such a workload answers."""
        return answers_for(type(self.candidates.work))

    @cached_property
    def efficiency(self) -> Efficiency:
        """The fits in force."""
        return fits_in_force(self.cluster, self.candidates.work, self.job.software, self.job.efficiency)  # type: ignore[arg-type]  # is one

    def _held_against_memory(self, rows: Any) -> None:
        if not self.answers.columns:
            self._one_by_one(rows)
            return
        if isinstance(self.candidates.work, Training):
            memory = self._asked(training_memory, rows)
            rows = rows[self._room(len(rows), SimpleNamespace(memory=memory, fits=memory.fits))]
        if self.candidates.layout.pipeline_schedule in CLOSED:
            self._timed(rows)
        else:
            self._timed_where_it_matters(rows)

    def _asked(self, ask: Callable[..., Any], rows: Any) -> Any:
        """An answer on columns of some rows."""
        cluster = _taken(self.cluster, rows)
        return ask(self.job.space.model, self.candidates.work, self._layout(rows), cluster, self.efficiency)

    def _layout(self, rows: Any) -> Parallel:
        return self.candidates.layout.model_copy(
            update={name: self.numbers[name][rows] for name in DEGREES if name != "devices"}
        )

    def _room(self, count: int, est: Any) -> Any:
        """Rows that fit, and within what is allowed."""
        right = np.ones(count, dtype=bool)
        tests = dict(self.answers.lacks(est))
        for limit in self.job.limits:
            if limit.metric.name == "memory.total":
                tests[limit.reason] = est.memory.total > limit.most
        for reason, lacking in tests.items():
            here = right & lacking
            if here.any():
                self.scores.lacking[reason] += int(here.sum())
                right &= ~here
        return right

    def _one_by_one(self, rows: Any) -> None:
        """Rows of a workload that is not estimated as columns."""
        job = self.job
        for row in rows.tolist():
            numbers = {name: int(self.numbers[name][row]) for name in DEGREES}
            cluster = job.cluster.replace(devices=numbers.pop("devices"))
            layout = self.candidates.layout.replace(**numbers)
            try:
                est = estimate(
                    job.space.model, self.candidates.work, layout, cluster,
                    software=job.software, efficiency=job.efficiency,
                )  # fmt: skip
            except InputError as error:
                self.scores.refused[brief(error)] += 1
                continue
            self._kept(np.array([row]), est)

    # --- time -------------------------------------------------------------------------------------------------------

    def _timed_where_it_matters(self, rows: Any) -> None:
        """Rows whose least time may be good enough, the best of them first."""
        if not len(rows):
            return
        least = self._asked(least_training, rows)
        costs = [
            np.broadcast_to(one, (len(rows),)) for one in costs_of(self.keeper.metrics, least, self.job.terms)
        ]
        order = np.argsort(costs[0], kind="stable")
        size = FIRST
        while len(order):
            beaten = self.keeper.beaten([cost[order] for cost in costs])
            self.scores.beaten += int(beaten.sum())
            order = order[~beaten]
            self._timed(np.sort(rows[order[:size]]))
            order, size = order[size:], 2 * size

    def _timed(self, rows: Any) -> None:
        apart = np.broadcast_to(self.answers.apart(self._layout(rows)), (len(rows),))
        for here in (rows[apart], rows[~apart]):
            if len(here):
                self._kept(here, self._asked(self.answers.estimate, here))

    def _kept(self, rows: Any, est: Any) -> None:
        """Count what was timed, and keep what may be among the best."""
        terms, shape = self.job.terms, (len(rows),)
        right = self._room(len(rows), est)
        self.scores.timed += int(right.sum())
        for limit in self.job.limits:
            over = right & (limit.metric.cost(est, terms) > limit.most)
            if over.any():
                self.scores.outside[limit.reason] += int(over.sum())
                right &= ~over
        here = np.flatnonzero(right)
        costs = [np.broadcast_to(one, shape)[here] for one in costs_of(self.keeper.metrics, est, terms)]
        chosen = self.keeper.chosen(costs)
        if not len(chosen):
            return
        results = self._results(est, shape)
        self.keeper.add([
            Kept(
                tuple(float(cost[one]) for cost in costs),
                (self.number, int(self.numbers["place"][rows[here[one]]])),
                self._row(rows[here[one]]) | {name: column[here[one]].item() for name, column in results.items()},
            )
            for one in chosen.tolist()
        ])  # fmt: skip

    def _row(self, row: int) -> dict[str, Any]:
        return {name: int(self.numbers[name][row]) for name in DEGREES} | dict(self.candidates.structure)

    def _results(self, est: Any, shape: tuple[int, ...]) -> dict[str, Any]:
        """Every result that there is, as columns."""
        found = {}
        for name, one in metrics_of(type(self.candidates.work)).items():
            value = one.read(est, self.job.terms)
            if value is not None:
                found[name] = np.broadcast_to(np.asarray(value, dtype=np.float64), shape)
        return found
