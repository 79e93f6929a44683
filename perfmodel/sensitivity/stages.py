"""What each stage of a pipeline does in a step, and how long it waits for the others."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.estimation.timed import Timed
from perfmodel.units import show
from perfmodel.work import Pipeline, Serial, Work

__all__ = ["StageTime", "stage_times"]


class StageTime(NamedTuple):
    """Stages that are alike.

    Parameters
    ----------
    name : first, middle or last; all of a model without a pipeline
    stages : how many [-]
    busy : all micro-batches, with messages that nothing hides [s]
    idle : until the slowest stage and the bubble are through [s]
    """

    name: str
    stages: Any
    busy: Any
    idle: Any

    def __str__(self) -> str:
        return f"{self.stages} x {self.name:<12} busy {show(self.busy, 's'):>10}, idle {show(self.idle, 's'):>10}"


def stage_times(est: Any) -> tuple[StageTime, ...]:
    """Busy and idle time of every kind of stage.

    Parameters
    ----------
    est : an estimate

    Returns
    -------
    none for an estimate without a pipeline, one for a pipeline of one stage

    Examples
    --------
    >>> import perfmodel as pm
    >>> est = pm.estimate(pm.Model.load("llama-3.1-70b"), pm.Training(global_batch=512, sequence_length=8192),
    ...                   pm.Parallel(tp=8, pp=4, vpp=5), pm.Cluster.load("dgx-h100", devices=512))
    >>> [(stage.name, stage.stages) for stage in stage_times(est)]
    [('first', 1), ('middle', 2), ('last', 1)]
    """
    tree = getattr(getattr(est, "costs", None), "tree", None)
    asked, timed = None if tree is None else _asked(tree), _timed(est.tree)
    if asked is None or timed is None:
        return ()
    steady, bubble = timed.parts
    entry, body, leave, sends = steady.parts[0].parts
    alone = [part.parts[0].seconds for part in (entry, body, leave)]
    whole = steady.seconds + bubble.seconds
    found = []
    for name, count, stage in _kinds(asked):
        busy = steady.times * (stage.of(*alone) + sends.seconds)
        found.append(StageTime(name, count, busy, whole - busy))
    return tuple(found)


def _kinds(pipeline: Pipeline) -> list[tuple[str, Any, Any]]:
    held, stages = pipeline.held, pipeline.stages
    if stages == 1:
        return [("all", 1, held.first)]
    middle = [("middle", stages - 2, held.middle)] if stages > 2 else []
    return [("first", 1, held.first), *middle, ("last", 1, held.last)]


def _asked(work: Work) -> Pipeline | None:
    """The pipeline in a tree of work."""
    if isinstance(work, Pipeline):
        return work
    parts = work.parts if isinstance(work, Serial) else ()
    return next((found for part in parts if (found := _asked(part)) is not None), None)


def _timed(node: Timed) -> Timed | None:
    """The pipeline in a timed tree: micro-batches, and the bubble."""
    if node.parts and node.parts[-1].kind == "bubble":
        return node
    return next((found for part in node.parts if (found := _timed(part)) is not None), None)
