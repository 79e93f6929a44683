"""What to change: every remedy predicted, alone and in pairs, ranked by what it gains and by what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from perfmodel.errors import InputError, MissingExtraError
from perfmodel.report import RESOURCES
from perfmodel.sensitivity.changes import Changed, changed
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.outcomes import single
from perfmodel.sensitivity.remedies import REMEDIES, SCOPES, Changes, Remedy, Scope
from perfmodel.sensitivity.suggestion import Suggestion
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

__all__ = ["Advice", "advise"]

WORTH = 0.005
"""A gain of throughput that is worth a line [-]."""
ALIKE: dict[Scope, int] = {"way": 1, "job": 1, "model": 2, "machine": 3}
"""Changes of the same remedy that are told [-]."""
PAIRED = 8
"""Remedies whose best changes are tried in pairs [-]."""


def advise(est: Any, n: int = 5, *, pairs: bool = True) -> Advice:
    """Predict every remedy that applies, alone and in the best pairs, and rank what they gain.

    Whatever does not fit, breaks a rule or gains less than 0.5 % is dropped. Where the estimate itself does not fit,
    everything that makes it fit is ranked by its throughput.

    Parameters
    ----------
    est : an estimate of any kind
    n : single remedies of each scope (another way to do the same job, another job, another model, another machine), the
        best change of each; half as many pairs [-]
    pairs : try the best remedies two by two, too

    Returns
    -------
    suggestions, each with its changed inputs and its estimate

    Raises
    ------
    InputError
        n is no positive number

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=64, sequence_length=4096),
    ...                   pm.Parallel(tp=16), pm.Cluster.load("dgx-h100", devices=16))
    >>> found = pm.advise(est)
    >>> found.first.speedup > 2, found.first.changes["tp"] < 16
    (True, True)
    >>> found.first.inputs.estimate().step_time == found.first.after.step_time
    True
    """
    if n < 1:
        raise InputError(f"n = {n} suggestions must be at least 1")
    alone = list(_alone(single(est)))
    together = list(_in_pairs(est, alone)) if pairs else []
    better = [each for each, parts in together if _better(each, parts)]
    kept = [
        each for each in (*alone, *better) if each.after.fits and (each.speedup > 1 + WORTH or not est.fits)
    ]
    ranked = sorted(kept, key=lambda each: (-each.speedup, len(each.changes)))
    best: list[Suggestion] = []
    for scope in SCOPES:
        for remedies, most in ((1, n), (2, -(-n // 2))):
            of_a_kind = [each for each in ranked if each.scope == scope and len(each.remedies) == remedies]
            best += _varied(of_a_kind)[:most]
    return Advice(est, tuple(best), len(alone) + len(together))


def _varied(ranked: Iterable[Suggestion]) -> list[Suggestion]:
    """The best changes of each remedy, or pair of them, and no more."""
    kept: dict[tuple[str, ...], list[Suggestion]] = {}
    varied = []
    for each in ranked:
        alike = kept.setdefault(tuple(remedy.name for remedy in each.remedies), [])
        if len(alike) < ALIKE[each.scope]:
            alike.append(each)
            varied.append(each)
    return varied


@dataclass(frozen=True, repr=False)
class Advice(Sequence[Suggestion]):
    """Suggestions: for the same job on the same machine, for another job, another model, on another machine.

    Of each scope single remedies come first, then pairs, each the fastest first.
    """

    est: Any
    """What was asked about."""
    suggestions: tuple[Suggestion, ...]
    """Ranked within their scopes."""
    tried: int
    """Changes that were predicted [-]."""

    def __getitem__(self, index: Any) -> Any:
        return self.suggestions[index]

    def __len__(self) -> int:
        return len(self.suggestions)

    @property
    def first(self) -> Suggestion:
        """The first of them: the fastest single remedy of the nearest scope that has any.

        Raises
        ------
        InputError
            nothing gains anything
        """
        if not self.suggestions:
            raise InputError(self._nothing())
        return self.suggestions[0]

    @property
    def by_value(self) -> tuple[Suggestion, ...]:
        """The same, best value for money first; those whose price is not known come last."""
        return tuple(sorted(self.suggestions, key=lambda each: -(each.value or 0.0)))

    def of(self, scope: str) -> tuple[Suggestion, ...]:
        """Those of one scope.

        Parameters
        ----------
        scope : way, job, model or machine
        """
        return tuple(each for each in self.suggestions if each.scope == scope)

    def to_dict(self) -> dict[str, Any]:
        """Everything in SI units, ready for JSON."""
        return {
            "limiter": self.est.limiter._asdict(),
            "fits": bool(self.est.fits),
            "tried": self.tried,
            "suggestions": [each.to_dict() for each in self.suggestions],
        }

    def to_frame(self) -> pandas.DataFrame:
        """A row a suggestion: change, scope, speedup, samples a dollar, seconds, memory [B], what it relieves.

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frame") from None
        names = ("scope", "speedup", "samples_per_dollar", "seconds", "memory", "relieves", "title", "costs")
        rows = []
        for each in self.suggestions:
            found = each.to_dict()
            rows.append([", ".join(map(str, each.differs)), *(found[name] for name in names)])
        return pandas.DataFrame(rows, columns=["change", *names])

    def _nothing(self) -> str:
        if self.est.fits:
            return f"none of {self.tried} changes gains {WORTH:.1%}"
        return f"none of {self.tried} changes makes it fit"

    def _title(self) -> str:
        limiter = self.est.limiter
        first, second = (RESOURCES.get(name, name) for name in (limiter.name, limiter.runner_up))
        told = f"{first} ({limiter.share:.0%}), then {second}"
        fits = "" if self.est.fits else "; it does NOT fit: what makes it fit"
        return f"advice: {show(self.est.tree.seconds, 's')}, limited by {told} ({limiter.runner_up_share:.0%}){fits}"

    def __repr__(self) -> str:
        lines = [self._title()]
        if not self.suggestions:
            lines.append(f"  {self._nothing()}")
        for scope, words in SCOPES.items():
            if rows := [each.cells for each in self.of(scope)]:
                lines += ["", f"  {words}"]
                lines.append(f"    {'faster':>7}{'a dollar':>10}{'memory':>17}  {'relieves':<26}change")
                lines += [f"    {s:>7}{v:>10}{m:>17}  {r:<26}{c}" for s, v, m, r, c in rows]
        if any(each.value is None for each in self.suggestions):
            lines += ["", "  ?: no price is known"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        head = "".join(f"<th>{name}</th>" for name in ("faster", "a dollar", "memory", "relieves", "change"))
        parts = []
        for scope, words in SCOPES.items():
            rows = "".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in each.cells) + "</tr>"
                for each in self.of(scope)
            )
            if rows:
                parts.append(
                    f"<table><caption>{escape(words)}</caption><thead><tr>{head}</tr></thead>{rows}</table>"
                )
        return f"<div><p><b>{escape(self._title())}</b></p>{''.join(parts) or escape(self._nothing())}</div>"


