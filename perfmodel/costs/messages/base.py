"""A message, and the job that sends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.workload import Precision

__all__ = ["Job", "Message", "Phase", "Strategy", "merged_messages"]

Phase = Literal["forward", "backward"]


class Message(NamedTuple):
    """Messages of one kind that a rank takes part in during one optimizer step.

    Parameters
    ----------
    phase : forward or backward
    kind : all_reduce, all_gather, reduce_scatter, all_to_all, broadcast or send
    axis : the ranks it runs over: shard, replicate, tp, cp, ep or pp
    count : messages [-]
    bytes : of all of them together: the buffer of an all-reduce, the gathered result of an all-gather, the whole input
        of a reduce-scatter, one rank's buffer of an all-to-all, what is sent [B]
    """

    phase: Phase
    kind: str
    axis: str
    count: Any
    bytes: Any


class Job(NamedTuple):
    """What a strategy is told.

    Parameters
    ----------
    model : what is trained
    p : one micro-batch as one device sees it
    formats : number formats
    micro_batches : passes of one optimizer step on a device [-]
    shards : ranks that share weights or gradients [-]
    replicas : groups of shards that hold the same (HSDP) [-]
    stages, chunks : pipeline degree, model chunks a stage holds [-]
    """

    model: Model
    p: Pass
    formats: Precision
    micro_batches: Any = 1
    shards: Any = 1
    replicas: Any = 1
    stages: Any = 1
    chunks: Any = 1


Strategy = Callable[[Job], Iterator[Message]]


def merged_messages(sent: Iterable[Message]) -> tuple[Message, ...]:
    """One entry for each phase, kind and axis.

    Parameters
    ----------
    sent : in any order

    Returns
    -------
    sums, in the order of first appearance

    Examples
    --------
    >>> merged_messages([Message("forward", "send", "pp", 1, 8), Message("forward", "send", "pp", 2, 16)])
    (Message(phase='forward', kind='send', axis='pp', count=3, bytes=24),)
    """
    found: dict[tuple[Phase, str, str], tuple[Any, Any]] = {}
    for message in sent:
        count, size = found.get(message[:3], (0, 0))
        found[message[:3]] = (count + message.count, size + message.bytes)
    return tuple(Message(*key, *sums) for key, sums in found.items())
