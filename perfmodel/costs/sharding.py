"""Messages of data parallelism: sharded weights gathered, gradients reduced, by layer and at the end of the step."""

from __future__ import annotations

from typing import Any

from perfmodel.parallel import Parallel
from perfmodel.work import Collective, Overlap, Serial, Work
from perfmodel.workload import Precision

__all__ = ["beside", "joined", "with_sharding"]


def beside(layout: Parallel, name: str, messages: Work, behind: Work, axis: str = "dp") -> Work:
    """Messages that run beside other work, where the layout lets those of the axis."""
    return Overlap(name, messages, behind) if axis in layout.overlap else messages


def with_sharding(
    work: Serial, parameters: Any, layout: Parallel, formats: Precision, *, reduce: bool = False
) -> Work:
    """Work of some layers with the messages of their sharded weights beside it (ZeRO-3, FSDP).

    Parameters
    ----------
    work : forward or backward of the layers
    parameters : of these layers on one tensor-parallel rank [-]
    layout, formats : who shares what, in which format
    reduce : gradients come out of this work

    Returns
    -------
    the work, with messages where there are any
    """
    messages: list[Work] = []
    if layout.sharding == "zero3":
        payload = parameters * formats.weight_bytes
        messages.append(Collective("gather weights", "all_gather", payload, "data"))
    if reduce and layout.sharding in ("zero2", "zero3"):
        payload = parameters * formats.reduce_bytes
        messages.append(Collective("scatter gradients", "reduce_scatter", payload, "data"))
    if not messages:
        return work
    hidden = beside(layout, "data messages", Serial("data", tuple(messages)), work)
    return Serial(work.name + " sharded", (work, hidden))


def joined(
    parameters: Any, layout: Parallel, formats: Precision, *, forward: Work, backward: Work
) -> tuple[Work, ...]:
    """Once a step: gradients joined over the data-parallel ranks, and sharded weights handed back.

    Parameters
    ----------
    parameters : of the fullest stage on one tensor-parallel rank [-]
    layout, formats : who shares what, in which format
    forward, backward : one micro-batch through a stage, which the messages may hide behind

    Returns
    -------
    the messages
    """
    reduced, held = parameters * formats.reduce_bytes, parameters * formats.weight_bytes
    gather = beside(layout, "dp weights", Collective("gather weights", "all_gather", held, "data"), forward)
    match layout.sharding:
        case "none":
            join = Collective("join gradients", "all_reduce", reduced, "data")
            return (beside(layout, "dp gradients", join, backward),)
        case "zero1":
            join = Collective("join gradients", "reduce_scatter", reduced, "data")
            return (beside(layout, "dp gradients", join, backward), gather)
        case "zero2":
            return (gather,)
        case _:
            return ()