def _alone(est: Any) -> Iterator[Suggestion]:
    """Every change of every remedy that breaks no rule."""
    seen: set[tuple[Changed, ...]] = set()
    for remedy in REMEDIES.values():
        if est.kind in remedy.kinds:
            for changes in remedy.propose(est):
                found = _predicted(est, (remedy,), changes)
                if found is not None and found.differs not in seen:
                    seen.add(found.differs)
                    yield found


def _predicted(est: Any, remedies: tuple[Remedy, ...], changes: Changes) -> Suggestion | None:
    """The estimate of changed inputs; None where a rule forbids them, or nothing differs."""
    try:
        inputs, differs = changed(Inputs.of(est), changes)
        after = inputs.estimate()
    except InputError:
        return None
    moved = tuple(each for each in differs if each.before != each.after)
    return Suggestion(est, remedies, changes, moved, inputs, after) if moved else None


Pair = tuple[Suggestion, tuple[Suggestion, Suggestion]]
"""Two changes at once, and each of them alone."""


def _in_pairs(est: Any, alone: list[Suggestion]) -> Iterator[Pair]:
    """The best changes of the best remedies two by two, as far as they can be joined."""
    nearby = [each for each in alone if each.scope != "machine"]
    for one, two in combinations(_promising(est, nearby), 2):
        if one.changes.keys() & two.changes.keys() or one.scope == two.scope == "model":
            continue
        found = _predicted(est, (*one.remedies, *two.remedies), one.changes | two.changes)
        if found is not None:
            yield found, (one, two)


def _promising(est: Any, alone: list[Suggestion]) -> list[Suggestion]:
    """Changes worth joining, one a remedy: the fastest that fit; where the estimate does not fit, lean ones, too."""
    rankings: list[Callable[[Suggestion], Any]] = [lambda each: (not each.after.fits, -each.speedup)]
    if not est.fits:
        rankings += [lambda each: each.memory, lambda each: -each.speedup]
    chosen: dict[str, Suggestion] = {}
    for ranking in rankings:
        best: dict[str, Suggestion] = {}
        for each in sorted(alone, key=ranking):
            best.setdefault(each.remedies[0].name, each)
        for name, each in [*best.items()][:PAIRED]:
            chosen.setdefault(name, each)
    return [*chosen.values()]


def _better(pair: Suggestion, parts: Iterable[Suggestion]) -> bool:
    """It fits, and is faster than whatever of its parts fits alone."""
    alone = [each.speedup for each in parts if each.after.fits]
    return bool(pair.after.fits) and pair.speedup > (1 + WORTH) * max(alone, default=0.0)
