"""What would make inference fit that does not: each change alone, found by predicting it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perfmodel.errors import PerfModelError
from perfmodel.estimation import Answer, InferenceEstimate, estimate
from perfmodel.workload.quantisation import Formats

__all__ = ["FittingChange", "fitting_changes"]

FEWER_BITS = ("fp8", "int8_wo", "int4_g128")
"""Formats of weights that are tried, in this order."""
WIDEST = 64
"""Largest tensor-parallel degree that is tried [-]."""


class FittingChange(NamedTuple):
    """A change with which a job fits.

    Parameters
    ----------
    change : new values, by the name of the field
    total : memory of one device, then [B]
    """

    change: dict[str, Any]
    total: float

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.change.items())


def fitting_changes(est: Any) -> list[FittingChange]:
    """Single changes with which a job fits: fewer sequences, a shorter prompt, more ranks, fewer bits.

    Parameters
    ----------
    est : of inference or serving, that does not fit

    Returns
    -------
    one entry for each kind of change that is enough by itself; none where it fits as it is

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-70b"), pm.Inference(batch=8, input_length=1024, output_length=64),
    ...                   pm.Parallel(), pm.Cluster.load("dgx-h100", devices=1))
    >>> for change in fitting_changes(est):
    ...     print(change)
    tp = 2, devices = 2
    weight_dtype = int4_g128
    """
    if est.fits:
        return []
    kinds = (_fewer_sequences, _shorter_prompt, _more_ranks, _fewer_bits, _smaller_cache)
    return [change for kind in kinds for change in kind(est)]


def _tried(est: Any, *, devices: int | None = None, layout: Any = None, **changes: Any) -> Answer | None:
    """The estimate of a changed job; None where its rules forbid it."""
    cluster = est.cluster if devices is None else est.cluster.replace(devices=devices)
    try:
        work = est.work.replace(**changes)
        found: Answer = estimate(est.model, work, layout or est.layout, cluster, efficiency=est.efficiency)
    except PerfModelError:
        return None
    return found


def _first(est: Any, choices: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Iterator[FittingChange]:
    """The first of some changes with which it fits."""
    for change in choices:
        told = {name: value for name, value in change.items() if name != "layout"}
        found: Any = _tried(est, **change)
        if found is not None and found.fits:
            tp = {"tp": change["layout"].tp} if "layout" in change else {}
            yield FittingChange(tp | told, found.memory.total)
            return


def _most(fits: Callable[[int], bool], below: int) -> int:
    """The largest number below a limit that fits, 0 where none does."""
    low, high = 0, below
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(est: Any, **changes: Any) -> bool:
    found: Any = _tried(est, **changes)
    return found is not None and bool(found.fits)


def _fewer_sequences(est: Any) -> Iterator[FittingChange]:
    if isinstance(est, InferenceEstimate):
        dp: Any = est.layout.dp
        most = _most(lambda each: _fits(est, batch=each * dp), est.work.batch // dp)
        yield from _first(est, [{"batch": most * dp}] if most else [])


def _shorter_prompt(est: Any) -> Iterator[FittingChange]:
    given = est.work.input_length
    if given:
        most = _most(lambda length: _fits(est, input_length=length), given)
        yield from _first(est, [{"input_length": most}] if most else [])


def _more_ranks(est: Any) -> Iterator[FittingChange]:
    """On the same devices as long as replicas can give theirs, then on more."""

    def wider() -> Iterator[dict[str, Any]]:
        tp, dp = est.layout.tp, est.layout.dp
        while tp < WIDEST:
            tp, dp = 2 * tp, max(dp // 2, 1)
            layout = est.layout.replace(tp=tp, dp=dp)
            yield {"layout": layout, "devices": tp * dp * layout.pp * layout.cp}

    yield from _first(est, wider())


def _fewer_bits(est: Any) -> Iterator[FittingChange]:
    held = est.work.formats.weight_bytes
    fewer = [name for name in FEWER_BITS if Formats.of(name, None, None).weight_bytes < held]
    yield from _first(est, [{"weight_dtype": name} for name in fewer])


def _smaller_cache(est: Any) -> Iterator[FittingChange]:
    if est.work.formats.kv_bytes > 1:
        yield from _first(est, [{"kv_dtype": "fp8"}])
