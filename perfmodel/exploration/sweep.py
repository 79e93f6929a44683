"""Any field of a question as a list of values: every combination, or every row of a table, answered at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.errors import InputError, unknown
from perfmodel.exploration.answers import answers_for
from perfmodel.exploration.assembled import Columns
from perfmodel.exploration.axes import Axis, named, varies
from perfmodel.exploration.fields import field_named
from perfmodel.exploration.plan import CHUNK, Plan
from perfmodel.exploration.result import Sweep
from perfmodel.exploration.running import Executor, Progress, Run, answered
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel

if TYPE_CHECKING:
    import pandas

__all__ = ["sweep"]

CHUNK_AWAY = 4 * CHUNK
"""Rows of a chunk that is sent: work enough for what a scheduler takes for a task, some 40 ms in Dask [-]."""
ONE_BY_ONE = 64
"""Rows of a chunk where each takes an estimate of its own [-]."""


def sweep(
    model: Model | Sequence[Model | str],
    work: Any,
    cluster: Cluster | Sequence[Cluster | str],
    layout: Parallel | None = None,
    *,
    rows: pandas.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    software: Any = None,
    efficiency: Any = None,
    columns: Collection[str] | None = None,
    executor: Executor | None = None,
    retries: int = 2,
    progress: Progress = None,
    cancel: Callable[[], bool] | None = None,
    chunk: int | None = None,
    **axes: Any,
) -> Sweep:
    """Estimate many configurations: any field may be a list, a range or an array of values.

    Numbers become columns of one pass, structure (a schedule, a precision, a device) is gone through one by one. A row
    equals the single estimate of the same inputs to the last bit. A row that cannot be is no error: it is not feasible,
    its reason says why, and its results are nan.

    Parameters
    ----------
    model, work, cluster : as in `estimate`; model and cluster may be lists
    layout : what all rows share of it; None is `Parallel()`
    rows : a table of configurations (data frame, mapping of columns, or list of mappings) instead of a grid, or as its
        first dimension
    software, efficiency : as in `estimate`, or lists
    columns : names of results (step_time, …) or of families of them (memory, terms, resources, hidden) that are wanted;
        None is all. Fewer take less time and memory
    executor : who answers: any `concurrent.futures`-style executor; None is this process
    retries : how often a chunk that failed elsewhere is tried again [-]
    progress : False is silent, True shows a bar, None does so after a second; a function is told rows done and all
    cancel : asked between chunks, and true ends the sweep, as a keyboard interrupt does: what is answered stays
    chunk : rows evaluated at once; None suits the processor's cache, and elsewhere the way there [-]
    axes : fields of workload and layout, numbers of the machine (devices, memory_bandwidth, memory_capacity, peak,
        scale_up__bandwidth, fabric__bandwidth, …; "1.5x" and "4.8 TB/s" are understood), constants of the efficiency by
        path (overlap__slowdown), device; each a list of values, or one value for all rows

    Returns
    -------
    columns of inputs and results, of one dimension for each list

    Raises
    ------
    UnknownNameError
        nothing is called like an axis, or like one of its values; near names are suggested
    InputError
        nothing varies, or columns of a table differ in length

    Examples
    --------
    >>> import perfmodel as pm
    >>> found = sweep(pm.Model.load("llama-3.1-70b"), pm.Training(global_batch=512, sequence_length=8192),
    ...               pm.Cluster.load("dgx-h100", devices=512), tp=[2, 4, 8], pp=[1, 2, 4, 8], sequence_parallel=True)
    >>> found.shape, len(found.feasible)
    ((3, 4, 1), 6)
    >>> best = found.best("step_time")
    >>> best["tp"], best["pp"], best["limiter"]
    (4, 4, 'compute')
    """
    given = {"model": model, "cluster": cluster}
    others = {"software": software, "efficiency": efficiency, **axes}
    given |= {name: value for name, value in others.items() if value is not None}
    plan = _planned(given, rows, work, Parallel() if layout is None else layout)
    run = Run(_checked(columns, plan), executor, retries, progress, cancel)
    table, total, partial = Columns(plan, run.columns), int(np.prod(plan.shape)), False
    done = 0
    try:
        for part, block in answered(plan.chunks(chunk or _rows_at_once(work, executor)), run, total):
            table.add(part, block)
            done += part.rows
    except KeyboardInterrupt:
        partial = True
    frame = rows if hasattr(rows, "iloc") else None
    return Sweep(plan, table, partial=partial or done < total, frame=frame)


def _rows_at_once(work: Any, executor: Executor | None) -> int:
    if not answers_for(type(work)).columns:
        return ONE_BY_ONE
    return CHUNK if executor is None else CHUNK_AWAY


def _planned(given: dict[str, Any], rows: Any, work: Any, layout: Parallel) -> Plan:
    """Axes out of lists, one dimension each; whatever is no list is set for all rows."""
    kind = type(work)
    answers_for(kind)
    found = _table(rows, kind)
    dimension = 1 if found else 0
    fixed: dict[str, Any] = {}
    for name, value in given.items():
        if not varies(value) or (name == "model" and isinstance(value, Model)):
            fixed[name] = value
            continue
        found.append(Axis(field_named(name, kind), dimension, _listed(name, value)))
        dimension += 1
    whole = {
        name: named(name, fixed.pop(name, None)) for name in ("model", "cluster", "software", "efficiency")
    }
    once = [Axis(field_named(name, kind), dimension, [value]) for name, value in fixed.items()]
    if not found and not once:
        raise InputError("nothing varies: give a field a list of values, such as tp=[1, 2, 4, 8], or rows=…")
    twice = {axis.name for axis in found if sum(axis.name == other.name for other in (*found, *once)) > 1}
    if twice:
        raise InputError(f"{', '.join(sorted(twice))} is given twice, as a column of rows and as an axis")
    plan = Plan(axes=(*found, *once), work=work, layout=layout, **whole)
    plan.check_names()
    return plan


def _listed(name: str, value: Any) -> Any:
    listed = np.asarray(value) if hasattr(value, "to_numpy") else value
    if not isinstance(listed, np.ndarray):
        listed = list(listed)
    if len(listed) == 0:
        raise InputError(f"{name} is an empty list: there is nothing to sweep")
    if isinstance(listed, np.ndarray) and listed.ndim != 1:
        raise InputError(f"{name} has {listed.ndim} dimensions; an axis has one")
    return listed


def _table(rows: Any, kind: type) -> list[Axis]:
    """Columns of a table of rows, all along the first dimension."""
    if rows is None:
        return []
    if isinstance(rows, Sequence):
        names = dict.fromkeys(name for row in rows for name in row)
        lacking = [name for name in names if any(name not in row for row in rows)]
        if lacking:
            raise InputError(f"some of the rows lack {', '.join(lacking)}; every row states the same fields")
        rows = {name: [row[name] for row in rows] for name in names}
    columns = {str(name): _listed(str(name), rows[name]) for name in rows}
    if len({len(column) for column in columns.values()}) > 1:
        told = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise InputError(f"columns of a table are equally long, these are not: {told}")
    if not columns:
        raise InputError("rows has no columns: name fields, such as tp and pp")
    return [Axis(field_named(name, kind), 0, column) for name, column in columns.items()]


def _checked(columns: Collection[str] | None, plan: Plan) -> Collection[str] | None:
    """Names of results that there are."""
    if columns is None:
        return None
    answers = answers_for(type(plan.work))
    known = {*answers.metrics, *answers.families, "dp", "limiter"}
    for name in columns:
        if name.partition(".")[0] not in known:
            raise unknown("column", name, known)
    return frozenset(columns)
