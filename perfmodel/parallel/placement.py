"""Where the ranks of each parallel axis lie among the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from perfmodel.parallel.layout import Parallel

__all__ = ["AXES", "Group", "groups"]

AXES = ("tp", "cp", "dp", "pp")
"""Order of placement, innermost first: tensor ranks are neighbours, pipeline stages lie farthest apart (Megatron)."""


class Group(NamedTuple):
    """The ranks of one axis: how many, and how far apart neighbours are placed.

    Parameters
    ----------
    ranks : members [-]
    stride : devices from one member to the next [-]
    """

    ranks: Any
    stride: Any


def groups(layout: Parallel) -> dict[str, Group]:
    """Where the ranks of each axis lie, in the order of `AXES`, and of the groups that they form.

    "data" joins cp and dp, which share gradients; "shard" are those that split one copy of the states, "replicate"
    those that hold the same part of different copies.

    Parameters
    ----------
    layout : with dp set

    Returns
    -------
    one group an axis

    Examples
    --------
    >>> from perfmodel.parallel import Parallel
    >>> groups(Parallel(tp=8, pp=4, dp=16))["pp"]
    Group(ranks=4, stride=128)
    """
    placed, stride = {}, 1
    for axis in AXES:
        ranks = getattr(layout, axis)
        placed[axis] = Group(ranks, stride)
        stride = stride * ranks
    data = placed["data"] = Group(placed["cp"].ranks * placed["dp"].ranks, placed["cp"].stride)
    shards = layout.state_ranks
    placed["shard"] = data._replace(ranks=shards)
    placed["replicate"] = Group(data.ranks / shards, data.stride * shards)
    placed["ep"] = Group(1, placed["dp"].stride)
    return placed
