"""Where the ranks of each parallel axis lie among the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perfmodel.ops import floor, maximum, minimum, where

if TYPE_CHECKING:
    from perfmodel.parallel.layout import Parallel

__all__ = ["AXES", "Axis", "Group", "groups"]

Axis = Literal["tp", "cp", "dp", "pp"]
AXES: tuple[Axis, ...] = ("tp", "cp", "dp", "pp")
"""Usual order of placement, innermost first: tensor ranks are neighbours, pipeline stages lie farthest apart
(Megatron-LM; its use-tp-pp-dp-mapping is tp, cp, pp, dp)."""


class Group(NamedTuple):
    """The ranks of one axis: how many, and how far apart neighbours are placed.

    Parameters
    ----------
    ranks : members [-]
    stride : devices from one member to the next [-]
    block : members that follow each other so, where the group has gaps; None is all of them [-]
    jump : devices from one block to the next [-]
    """

    ranks: Any
    stride: Any
    block: Any = None
    jump: Any = None

    def within(self, devices: Any) -> Any:
        """Members that surely lie in one domain of so many devices [-].

        Examples
        --------
        >>> Group(16, 2).within(8), Group(16, stride=2, block=2, jump=64).within(8)
        (4.0, 2.0)
        """
        near = maximum(floor(devices / self.stride), 1.0)
        if self.block is None:
            return minimum(self.ranks, near)
        blocks = minimum(self.ranks / self.block, maximum(floor(devices / self.jump), 1.0))
        return minimum(self.block, near) * blocks


def groups(layout: Parallel) -> dict[str, Group]:
    """Where the ranks of each axis lie, and of the groups that they form.

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
    >>> groups(Parallel(tp=8, pp=4, dp=16))["pp"][:2]
    (4, 128)
    >>> placed = groups(Parallel(tp=2, pp=8, dp=32, ep=32))
    >>> [placed[name][:2] for name in ("expert tp", "ep", "expert data")]
    [(1, 1), (32, 1), (2.0, 32)]
    """
    placed: dict[str, Group] = {}
    stride = 1
    for axis in layout.order:
        ranks = getattr(layout, axis)
        placed[axis] = Group(ranks, stride)
        stride = stride * ranks
    data = placed["data"] = _joined(layout, placed["cp"], placed["dp"])
    shards = layout.state_ranks
    placed["shard"], placed["replicate"] = _split(data, shards)
    placed["ends"] = Group(minimum(layout.pp, 2), placed["pp"].stride * maximum(layout.pp - 1, 1))
    return placed | _expert_groups(layout, data, shards)


def _joined(layout: Parallel, cp: Group, dp: Group) -> Group:
    """The ranks of both axes, numbered by the inner one first."""
    places = layout.order.index("cp"), layout.order.index("dp")
    inner, outer = (cp, dp) if places[0] < places[1] else (dp, cp)
    ranks = cp.ranks * dp.ranks
    if abs(places[0] - places[1]) == 1:
        return Group(ranks, inner.stride)
    return Group(ranks, inner.stride, inner.ranks, outer.stride)


def _split(data: Group, shards: Any) -> tuple[Group, Group]:
    """Neighbours that split one copy of the states, and those that hold the same part of different copies."""
    copies = data.ranks / shards
    if data.block is None:
        return data._replace(ranks=shards), Group(copies, data.stride * shards)
    left, blocks = maximum(data.block / shards, 1.0), maximum(shards / data.block, 1.0)
    stride = where(shards < data.block, data.stride * shards, data.jump * blocks)
    return data._replace(ranks=shards, block=minimum(data.block, shards)), Group(
        copies, stride, left, data.jump * blocks
    )


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
