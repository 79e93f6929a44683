"""Why a measured time is not as predicted: what may differ, sized so that it would explain it, and predicted again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perfmodel.efficiency.fits import FRACTIONS
from perfmodel.errors import InputError
from perfmodel.sensitivity.changes import changed
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.remedies import Changes
from perfmodel.units import show

__all__ = ["KNOBS", "Hypothesis", "Knob", "held_against", "sized", "switched"]

WIDEST = 8.0
"""Factor beyond which a single cause is not believed [-]."""
HALVINGS = 40
"""Steps of the search for a factor [-]."""
CLOSE = 1e-6
"""Of a factor: as near as it is searched for [-]."""

Seconds = Callable[[Any], float]
"""What is to be explained of an estimate: its whole time, or a part of it [s]."""


class Hypothesis(NamedTuple):
    """Something that may differ from what was assumed.

    Parameters
    ----------
    cause : what differs, in words
    kind : of work that it concerns; empty is several
    changes : the assumption that would have to be changed, as `pm.what_if` takes it
    after : the estimate then
    seconds : its time [s]
    explains : share of the gap between prediction and measurement that it closes; below 0 it widens it [-]
    size : how large the change is, as a factor; 1 is a switch [-]
    """

    cause: str
    kind: str
    changes: Changes
    after: Any
    seconds: float
    explains: float
    size: float

    def __str__(self) -> str:
        return f"{self.cause}: would give {show(self.seconds, 's')}, {self.explains:.0%} of the gap"


class Knob(NamedTuple):
    """A constant that may be off.

    Parameters
    ----------
    words : what differs, with a place for the factor on its `rate` or on its `time`
    kinds : of work that it sets
    changes : from an estimate and a factor on the time of this work to the changed constants
    """

    words: str
    kinds: tuple[str, ...]
    changes: Callable[[Any, float], Changes]


def _rates(*paths: str) -> Callable[[Any, float], Changes]:
    """Rates that are so many times lower."""
    return lambda est, factor: dict.fromkeys(paths, f"{1 / factor!r}x")


def _messages(tiers: tuple[str, ...], names: tuple[str, ...] = FRACTIONS) -> Callable[[Any, float], Changes]:
    """Fractions of a link that are so many times lower, on the tiers that a cluster has."""

    def changes(est: Any, factor: float) -> Changes:
        here = {"fabric" if tier.name == "spine" else tier.name for tier in est.cluster.tiers}
        fits = {tier: est.efficiency.collective_for(tier) for tier in tiers if tier in here}
        return {
            f"collective.{tier}.{name}": getattr(fit, name) / factor
            for tier, fit in fits.items()
            for name in names
            if getattr(fit, name) is not None
        }

    return changes


INSIDE, OUTSIDE, EVERYWHERE = ("scale_up", "node"), ("fabric",), ("scale_up", "node", "fabric")

KNOBS: dict[str, Knob] = {
    "matmul": Knob("matrix products run at {rate} their rate", ("matmul",), _rates("matmul.compute")),
    "attention": Knob(
        "attention kernels run at {rate} their rate", ("attention",), _rates("efficiency.attention.compute")
    ),
    "pointwise": Knob(
        "norms, activations and their like move {time} the bytes in {time} the kernels", ("memory-bound",),
        lambda est, factor: {"stream.passes": f"{factor!r}x"},
    ),
    "bandwidth": Knob("the memory has {rate} its bandwidth", (), _rates("memory_bandwidth")),
    "clock": Knob(
        "another clock: products and attention run at {rate} their rate", (),
        _rates("matmul.compute", "efficiency.attention.compute"),
    ),
    "inside": Knob("messages inside a node reach {rate} of the link", (), _messages(INSIDE)),
    "between": Knob("messages between nodes reach {rate} of the link", (), _messages(OUTSIDE)),
    "all_reduce": Knob(
        "all-reduces reach {rate} of the link", ("all_reduce",),
        _messages(EVERYWHERE, ("all_reduce", "in_network", "tree")),
    ),
    "all_gather": Knob(
        "all-gathers and reduce-scatters reach {rate} of the link", ("all_gather", "reduce_scatter"),
        _messages(EVERYWHERE, ("all_gather",)),
    ),
    "all_to_all": Knob(
        "exchanges among experts reach {rate} of the link", ("all_to_all",),
        _messages(EVERYWHERE, ("all_to_all", "dispatch")),
    ),
    "send": Knob("sends between stages reach {rate} of the link", ("send",), _messages(EVERYWHERE, ("send",))),
    "launch": Knob(
        "the host takes {time} as long to launch a kernel", ("idle",),
        lambda est, factor: {"host.launch": f"{factor!r}x"},
    ),
    "copies": Knob(
        "copies to and from the host reach {rate} of the link", ("offload",), _rates("efficiency.offload.host_link")
    ),
}  # fmt: skip
"""Constants that may be off, by name."""


def held_against(
    est: Any,
    seconds: Seconds,
    measured: float,
    cause: str,
    changes: Changes,
    *,
    kind: str = "",
    size: float = 1.0,
) -> Hypothesis | None:
    """A hypothesis: the estimate with changed assumptions, held against what was measured.

    Parameters
    ----------
    est : as it was predicted
    seconds : of an estimate, what is compared
    measured : the same as measured [s]
    cause, changes : what differs
    kind, size : of the hypothesis

    Returns
    -------
    the hypothesis; None where a rule forbids the changes
    """
    try:
        after = changed(Inputs.of(est), changes)[0].estimate()
    except InputError:
        return None
    gap, left = abs(measured - seconds(est)), abs(measured - seconds(after))
    explained = 1 - left / gap if gap else 0.0
    return Hypothesis(cause, kind, changes, after, float(seconds(after)), float(explained), size)


def sized(est: Any, name: str, seconds: Seconds, measured: float) -> Hypothesis | None:
    """What a constant would have to be for the prediction to be what was measured.

    Parameters
    ----------
    est : as it was predicted
    name : of the knob
    seconds : of an estimate, what is to be met
    measured : what it is to be [s]

    Returns
    -------
    the hypothesis; None where no factor up to eight, either way, would do
    """
    knob = KNOBS[name]

    def tried(power: float) -> float | None:
        changes = knob.changes(est, math.exp(power))
        try:
            return float(seconds(changed(Inputs.of(est), changes)[0].estimate())) if changes else None
        except InputError:
            return None

    power = _searched(tried, measured, slower=measured > seconds(est))
    if power is None:
        return None
    factor = math.exp(power)
    told = knob.words.format(rate=f"{1 / factor:.2f}x", time=f"{factor:.2f}x")
    kind = knob.kinds[0] if knob.kinds else ""
    return held_against(est, seconds, measured, told, knob.changes(est, factor), kind=kind, size=factor)


def _searched(tried: Callable[[float], float | None], measured: float, *, slower: bool) -> float | None:
    """The power of e at which a time is met, by halving; as far as rules allow; None where that is nowhere near."""
    inner, outer = 0.0, math.log(WIDEST) if slower else -math.log(WIDEST)
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        found = tried(middle)
        if found is None or (found >= measured) == slower:
            outer = middle
        else:
            inner = middle
        if abs(outer - inner) < CLOSE:
            break
    nowhere = abs(inner) < CLOSE or math.log(WIDEST) - abs(inner) < 2 * CLOSE
    return None if nowhere else inner


def switched(est: Any) -> Iterator[tuple[str, Changes]]:
    """Assumptions that are either so or not.

    Parameters
    ----------
    est : as it was predicted

    Yields
    ------
    what differs, and the changes
    """
    now, work = est.layout.overlap, est.work
    for axis in now:
        kept = tuple(each for each in now if each != axis)
        yield f"no message of {axis} is hidden", {"overlap": kept}
    if len(now) > 1:
        yield "no message is hidden at all", {"overlap": ()}
    if est.layout.tensor_overlap != "none":
        yield "no tensor-parallel message is hidden", {
            "tp_overlap": "none", "overlap": tuple(each for each in now if each != "tp"),
        }  # fmt: skip
    elif est.layout.tp > 1:
        yield "tensor-parallel messages are hidden", {"tp_overlap": "userbuffers"}
    if est.kind == "training":
        if work.fused_optimizer:
            yield "the optimizer is not fused", {"fused_optimizer": False}
        if work.kernels == "fused":
            yield "pointwise kernels are not fused", {"kernels": "eager"}
        if work.attention == "flash":
            yield "attention is not fused", {"attention": "unfused"}
        if work.recompute == "none":
            yield "all activations are recomputed", {"recompute": "full"}
        else:
            yield "nothing is recomputed", {"recompute": "none"}
    elif work.graphs is not False:
        yield "steps of decode are not captured in graphs", {"graphs": False}
