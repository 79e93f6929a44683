"""How layers are dealt to pipeline stages."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.ops import ceil, maximum, minimum, where

__all__ = ["Shares", "fullest", "shares"]


class Shares(NamedTuple):
    """Share of the model's layers that a stage holds.

    Parameters
    ----------
    first, middle, last : share of all layers on that stage [-]
    """

    first: Any
    middle: Any
    last: Any


def shares(depth: Any, stages: Any, chunks: Any) -> Shares:
    """Deal layers evenly to the chunks of all stages; the first and the last stage come up short if they must.

    Where the layers do not come out even, embedding and head take the place of a layer, as in Megatron-LM's
    `account-for-embedding-in-pipeline-split` and its loss twin; the last stage gives up its layer first. Where even two
    empty ends leave too few layers, some middle stages come up short as well, and `middle` is the fullest of them.

    Parameters
    ----------
    depth : layers of the model [-]
    stages : pipeline degree [-]
    chunks : model chunks a stage holds [-]

    Returns
    -------
    shares of the layers; all of them on each where there is one stage

    Examples
    --------
    >>> shares(126, 8, 8)
    Shares(first=0.11904761904761904, middle=0.12698412698412698, last=0.11904761904761904)
    >>> shares(80, 1, 1)
    Shares(first=1.0, middle=1.0, last=1.0)
    """
    most = ceil(depth / (stages * chunks)) * chunks
    missing = most * stages - depth
    last = most - minimum(ceil(missing / 2), most)
    first = most - minimum(maximum(missing - (most - last), 0), most)
    alone = stages <= 1
    return Shares(*(where(alone, 1.0, layers / depth) for layers in (first, most, last)))


def fullest(entry: Any, body: Any, leave: Any, share: Shares, stages: Any) -> Any:
    """The most that any stage has of something that is counted before, in and after the layers.

    Parameters
    ----------
    entry, body, leave : before the layers, in all of them, after them
    share : of the layers that each stage holds [-]
    stages : pipeline degree [-]

    Returns
    -------
    the largest sum of a stage
    """
    first, last = entry + share.first * body, share.last * body + leave
    middle = where(stages > 2, share.middle * body, 0.0)
    return where(stages > 1, maximum(maximum(first, last), middle), entry + body + leave)
