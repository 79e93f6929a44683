"""Columns of configurations -> columns of results: rules, memory and time of every row in one pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.exploration.answers import EXCEEDS_DEVICE, EXCEEDS_HOST, Answers, answers_for
from perfmodel.exploration.fields import Field, field_named
from perfmodel.exploration.machines import Machines, machines, put
from perfmodel.exploration.packed import Packed
from perfmodel.exploration.questions import Question, brief
from perfmodel.exploration.written import answered_again
from perfmodel.hardware import Cluster
from perfmodel.ops import maximum
from perfmodel.parallel import Breach, Parallel
from perfmodel.parallel.rules import devices_multiply

__all__ = ["ADDED", "ESTIMATED", "Block", "Named", "evaluate", "results"]

ESTIMATED = ("", EXCEEDS_DEVICE, EXCEEDS_HOST)
"""Reasons of rows that break no rule: they have results."""
ADDED = ("terms.", "resources.", "hidden.")
"""Columns of parts that add up: a row that has no such part holds 0."""


class Named(NamedTuple):
    """A column of names.

    Parameters
    ----------
    names : that occur, "" the first of them
    codes : which of them each row has [-]
    """

    names: tuple[str, ...]
    codes: Any

    @property
    def column(self) -> Any:
        """The names, one a row."""
        return np.array(self.names, dtype=object)[self.codes]


class Block(NamedTuple):
    """Results of a question.

    Parameters
    ----------
    shape : of the rows
    numbers : results by name, which broadcast to the shape; nan where a row breaks a rule
    limiter : the resource that takes most of the time; "" where a row breaks a rule
    reason : why a row is not feasible, in few words; "" where it is
    """

    shape: tuple[int, ...]
    numbers: dict[str, Any]
    limiter: Named
    reason: Named

    @property
    def feasible(self) -> Any:
        """Which rows break no rule and fit into memory."""
        return self.reason.codes == 0


def evaluate(question: Question, columns: Collection[str] | None = None) -> Block:
    """Answer many configurations at once.

    No row is an error: one that is malformed, that breaks a rule or that does not fit says why. Rows equal single
    estimates to the last bit.

    Parameters
    ----------
    question : what the rows share, and the columns in which they differ
    columns : names of results, or of families of them (memory, terms, resources, hidden); None is all

    Returns
    -------
    the results

    Examples
    --------
    >>> import perfmodel as pm
    >>> shared = (pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192), pm.Parallel(),
    ...           pm.Cluster.load("dgx-h100"), pm.Efficiency.of("Hopper", "default"))
    >>> found = evaluate(Question(*shared, {"tp": np.array([2, 4, 5])}), ["step_time"])
    >>> found.numbers["step_time"].round(2), found.reason.column.tolist()
    (array([14.5 , 17.32,   nan]), ['', '', 'tp · pp · cp does not divide the devices'])
    """
    with np.errstate(all="ignore"):
        return _Pass(question, columns).block()


def results(
    question: Question, numbers: Mapping[str, Any], cluster: Cluster, columns: Collection[str] | None = None
) -> dict[tuple[str, str], Any]:
    """Everything that is wanted of rows that break no rule, with no look at the rules.

    Parameters
    ----------
    question : what the rows share
    numbers : of the question, of any kind
    cluster : the machine, with its own numbers among these
    columns : as in `evaluate`

    Returns
    -------
    by what it is (result, resource, lacks) and its name
    """
    return _Pass(question, columns).results(numbers, cluster)


class _Pass:
    """One pass over a question; holds what its steps share."""

    def __init__(self, question: Question, columns: Collection[str] | None) -> None:
        self.question, self.wanted = question, columns
        self.answers: Answers = answers_for(type(question.work))
        self.numbers, self.fields = _aligned(question)
        self.shape = np.broadcast_shapes(*(column.shape for column in self.numbers.values()))
        self.reasons: list[str] = [""]
        self.codes: Any = np.zeros((1,) * len(self.shape), dtype=np.int16)
        self.limiters: list[str] = [""]
        self.limits: Any = np.zeros((1,) * len(self.shape), dtype=np.int16)
        self.found: dict[str, Any] = {}

    def block(self) -> Block:
        """Rules first, then what is left, machine by machine."""
        self._well_formed()
        dtype = self.answers.dtype(self.question.work)
        several = machines(self.question.cluster, self._of("cluster"), dtype)
        for machine in several:
            self._on(machine)
        if len(several) > 1 or not self.answers.columns:
            self._complete()
        return Block(
            self.shape,
            self.found,
            Named(tuple(self.limiters), self.limits),
            Named(tuple(self.reasons), self.codes),
        )

    def _of(self, *owners: str) -> dict[str, Any]:
        return {name: column for name, column in self.numbers.items() if self.fields[name].owner in owners}

    # --- rows that cannot be ----------------------------------------------------------------------------------------

    def _refuse(self, broken: Any, reason: str, rows: Any = True) -> None:
        """Note a reason for rows that have none yet."""
        broken = np.asarray(broken) & rows & (self.codes == 0)
        if broken.any():
            if reason not in self.reasons:
                self.reasons.append(reason)
            self.codes = np.where(broken, np.int16(self.reasons.index(reason)), self.codes)

    def _well_formed(self) -> None:
        """Numbers that a field does not take are replaced by one that it does, and their rows refused."""
        for name, column in self.numbers.items():
            field = self.fields[name]
            valid = field.valid(column)
            if not valid.all():
                self._refuse(~valid, field.fault)
                self.numbers[name] = np.where(valid, column, field.stand_in)

    def _on(self, machine: Machines) -> None:
        """Everything on one shape of network."""
        if isinstance(machine.cluster, InputError):
            self._refuse(True, brief(machine.cluster), machine.rows)
            return
        work, layout = (self._specs(self._of(owner), owner) for owner in ("work", "layout"))
        devices = machine.cluster.devices
        try:
            for breach in devices_multiply(layout, devices):
                self._refuse(breach.broken, breach.reason, machine.rows)
            layout = self._placed(layout, devices)
            for breach in self._breaches(layout, work):
                self._refuse(breach.broken, breach.reason, machine.rows)
            self._answer(machine, layout)
        except InputError as error:  # of the structure that all rows share
            self._refuse(True, brief(error), machine.rows)

    def _breaches(self, layout: Parallel, work: Any) -> Iterator[Breach]:
        return layout.breaches(self.question.model, work)

    def _specs(self, numbers: Mapping[str, Any], owner: str) -> Any:
        return getattr(self.question, owner).model_copy(update=dict(numbers))

    def _placed(self, layout: Parallel, devices: Any) -> Parallel:
        """The layout with dp set; where it does not come out, some dp to go on with."""
        if layout.dp is not None:
            return layout
        return layout.model_copy(update={"dp": maximum(devices // layout.replica, 1)})

    # --- rows that can be -------------------------------------------------------------------------------------------

    def _answer(self, machine: Machines, layout: Parallel) -> None:
        """Estimate the rows that break no rule, alike ones in one pass; one by one where there is no other way."""
        rows = (self.codes == 0) & machine.rows
        if self.answers.columns:
            apart = self.answers.apart(layout)
            for here in (rows & apart, rows & ~apart):
                if here.any():
                    self._estimate(machine, Packed(here))
            return
        for place in np.flatnonzero(np.broadcast_to(rows, self.shape)):
            here = np.zeros(self.shape, dtype=bool)
            here.flat[place] = True
            try:
                self._estimate(machine, Packed(here, single=True))
            except InputError as error:
                self._refuse(here, brief(error))

    def _estimate(self, machine: Machines, packed: Packed) -> None:
        """Estimate some rows, and put their results in their places."""
        numbers = {name: packed.take(column) for name, column in self.numbers.items()}
        cluster = packed.take_all(machine.cluster)
        found = answered_again(self.results, self.question, self.wanted, numbers, cluster)
        resources = {}
        for (what, name), value in found.items():
            match what:
                case "result":
                    column = np.asarray(value, dtype=np.float64)
                    self.found[name] = packed.put(column, self.found.get(name), np.nan)
                case "resource":
                    resources[name] = value
                case "lacks":
                    self._refuse(packed.put(np.asarray(value), None, False), name)
        if resources:
            self._limit(resources, packed)

    def results(self, numbers: Mapping[str, Any], cluster: Cluster) -> dict[tuple[str, str], Any]:
        """Everything that is wanted of some rows, by what it is and its name."""
        of = {owner: {n: c for n, c in numbers.items() if self.fields[n].owner == owner} for owner in _OWNERS}
        work, layout = self._specs(of["work"], "work"), self._specs(of["layout"], "layout")
        efficiency = self.question.efficiency
        for name, column in of["efficiency"].items():
            efficiency = put(efficiency, self.fields[name].path, column)
        layout = self._placed(layout, cluster.devices)
        est = self.answers.estimate(self.question.model, work, layout, cluster, efficiency)
        found = {("result", name): value for name, value in self._read(est, layout)}
        if self._wants("limiter"):
            found |= {("resource", name): seconds for name, seconds in est.resources.items()}
        return found | {("lacks", reason): rows for reason, rows in self.answers.lacks(est).items()}

    def _wants(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

    def _read(self, est: Any, layout: Parallel) -> Iterator[tuple[str, Any]]:
        """Every result that is wanted."""
        for name in self.answers.metrics:
            if self._wants(name) and (value := getattr(est, name)) is not None:
                yield name, value
        for family, read in self.answers.families.items():
            whole = self._wants(family)
            if whole or any(name.startswith(f"{family}.") for name in self.wanted or ()):
                for part, value in read(est).items():
                    if whole or self._wants(f"{family}.{part}"):
                        yield f"{family}.{part}", value
        if self._wants("dp"):
            yield "dp", layout.dp

    def _limit(self, resources: Mapping[str, Any], packed: Packed) -> None:
        """The resource that takes most of each row; of equal ones the first."""
        self.limiters += [name for name in resources if name not in self.limiters]
        table = np.array([self.limiters.index(name) for name in resources], dtype=np.int16)
        most = np.argmax(np.stack(np.broadcast_arrays(*resources.values())), axis=0)
        self.limits = packed.put(table[most], self.limits, np.int16(0))

    def _complete(self) -> None:
        """Seconds of what only some machines have are none on the others."""
        estimated = np.array([reason in ESTIMATED for reason in self.reasons])[self.codes]
        for name, column in self.found.items():
            if name.startswith(ADDED):
                self.found[name] = np.where(np.isnan(column) & estimated, 0.0, column)


_OWNERS = ("work", "layout", "cluster", "efficiency")


def _aligned(question: Question) -> tuple[dict[str, Any], dict[str, Field]]:
    """Columns with as many dimensions each, and the field of each."""
    work = type(question.work)
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in question.numbers.items()}
    most = max((column.ndim for column in columns.values()), default=0) or 1
    aligned = {name: one.reshape((1,) * (most - one.ndim) + one.shape) for name, one in columns.items()}
    return aligned or {"devices": np.full(1, float(question.cluster.devices))}, {
        name: field_named(name, work) for name in aligned or ("devices",)
    }
