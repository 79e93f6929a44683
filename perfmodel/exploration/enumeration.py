"""Every valid layout for a number of devices: degrees that multiply to it, pruned by the rules before they multiply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.exploration.questions import brief
from perfmodel.layers import MixtureOfExperts
from perfmodel.model import Model
from perfmodel.parallel import Parallel

__all__ = ["DEGREES", "Candidates", "Space", "divisors"]

DEGREES = ("devices", "tp", "pp", "cp", "ep", "dp", "vpp", "micro_batch")
"""Columns of an enumeration, in the order in which they are multiplied."""

AT_ONCE = 2**18
"""Candidates that are held at once, before the rules have seen them [-]."""

ONE_STAGE = "one stage has no schedule to choose"
ONE_RANK = "one tensor-parallel rank has no sequence to share"
ONE_PART = "one context-parallel rank has nothing to exchange"
ONE_CHUNK = {"interleaved-1f1b": "1f1b", "looped-bfs": "gpipe"}
"""Schedules that are another one where a stage holds one chunk."""


class Candidates(NamedTuple):
    """Layouts that share their structure.

    Parameters
    ----------
    structure : fields of workload and layout that are no columns
    work, layout : with these fields set
    numbers : columns of `DEGREES`, one entry a layout that breaks no rule
    refused : candidates that break one, by its reason; each counts once, by the first rule that it breaks [-]
    """

    structure: Mapping[str, Any]
    work: Any
    layout: Parallel
    numbers: Mapping[str, Any]
    refused: Mapping[str, int]

    @property
    def valid(self) -> int:
        """Layouts that break no rule [-]."""
        return len(self.numbers["tp"]) if self.numbers else 0

    @property
    def considered(self) -> int:
        """All of them, refused ones among them [-]."""
        return self.valid + sum(self.refused.values())


def divisors(number: int) -> Any:
    """All divisors of a whole number, growing.

    Parameters
    ----------
    number : at least 1 [-]

    Examples
    --------
    >>> divisors(12)
    array([ 1.,  2.,  3.,  4.,  6., 12.])
    """
    low = np.arange(1, int(number**0.5) + 1)
    low = low[number % low == 0]
    return np.unique(np.concatenate([low, number // low])).astype(np.float64)


@dataclass(frozen=True)
class Space:
    """What is enumerated: structure, degrees that multiply to the devices, chunks and micro-batches, all combined.

    Parameters
    ----------
    model, work, layout : what all candidates share
    devices : numbers of devices [-]
    numbers : degrees that are given, by name; those that are left out take every value that can be valid [-]
    structure : values of other fields of workload and layout, by name

    Notes
    -----
    Candidates of a degree are divisors: of the devices (tp, pp, cp; dp follows), of the experts (ep), of the global
    batch (micro_batch); vpp goes up to what the layers allow. What these leave out is not counted, what a rule refuses
    is. Choices that change nothing are refused, too: schedules of one stage but the first, interleaved ones of one
    chunk, sequence parallelism of one rank, kinds of context of one rank but the first.

    Examples
    --------
    >>> import perfmodel as pm
    >>> space = Space(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=16, sequence_length=2048), pm.Parallel(),
    ...               devices=(8,), numbers={"vpp": [1], "micro_batch": [1]}, structure={})
    >>> found = list(space.candidates())
    >>> sum(some.valid for some in found), found[0].refused
    (20, {})
    """

    model: Model
    work: Any
    layout: Parallel
    devices: Sequence[int]
    numbers: Mapping[str, Sequence[int]]
    structure: Mapping[str, Sequence[Any]]

    def structures(self) -> Iterator[dict[str, Any]]:
        """Every combination of what is no number, the last field fastest."""
        names = tuple(self.structure)
        for values in product(*self.structure.values()):
            yield dict(zip(names, values, strict=True))

    def candidates(self) -> Iterator[Candidates]:
        """All of them, structure by structure, in blocks of bounded size."""
        for structure in self.structures():
            yield from self.of(structure)

    def of(self, structure: Mapping[str, Any]) -> Iterator[Candidates]:
        """Those of one structure; where it is not valid, all of them are refused.

        Parameters
        ----------
        structure : a value for each field that is no number
        """
        try:
            work, layout = self.specs(structure)
        except InputError as error:
            yield Candidates(structure, self.work, self.layout, {}, {brief(error): self.size})
            return
        for numbers, refused in self._valid(structure, work, layout):
            yield Candidates(structure, work, layout, numbers, refused)

    @cached_property
    def size(self) -> int:
        """Candidates of one structure [-]."""
        return int(self._weights(self.degrees).sum())

    # --- degrees ----------------------------------------------------------------------------------------------------

    @cached_property
    def degrees(self) -> Mapping[str, Any]:
        """Columns of devices, tp, pp, cp, ep and dp that multiply to the devices."""
        tables = [self._factored(devices) for devices in self.devices]
        return {name: np.concatenate([table[name] for table in tables]) for name in DEGREES[:6]}

    def _factored(self, devices: int) -> dict[str, Any]:
        """Factorisations of a number of devices, one factor after the other; what is left is dp."""
        table = {"devices": np.array([float(devices)])}
        rest = table["devices"]
        for name in ("tp", "pp", "cp"):
            choices = self._given(name, divisors(devices))
            table, rest = _times(table, rest, name, choices)
            whole = rest % table[name] == 0
            table, rest = _kept({**table, "rest": rest}, whole)
            rest = rest / table[name]
        table["dp"] = rest
        if "dp" in self.numbers:
            table = _kept(table, np.isin(rest, self._given("dp", rest)))[0]
        table, rest = _times(table, table["dp"], "ep", self._given("ep", self.expert_degrees()))
        return {name: table[name] for name in DEGREES[:6]}

    def _given(self, name: str, otherwise: Any) -> Any:
        return np.asarray(self.numbers[name], dtype=np.float64) if name in self.numbers else otherwise

    def expert_degrees(self) -> Any:
        """Ranks that may share routed experts [-]."""
        experts = [layer.experts for layer, _ in self.model.layers() if isinstance(layer, MixtureOfExperts)]
        return divisors(max(experts)) if experts else np.ones(1)

    # --- chunks and micro-batches -----------------------------------------------------------------------------------

    @cached_property
    def micro_batches(self) -> Any:
        """Sizes of a micro-batch [-]."""
        batch = getattr(self.work, "global_batch", 1)
        return self._given("micro_batch", divisors(int(batch)))

    def _chunks(self, pp: float) -> Any:
        """Chunks of a stage, up to what the layers allow [-]."""
        most = 1 if pp == 1 else max(int((self.model.depth + 2) // pp), 1)
        return self._given("vpp", np.arange(1.0, most + 1))

    def _weights(self, degrees: Mapping[str, Any]) -> Any:
        """Candidates that each row of degrees stands for [-]."""
        each, where_from = np.unique(degrees["pp"], return_inverse=True)
        chunks = np.array([len(self._chunks(pp)) for pp in each], dtype=np.int64)
        return chunks[where_from] * len(self.micro_batches)

    # --- what the rules leave ---------------------------------------------------------------------------------------

    def specs(self, structure: Mapping[str, Any]) -> tuple[Any, Parallel]:
        """Workload and layout with a structure set; numbers that are columns are left out.

        Parameters
        ----------
        structure : a value for each field that is no number

        Raises
        ------
        InputError
            its values contradict each other, or there is no such value
        """
        on_layout = {name: value for name, value in structure.items() if name in Parallel.model_fields}
        on_work = {name: value for name, value in structure.items() if name not in on_layout}
        layout = self.layout.replace(
            **dict.fromkeys(("tp", "pp", "cp", "ep", "vpp", "micro_batch"), 1), dp=None
        )
        return self.work.replace(**on_work) if on_work else self.work, layout.replace(**on_layout)

    def _valid(
        self, structure: Mapping[str, Any], work: Any, layout: Parallel
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, int]]]:
        """Degrees that break no rule, then what each of them is multiplied with, in blocks.

        A rule that one chunk and one sequence break is broken by more of them, too.
        """
        weights = self._weights(self.degrees)
        plain = layout.replace(schedule="auto")
        right, refused = self._ruled(structure, work, plain, self.degrees, weights)
        yield {}, refused
        left, _ = _kept(self.degrees, right)
        weights = weights[right]
        start = 0
        while start < len(weights):
            stop = start + max(1, int(np.searchsorted(np.cumsum(weights[start:]), AT_ONCE, side="right")))
            block = self._multiplied({name: column[start:stop] for name, column in left.items()})
            right, refused = self._ruled(structure, work, layout, block, 1)
            yield _kept(block, right)[0], refused
            start = stop

    def _multiplied(self, degrees: Mapping[str, Any]) -> dict[str, Any]:
        """Each row of degrees with each of its chunks and micro-batches."""
        chunks = [self._chunks(pp) for pp in degrees["pp"].tolist()]
        lengths = np.array([len(one) for one in chunks])
        rows = {name: np.repeat(column, lengths) for name, column in degrees.items()}
        rows["vpp"] = np.concatenate(chunks)
        return _times(rows, rows["vpp"], "micro_batch", self.micro_batches)[0]

    def _ruled(
        self,
        structure: Mapping[str, Any],
        work: Any,
        layout: Parallel,
        columns: Mapping[str, Any],
        weights: Any,
    ) -> tuple[Any, dict[str, int]]:
        """Rows that break no rule, and how many candidates the others are, by the first rule that they break."""
        numbers = {name: column for name, column in columns.items() if name != "devices"}
        layout = layout.model_copy(update=numbers)
        right = np.ones(len(columns["tp"]), dtype=bool)
        refused: Counter[str] = Counter()
        with np.errstate(all="ignore"):
            for broken, reason in (*self._idle(structure, numbers), *self._broken(layout, work)):
                here = right & broken
                if here.any():
                    refused[reason] += int(np.broadcast_to(weights, here.shape)[here].sum())
                    right &= ~here
        return right, dict(refused)

    def _broken(self, layout: Parallel, work: Any) -> Iterator[tuple[Any, str]]:
        for breach in layout.breaches(self.model, work):
            yield breach.broken, breach.reason

    def _idle(self, structure: Mapping[str, Any], numbers: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
        """Choices that change nothing: the same layout is a candidate under another name."""
        schedules, schedule = self.structure.get("schedule", ()), structure.get("schedule")
        if len(schedules) > 1 and schedule != schedules[0]:
            yield numbers["pp"] == 1, ONE_STAGE
        if "vpp" in numbers and (same := ONE_CHUNK.get(schedule or "")) in schedules:
            yield numbers["vpp"] == 1, f"schedule = {schedule!r} of one chunk a stage is {same}"
        contexts = self.structure.get("context", ())
        if len(contexts) > 1 and structure["context"] != contexts[0]:
            yield numbers["cp"] == 1, ONE_PART
        if structure.get("sequence_parallel") and False in self.structure["sequence_parallel"]:
            yield numbers["tp"] == 1, ONE_RANK


def _times(table: Mapping[str, Any], along: Any, name: str, choices: Any) -> tuple[dict[str, Any], Any]:
    """A table with every row once for each choice, and a column beside it likewise."""
    rows = {each: np.repeat(column, len(choices)) for each, column in table.items()}
    return {**rows, name: np.tile(choices, len(along))}, np.repeat(along, len(choices))


def _kept(table: Mapping[str, Any], rows: Any) -> tuple[dict[str, Any], Any]:
    """Some rows of a table, a column called rest apart."""
    kept = {name: column[rows] for name, column in table.items()}
    return kept, kept.pop("rest", None)
