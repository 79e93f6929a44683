"""What the figures show, as columns: ready for pandas, polars or a figure of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, Literal

from perfmodel.errors import InputError, unknown
from perfmodel.estimation import TrainingEstimate
from perfmodel.estimation.machine import machine
from perfmodel.estimation.timing import Clock, Timed
from perfmodel.formulas.roofline import arithmetic_intensity
from perfmodel.plot.canvas import KIND_COLOURS, TERM_COLOURS
from perfmodel.work import Attention, Matmul, flops, leaves, memory_bytes

__all__ = [
    "Columns",
    "Estimates",
    "breakdown_columns",
    "memory_columns",
    "parts_of",
    "roofline_points",
    "single",
]

Estimates = TrainingEstimate | Mapping[str, TrainingEstimate]
Columns = dict[str, list[Any]]
BESIDES = {"name", "total", "mfu", "fits", "capacity", "stage"}
"""Columns that are no part of a bar."""


def roofline_points(est: TrainingEstimate) -> Columns:
    """Every matrix product and attention kernel of a step, as a point under the roofline.

    Parameters
    ----------
    est : the estimate

    Returns
    -------
    columns name, kind (matmul or attention), dtype, intensity [FLOP/B], flops_per_second [FLOP/s], seconds (of the
    step) [s], share (of the step) [-]; the largest share first

    Notes
    -----
    Norms, activations, the optimizer and other streams count no FLOPs, and so have no place on these axes. Times are
    those of the slowest pipeline stage.

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
    >>> set(roofline_points(est)["kind"][:3]) <= {"matmul", "attention"}
    True
    """
    spent = _spent(single(est).tree)
    rows = []
    for leaf, timed in _timed_leaves(est):
        seconds = spent.pop((timed.name, timed.kind, timed.seconds), 0.0)
        if seconds > 0:
            rows.append((
                leaf.name, timed.kind, leaf.dtype,
                float(arithmetic_intensity(flops=flops(leaf), memory_bytes=memory_bytes(leaf))),
                float(flops(leaf) / timed.seconds), float(seconds), float(seconds / est.step_time),
            ))  # fmt: skip
    rows.sort(key=lambda row: -row[-1])
    names = ("name", "kind", "dtype", "intensity", "flops_per_second", "seconds", "share")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def breakdown_columns(estimates: Estimates, *, per: Literal["step", "token"] = "step") -> Columns:
    """Step time by term, one row an estimate.

    Parameters
    ----------
    estimates : one, or several by name
    per : "step": time of one step; "token": the same times the devices over the step's tokens, what one token takes
        of one device's time

    Returns
    -------
    columns name, one a term that any of them has [s], total [s], mfu [-], fits
    """
    named = _named(estimates)
    if per not in ("step", "token"):
        raise unknown("per", per, ("step", "token"))
    factors = [est.cluster.devices / est.costs.tokens if per == "token" else 1.0 for est in named.values()]
    parts = [{term: float(value * factor) for term, value in est.terms.items()}
             for est, factor in zip(named.values(), factors, strict=True)]  # fmt: skip
    return {
        "name": list(named),
        **_stacked(parts, TERM_COLOURS),
        "total": [float(est.step_time * factor) for est, factor in zip(named.values(), factors, strict=True)],
        "mfu": [float(est.mfu) for est in named.values()],
        "fits": [bool(est.fits) for est in named.values()],
    }


def memory_columns(estimates: Estimates) -> Columns:
    """Memory of one device on the fullest pipeline stage by kind, one row an estimate.

    Parameters
    ----------
    estimates : one, or several by name

    Returns
    -------
    columns name, one a kind of memory that any of them has [B], total [B], capacity [B], fits, stage
    """
    named = _named(estimates)
    memories = [est.memory for est in named.values()]
    return {
        "name": list(named),
        **_stacked(
            [{kind: float(size) for kind, size in one.by_kind.items()} for one in memories], KIND_COLOURS
        ),
        "total": [float(one.total) for one in memories],
        "capacity": [float(one.capacity) for one in memories],
        "fits": [bool(est.fits) for est in named.values()],
        "stage": [str(one.stage) for one in memories],
    }


def parts_of(columns: Columns) -> Columns:
    """The terms or kinds among the columns: what is stacked.

    Parameters
    ----------
    columns : of a breakdown, or of memory
    """
    return {name: column for name, column in columns.items() if name not in BESIDES}


def single(est: TrainingEstimate) -> TrainingEstimate:
    """The estimate itself, if it is one of a single configuration.

    Parameters
    ----------
    est : to be checked

    Raises
    ------
    InputError
        it is something else, or holds arrays or symbols
    """
    if not isinstance(est, TrainingEstimate):
        raise InputError(
            f"a figure is drawn of an estimate, not of {type(est).__name__}: pm.estimate(…) makes one"
        )
    if not isinstance(est.step_time, Real):
        raise InputError("a figure is drawn of one configuration; this estimate holds an array or symbols")
    return est


def _named(estimates: Estimates) -> dict[str, TrainingEstimate]:
    if not isinstance(estimates, Mapping):
        return {single(estimates).model.name: estimates}
    if not estimates:
        raise InputError("a figure needs at least one estimate: {'H100': est_a, 'B200': est_b}")
    return {str(name): single(est) for name, est in estimates.items()}


def _stacked(parts: list[dict[str, float]], order: Iterable[str]) -> Columns:
    """Parts that any row has, known ones first; a row without one has 0 of it."""
    found = dict.fromkeys([*order, *(key for row in parts for key in row)])
    return {key: [row.get(key, 0.0) for row in parts] for key in found if any(row.get(key) for row in parts)}


def _spent(node: Timed, times: Any = 1.0) -> dict[tuple[str, str, Any], Any]:
    """Seconds of the step by operator: its name, kind and time of one run."""
    if not node.parts:
        return {(node.name, node.kind, node.seconds): times * node.seconds}
    found: dict[tuple[str, str, Any], Any] = {}
    for part in node.parts:
        for key, seconds in _spent(part, times * node.times).items():
            found[key] = found.get(key, 0.0) + seconds
    return found


def _timed_leaves(est: TrainingEstimate) -> Iterator[tuple[Matmul | Attention, Timed]]:
    products = [leaf for leaf in leaves(est.costs.tree) if isinstance(leaf, Matmul | Attention)]
    dtypes = tuple({leaf.dtype for leaf in products})
    clock = Clock(machine(est.cluster, est.efficiency, dtypes), est.costs.groups)
    return ((leaf, clock.time(leaf)) for leaf in products)
