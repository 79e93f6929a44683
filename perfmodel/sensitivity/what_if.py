"""What if: the same job with any field of any input changed, and what that moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perfmodel.errors import MissingExtraError
from perfmodel.report import RESOURCES, TERMS
from perfmodel.sensitivity.changes import Changed, changed
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.outcomes import TIME, samples_of, single, speedup
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

__all__ = ["Difference", "Moved", "what_if"]

Cells = tuple[str, str, str, str, str]
"""A row of the printed table: name, before, after, change, share of the change."""
LIKE_NOTHING = 1e-12
"""Share of a step that is rounding [-]."""
MOST_OF_IT = 0.8
"""Share of a change that its reasons have to make up [-]."""
REASONS = 3
"""At most so many are told [-]."""


def what_if(est: Any, **changes: Any) -> Difference:
    """Predict the same job with some inputs changed, and say what moves and why.

    Parameters
    ----------
    est : the estimate to start from, of any kind
    changes : any field of model, workload, layout, cluster, device, network tier or efficiency by its name, or by its
        path where the name alone is ambiguous (`fabric__bandwidth=…`, or `**{"fabric.bandwidth": …}`); model, work,
        layout, cluster, device, software and efficiency also whole. A value is one that the field takes ("800 Gbit/s",
        "fp8"), or a factor of what it holds ("1.5x", "+10 %"). dp follows from the devices unless it is given

    Returns
    -------
    both estimates and the table of their differences

    Raises
    ------
    InputError
        an unknown, ambiguous or meaningless field (near names are suggested), a value that can't be, or a layout that
        the changed job can't have; an estimate of several configurations at once

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100"))
    >>> found = pm.what_if(est, memory_bandwidth="1.5x")
    >>> found.after.step_time < est.step_time, found.most.name
    (True, 'memory-bound')
    >>> print(pm.what_if(est, tp=4).why.partition(":")[0])
    Step time rises from 14.50 s to 17.32 s (+19.4 %)
    >>> pm.what_if(est, memory_bandwith="1.5x")
    Traceback (most recent call last):
    perfmodel.errors.InputError: what is changed: unknown field "memory_bandwith"; did you mean memory_bandwidth? ...
    """
    inputs, differs = changed(Inputs.of(single(est)), changes)
    return Difference(est, inputs.estimate(), differs)


class Moved(NamedTuple):
    """One quantity that moved.

    Parameters
    ----------
    kind : term (kind of work), resource, or memory
    name : which
    before, after : in s, memory in B
    share : of the whole change of the step time, or of the memory; 0 where the whole does not change [-]
    """

    kind: Literal["term", "resource", "memory"]
    name: str
    before: float
    after: float
    share: float

    @property
    def delta(self) -> float:
        """After less before [s or B]."""
        return self.after - self.before

    @property
    def words(self) -> str:
        """Its name, as printed."""
        return {"term": TERMS, "resource": RESOURCES, "memory": {}}[self.kind].get(self.name, self.name)


@dataclass(frozen=True, repr=False)
class Difference:
    """Two estimates of one job, and what moved between them."""

    before: Any
    """What was asked from."""
    after: Any
    """What would be."""
    changes: tuple[Changed, ...]
    """Inputs that differ; those that follow from others say so."""

    @property
    def time(self) -> str:
        """What is timed, in words: step time, or latency."""
        return TIME[self.before.kind]

    @property
    def seconds(self) -> tuple[float, float]:
        """Step time, or latency of a batch, before and after [s]."""
        return float(self.before.tree.seconds), float(self.after.tree.seconds)

    @property
    def delta(self) -> float:
        """Time after less before [s]."""
        before, after = self.seconds
        return after - before

    @property
    def speedup(self) -> float:
        """How much faster: samples a second, or the time of a request that arrives at its own rate [-]."""
        return speedup(self.before, self.after)

    @property
    def rows(self) -> tuple[Moved, ...]:
        """Every term, resource and kind of memory of either estimate; of each kind the largest changes first."""
        found = [
            *_moved("term", self.before.terms, self.after.terms, self.delta),
            *_moved("resource", self.before.resources, self.after.resources, self.delta),
            *_moved(
                "memory",
                self.before.memory.by_kind,
                self.after.memory.by_kind,
                self.after.memory.total - self.before.memory.total,
            ),
        ]
        kinds = ("term", "resource", "memory")
        return tuple(sorted(found, key=lambda row: (kinds.index(row.kind), -abs(row.delta))))

    @property
    def most(self) -> Moved:
        """The term that moved most."""
        return self.rows[0]

    @property
    def why(self) -> str:
        """What changes and where it comes from, in plain sentences."""
        return " ".join(_sentences(self))

    def to_dict(self) -> dict[str, Any]:
        """Changes, both estimates and the table, in SI units, ready for JSON."""
        before, after = self.seconds
        return {
            "changes": [change._asdict() for change in self.changes],
            self.time.replace(" ", "_"): {"before": before, "after": after, "delta": self.delta},
            "speedup": self.speedup,
            "why": self.why,
            "moved": [row._asdict() | {"delta": row.delta} for row in self.rows],
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }

    def to_frame(self) -> pandas.DataFrame:
        """The table: kind, name, before, after, delta (s, memory in B), share of the change.

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frame") from None
        rows = [(row.kind, row.name, row.before, row.after, row.delta, row.share) for row in self.rows]
        return pandas.DataFrame(rows, columns=["kind", "name", "before", "after", "delta", "share"])

    def __repr__(self) -> str:
        lines = [f"what if {', '.join(map(str, self.changes))}", "", f"  {self.why}", ""]
        lines.append(f"  {'':<52}{'before':>11}{'after':>11}{'change':>12}{'of it':>8}")
        for name, *cells in _cells(self):
            lines.append(
                f"  {name:<52}" + "".join(f"{c:>{w}}" for c, w in zip(cells, (11, 11, 12, 8), strict=True))
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        title = ", ".join(map(str, self.changes))
        head = "".join(f"<th>{name}</th>" for name in ("", "before", "after", "change", "of it"))
        body = "".join(
            f"<tr><td style='text-align:left'>{escape(name.strip())}</td>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in _cells(self)
        )
        return (
            f"<div><p><b>what if {escape(title)}</b></p><p>{escape(self.why)}</p>"
            f"<table><thead><tr>{head}</tr></thead>{body}</table></div>"
        )


def _moved(
    kind: Literal["term", "resource", "memory"],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    whole: float,
) -> Iterator[Moved]:
    for name in dict.fromkeys((*before, *after)):
        old, new = float(before.get(name, 0.0)), float(after.get(name, 0.0))
        if old or new:
            yield Moved(kind, name, old, new, (new - old) / whole if whole else 0.0)


def _cells(found: Difference) -> Iterator[Cells]:
    """Rows of the printed table."""
    before, after = found.before, found.after
    yield _row(found.time, *found.seconds, "s")
    yield from (_entry(row) for row in found.rows if row.kind == "term" and _matters(row, found.seconds[0]))
    yield _row("memory of one device", before.memory.total, after.memory.total, "B")
    yield from (_entry(row) for row in found.rows if row.kind == "memory" and row.delta)
    rates = [("samples a second", ",.4g", "samples_per_second"), ("MFU", ".1%", "mfu")]
    for name, form, field in rates:
        if hasattr(before, field):
            old, new = getattr(before, field), getattr(after, field)
            yield name, f"{old:{form}}", f"{new:{form}}", f"{new / old - 1:+.1%}", ""


def _row(name: str, old: float, new: float, unit: Literal["s", "B"], share: str = "") -> Cells:
    change = new - old
    return (
        name,
        show(old, unit),
        show(new, unit),
        f"{'-' if change < 0 else '+'}{show(abs(change), unit)}",
        share,
    )


def _entry(row: Moved) -> Cells:
    return _row(
        f"  {row.words}", row.before, row.after, "B" if row.kind == "memory" else "s", f"{row.share:.0%}"
    )


def _matters(row: Moved, whole: float) -> bool:
    return abs(row.delta) > LIKE_NOTHING * whole


def _sentences(found: Difference) -> Iterator[str]:
    before, after, (was, will) = found.before, found.after, found.seconds
    time = found.time.capitalize()
    if abs(found.delta) <= LIKE_NOTHING * was:
        yield f"{time} stays {show(was, 's')}: nothing that is waited for depends on it."
    else:
        verb = "rises" if found.delta > 0 else "falls"
        yield (
            f"{time} {verb} from {show(was, 's')} to {show(will, 's')} ({100 * found.delta / was:+.1f} %): "
            f"{'; '.join(_reasons(found))}."
        )
    if samples_of(before) != samples_of(after):
        rate = after.samples_per_second / before.samples_per_second
        more = samples_of(after) / samples_of(before)
        yield f"It is for {more:g} times the samples: {rate:.3g} times as many a second."
    old, new = before.limiter, after.limiter
    if old.name != new.name:
        there = RESOURCES.get(new.name, new.name)
        yield f"The limit moves from {RESOURCES.get(old.name, old.name)} to {there} ({new.share:.0%} of the time)."
    else:
        here = RESOURCES.get(old.name, old.name)
        yield f"The limit stays {here} ({old.share:.0%} before, {new.share:.0%} after)."
    yield from _memory_sentence(before, after)


def _reasons(found: Difference) -> Iterator[str]:
    """The terms that make most of the change, and what goes the other way if that is much."""
    terms = [row for row in found.rows if row.kind == "term"]
    told = 0.0
    for row in sorted(terms, key=lambda row: -row.share)[:REASONS]:
        if told >= MOST_OF_IT or row.share <= 0:
            break
        told += row.share
        yield _moves(row)
    against = min(terms, key=lambda row: row.share)
    if against.share < MOST_OF_IT - 1:
        yield f"against it, {_moves(against)}"


def _moves(row: Moved) -> str:
    words = row.words.removesuffix(", exposed")
    return f"{words} {show(abs(row.delta), 's', 3)} {'more' if row.delta > 0 else 'less'}"


def _memory_sentence(before: Any, after: Any) -> Iterator[str]:
    change = after.memory.total - before.memory.total
    if bool(before.fits) != bool(after.fits):
        told = "It fits now" if after.fits else "It does NOT fit any more"
        yield f"{told}: {show(after.memory.total, 'B')} of {show(after.memory.capacity, 'B')}."
    elif not after.fits:
        yield f"It still does NOT fit: {show(after.memory.total, 'B')} of {show(after.memory.capacity, 'B')}."
    elif abs(change) > 0.01 * before.memory.total:
        yield f"It needs {show(abs(change), 'B', 3)} {'more' if change > 0 else 'less'} memory."
