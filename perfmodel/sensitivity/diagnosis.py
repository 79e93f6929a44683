"""A measured time against its prediction: which kinds of work explain the gap, and what would have to be otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any

from perfmodel.errors import InputError, MissingExtraError
from perfmodel.sensitivity.gaps import Gap, gaps_of, measured_parts, predicted_parts
from perfmodel.sensitivity.hypotheses import KNOBS, Hypothesis, held_against, sized, switched
from perfmodel.sensitivity.outcomes import TIME, band_of, single
from perfmodel.sensitivity.profiles import IDLE, Profile, read_trace
from perfmodel.units import parse, show

if TYPE_CHECKING:
    import pandas

__all__ = ["Diagnosis", "diagnose"]

WORTH = 0.05
"""Share of the gap that a hypothesis has to close to be told [-]."""


def diagnose(
    est: Any,
    measured: float | str | None = None,
    *,
    trace: str | PathLike[str] | None = None,
    by_kind: Mapping[str, float | str] | None = None,
    level: float = 0.8,
) -> Diagnosis:
    """Hold a measurement against its prediction, and say what explains the gap.

    Parameters
    ----------
    est : the prediction
    measured : step time, or latency of a batch; None is that of the trace [s]
    trace : path of a Chrome trace that torch.profiler exported, of one rank and a few steps
    by_kind : measured seconds of a step by kind of work, in place of a trace: terms of the estimate (matmul, attention,
        memory-bound, tp, …), or kinds that a trace tells apart (all_reduce, all_gather, …, idle); messages as far as
        they are exposed [s]
    level : share of comparable runs that the error band is to hold, between 0 and 1 [-]

    Returns
    -------
    the gap by kind, and hypotheses with their predictions

    Raises
    ------
    InputError
        nothing was measured, a time is none, a kind is unknown, or the trace can't be read

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100"))
    >>> found = diagnose(est, 1.1 * est.step_time, by_kind={"matmul": 1.15 * est.terms["matmul"], "idle": "0.1 s"})
    >>> found.inside, found.gaps[0].kind, found.gaps[0].inside
    (True, 'matmul', True)
    >>> print(found.hypotheses[0].cause)
    matrix products run at 0.87x their rate
    """
    single(est)
    profile = None if trace is None else read_trace(trace)
    parts = measured_parts(by_kind, est) or (dict(profile.by_kind) if profile else {})
    if measured is None:
        if profile is None:
            raise InputError('nothing is measured: diagnose(est, measured=1.2), or trace="trace.json"')
        measured = profile.seconds
    total = _positive(measured, "measured")
    band = band_of(est, level)
    gaps = tuple(gaps_of(est, parts, total, band))
    return Diagnosis(est, total, band, level, gaps, tuple(_hypotheses(est, total, gaps)), profile)


def _positive(value: float | str, name: str) -> float:
    seconds = parse(value, "s", name=name)
    if not seconds > 0:
        raise InputError(f"{name} = {value!r} must be a time above 0 s")
    return seconds


def _whole(est: Any) -> float:
    return float(est.tree.seconds)


def _part(kind: str) -> Callable[[Any], float]:
    """Seconds of one kind of an estimate."""
    return lambda est: predicted_parts(est).get(kind, float(est.terms.get(kind, 0.0)))


def _hypotheses(est: Any, total: float, gaps: tuple[Gap, ...]) -> Iterator[Hypothesis]:
    """What closes the gap: constants that fit what was measured of their own kind, else the whole; then switches."""
    known = {gap.kind: gap for gap in gaps if gap.measured is not None}
    found = []
    for name, knob in KNOBS.items():
        own = next((known[kind] for kind in knob.kinds if kind in known), None)
        if own is not None and own.measured is not None:
            part = sized(est, name, _part(own.kind), own.measured)
            if part is not None:  # what fits its own kind is judged by the whole
                found.append(
                    held_against(est, _whole, total, part.cause, part.changes, kind=own.kind, size=part.size)
                )
        elif not known:
            found.append(sized(est, name, _whole, total))
    found += [held_against(est, _whole, total, cause, changes) for cause, changes in switched(est)]
    idle = known[IDLE].delta if IDLE in known else total - _whole(est)
    for cause, changes, size in _outside(est, idle or 0.0):
        found.append(held_against(est, _whole, total, cause, changes, kind=IDLE, size=size))
    told = [each for each in found if each is not None and each.explains > WORTH]
    # with kinds measured, what closes most; without, all sized ones close it whole: the smallest change comes first
    yield from sorted(told, key=lambda each: (-round(each.explains, 2), abs(each.size - 1)))


def _outside(est: Any, idle: float) -> Iterator[tuple[str, dict[str, Any], float]]:
    """What happens once a step beside the model, and samples that come too late: cause, changes, size."""
    if est.kind == "training" and idle > 0:
        now = float(est.efficiency.host.step)
        told = show(now + idle, "s", 3)
        yield (
            f"the host takes {told} a step for itself: data, logging, checkpoints",
            {"host.step": now + idle},
            (now + idle) / max(now, 1e-3),
        )
        rate = est.work.global_batch / (_whole(est) + idle)
        yield f"samples come at {rate:.4g} a second", {"data_rate": rate}, math.inf


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """A measured time, its prediction, and what explains the difference."""

    est: Any
    """The prediction."""
    measured: float
    """Step time, or latency, as measured [s]."""
    band: tuple[float, float] | None
    """Where comparable runs lie; None where no errors are known [s]."""
    level: float
    """Share of them that the band holds [-]."""
    gaps: tuple[Gap, ...]
    """By kind of work, the largest difference first."""
    hypotheses: tuple[Hypothesis, ...]
    """What would have to be otherwise, each with its prediction; what closes most of the gap first."""
    profile: Profile | None = None
    """What the trace told."""

    @property
    def predicted(self) -> float:
        """Step time, or latency, as predicted [s]."""
        return float(self.est.tree.seconds)

    @property
    def gap(self) -> float:
        """Measured less predicted [s]."""
        return self.measured - self.predicted

    @property
    def inside(self) -> bool | None:
        """The measurement lies within the error band; None where no errors are known."""
        return None if self.band is None else self.band[0] <= self.measured <= self.band[1]

    @property
    def explaining(self) -> tuple[Gap, ...]:
        """Kinds whose measured time lies outside the band of their prediction: they explain the gap."""
        return tuple(gap for gap in self.gaps if gap.inside is False)

    @property
    def unexplained(self) -> float | None:
        """Seconds of the gap that no measured kind accounts for; None without measurements by kind [s]."""
        deltas = [gap.delta for gap in self.gaps if gap.delta is not None]
        return self.gap - sum(deltas) if deltas else None

    @property
    def why(self) -> str:
        """The verdict in plain sentences."""
        return " ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        relative = self.measured / self.predicted - 1
        yield (
            f"{TIME[self.est.kind].capitalize()} was measured as {show(self.measured, 's')} and predicted as "
            f"{show(self.predicted, 's')}: {abs(relative):.1%} {'slower' if relative > 0 else 'faster'}."
        )
        if self.band is not None:
            low, high = (show(bound, "s", 3) for bound in self.band)
            verdict = "inside" if self.inside else "OUTSIDE"
            yield f"That is {verdict} the band in which {self.level:.0%} of comparable runs lie, {low} to {high}."
        if self.explaining:
            told = ", ".join(
                f"{gap.words} ({show(abs(gap.delta or 0), 's', 3)} {'more' if (gap.delta or 0) > 0 else 'less'})"
                for gap in self.explaining[:3]
            )
            yield f"Beyond their own band: {told}."
        if self.hypotheses:
            best = self.hypotheses[0]
            yield f"If {best.cause}, it would be {show(best.seconds, 's')}: {best.explains:.0%} of the gap."

    def to_dict(self) -> dict[str, Any]:
        """Everything in SI units, ready for JSON."""
        return {
            "measured": self.measured,
            "predicted": self.predicted,
            "band": None if self.band is None else list(self.band),
            "inside": self.inside,
            "why": self.why,
            "gaps": [gap._asdict() | {"delta": gap.delta} for gap in self.gaps],
            "unexplained": self.unexplained,
            "hypotheses": [
                {"cause": each.cause, "kind": each.kind, "seconds": each.seconds, "explains": each.explains}
                for each in self.hypotheses
            ],
        }

    def to_frame(self) -> pandas.DataFrame:
        """A row a kind of work: kind, predicted, measured, delta [s], share of the gap, inside its band.

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frame") from None
        rows = [
            (gap.kind, gap.predicted, gap.measured, gap.delta, gap.share, gap.inside) for gap in self.gaps
        ]
        return pandas.DataFrame(rows, columns=["kind", "predicted", "measured", "delta", "share", "inside"])

    def _cells(self) -> Iterator[tuple[str, str, str, str, str]]:
        for gap in self.gaps:
            if gap.measured is None or gap.delta is None:
                yield gap.words, show(gap.predicted, "s"), "", "", ""
            else:
                sign = "-" if gap.delta < 0 else "+"
                beyond = {True: "inside", False: "OUTSIDE", None: ""}[gap.inside]
                yield (gap.words, show(gap.predicted, "s"), show(gap.measured, "s"),
                       f"{sign}{show(abs(gap.delta), 's')}", beyond)  # fmt: skip

    def __repr__(self) -> str:
        lines = [self.why, "", f"  {'':<50}{'predicted':>11}{'measured':>11}{'gap':>12}{'band':>9}"]
        for name, *cells in self._cells():
            widths = (11, 11, 12, 9)
            lines.append(f"  {name:<50}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
        if self.hypotheses:
            lines += ["", "  what would have to be otherwise, each predicted again"]
            lines += [f"    {each}" for each in self.hypotheses[:8]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("", "predicted", "measured", "gap", "band"))
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        told = "".join(f"<li>{escape(str(each))}</li>" for each in self.hypotheses[:8])
        return f"<div><p>{escape(self.why)}</p><table><thead><tr>{head}</tr></thead>{rows}</table><ul>{told}</ul></div>"
