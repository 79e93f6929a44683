"""Where the ranks of each parallel axis lie among the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from perfmodel.ops import maximum, minimum

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
    those that hold the same part of different copies. "ends" are the first and the last pipeline stage.

    Routed experts are dealt anew to the ranks of a stage, innermost first: "expert tp" shares the columns of an expert,
    "ep" the experts, "expert data" holds the same ones (Megatron-Core's expert ranks, in the order tp-ep-dp-pp);
    "expert shard" and "expert replicate" are to it what the others are to "data".

    Parameters
    ----------
    layout : with dp set

    Returns
    -------
    one group a name

    Examples
    --------
    >>> from perfmodel.parallel import Parallel
    >>> groups(Parallel(tp=8, pp=4, dp=16))["pp"]
    Group(ranks=4, stride=128)
    >>> placed = groups(Parallel(tp=2, pp=8, dp=32, ep=32))
    >>> placed["expert tp"], placed["ep"], placed["expert data"]
    (Group(ranks=1, stride=1), Group(ranks=32, stride=1), Group(ranks=2.0, stride=32))
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
    placed["ends"] = Group(minimum(layout.pp, 2), placed["pp"].stride * maximum(layout.pp - 1, 1))
    return placed | _expert_groups(layout, data, shards)


def _expert_groups(layout: Parallel, data: Group, shards: Any) -> dict[str, Group]:
    columns, sharing = layout.tp_in_experts, layout.ep * layout.tp_in_experts
    alike = Group(data.ranks * layout.tp / sharing, sharing)
    split = maximum(shards * layout.tp / sharing, 1.0)
    return {
        "expert tp": Group(columns, 1),
        "ep": Group(layout.ep, columns),
        "expert data": alike,
        "expert shard": alike._replace(ranks=split),
        "expert replicate": Group(alike.ranks / split, alike.stride * split),
    }
