"""An estimate as a function of some of its numbers: for a loop, an optimiser, a slider."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from perfmodel.errors import InputError
from perfmodel.exploration.answers import answers_for
from perfmodel.exploration.columns import results
from perfmodel.exploration.fields import Field, field_named
from perfmodel.exploration.machines import entered, enters
from perfmodel.exploration.questions import Question
from perfmodel.program import BranchError, Program

__all__ = ["as_function"]

FIX_DP = frozenset({"tp", "pp", "cp", "devices"})
"""Numbers from which dp follows anew, where it is none of the numbers itself."""


def as_function(est: Any, *names: str, columns: Collection[str] | None = None) -> Program:
    """An estimate as a function of some of its numbers, which takes a tenth of the time of an estimate.

    The formulas run once; what is left is a straight line of operations on floats or arrays, with the same results to
    the last bit. It says nothing about rules: numbers that no layout may have give numbers that mean nothing. To
    evaluate rows that may break rules, see `sweep`.

    Parameters
    ----------
    est : of training or of a batch of inference
    *names : of the numbers, as axes of a sweep are called: tp, micro_batch, global_batch, memory_bandwidth, peak,
        overlap__slowdown, …; where tp, pp or cp is among them and dp is not, dp follows
    columns : names of results, or of families of them (memory, terms, resources, hidden); None is all

    Returns
    -------
    a function of these numbers, by name; it gives results by name, and `.rows` takes long columns

    Raises
    ------
    UnknownNameError
        nothing is called so; near names are suggested
    InputError
        a name is none of a number, or the shape of the network follows from it, or the schedule is timed event by event

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
    ...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
    >>> step = as_function(est, "tp", "memory_bandwidth", columns=["step_time"])
    >>> step(tp=2, memory_bandwidth=3.35e12)["step_time"] == est.step_time
    True
    >>> step(tp=2, memory_bandwidth=6.7e12)["step_time"] < est.step_time
    True
    """
    fields = {name: _numeric(name, est) for name in names}
    free = FIX_DP & set(names) and "dp" not in names
    layout = est.layout.model_copy(update={"dp": None}) if free else est.layout
    question = Question(est.model, est.work, layout, est.cluster, est.efficiency, dict.fromkeys(names, 1.0))
    dtype = answers_for(type(est.work)).dtype(est.work)

    def calculation(**numbers: Any) -> Mapping[str, Any]:
        cluster = est.cluster
        for name, value in numbers.items():
            if fields[name].owner == "cluster":
                cluster = entered(cluster, name, value, dtype)
        found = results(question, numbers, cluster, columns)
        return {name: value for (what, name), value in found.items() if what == "result"}

    try:
        return Program.of(calculation, names)
    except BranchError as error:
        schedule = est.layout.pipeline_schedule
        raise InputError(f"schedule = {schedule!r} is timed event by event and is no function of {', '.join(names)}; "
                         "sweep takes it") from error  # fmt: skip


def _numeric(name: str, est: Any) -> Field:
    field = field_named(name, type(est.work))
    if not field.number:
        raise InputError(
            f"{name} is a structure, no number: an estimate is no function of it; sweep takes it"
        )
    if field.owner == "cluster" and not enters(est.cluster, name):
        raise InputError(
            f"{name} decides the shape of the network: an estimate is no function of it; sweep takes it"
        )
    return field
