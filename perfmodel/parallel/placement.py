"""Where the ranks of each parallel axis lie among the devices."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.ops import at_least, floor, greater, maximum, minimum, where
from perfmodel.parallel.axes import Axis
from perfmodel.parallel.degrees import Degrees

__all__ = ["Group", "Ranks", "Spread", "groups"]


class Group(NamedTuple):
    """The ranks of one axis: how many, and how far apart neighbours are placed.

    Parameters
    ----------
    ranks : members [-]
    stride : devices from one member to the next [-]
    """

    ranks: Any
    stride: Any

    def within(self, devices: Any) -> Any:
        """Members that surely lie in one domain of so many devices [-].

        Examples
        --------
        >>> Group(16, 2).within(8)
        4.0
        """
        return minimum(self.ranks, maximum(floor(devices / self.stride), 1.0))


class Spread(NamedTuple):
    """Ranks of two axes that have another one between them: blocks of neighbours, far apart.

    Parameters
    ----------
    ranks : members [-]
    stride : devices from one member of a block to the next [-]
    block : members of a block [-]
    jump : devices from one block to the next [-]
    """

    ranks: Any
    stride: Any
    block: Any
    jump: Any

    def within(self, devices: Any) -> Any:
        """Members that surely lie in one domain of so many devices [-].

        Examples
        --------
        >>> Spread(16, stride=2, block=2, jump=64).within(8), Spread(16, stride=2, block=2, jump=64).within(128)
        (2.0, 4.0)
        """
        near = minimum(self.block, maximum(floor(devices / self.stride), 1.0))
        return near * minimum(self.ranks / self.block, maximum(floor(devices / self.jump), 1.0))


Ranks = Group | Spread
"""A group of ranks, wherever they lie."""


def groups(layout: Degrees) -> dict[str, Ranks]:
    """Where the ranks of each axis lie, and of the groups that they form.

    "data" joins cp and dp, which share gradients; "shard" are those that split one copy of the states, "replicate"
    those that hold the same part of different copies. "ends" are the first and the last pipeline stage,
    "model" the ranks of one copy of the model, "everyone" all. "kv" are tensor ranks that split the cache of a
    sequence.

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
    placed: dict[str, Any] = {}
    stride = 1
    for axis in layout.order:
        ranks = getattr(layout, axis)
        placed[axis] = Group(ranks, stride)
        stride = stride * ranks
    data = placed["data"] = _joined(layout, placed, "cp", "dp")
    placed["kv"] = Group(layout.kv_split, placed["tp"].stride)
    placed["model"] = _joined(layout, placed, "tp", "pp")
    placed["everyone"] = Group(stride, 1)
    shards = layout.state_ranks
    placed["shard"], placed["replicate"] = _split(data, shards)
    placed["ends"] = Group(minimum(layout.pp, 2), placed["pp"].stride * maximum(layout.pp - 1, 1))
    return placed | _expert_groups(layout, data, shards)


def _joined(layout: Degrees, placed: dict[str, Any], *axes: Axis) -> Ranks:
    """The ranks of two axes, numbered by the inner one first."""
    places = sorted(layout.order.index(axis) for axis in axes)
    inner, outer = (placed[layout.order[place]] for place in places)
    ranks = inner.ranks * outer.ranks
    if places[1] - places[0] == 1:
        return Group(ranks, inner.stride)
    return Spread(ranks, inner.stride, inner.ranks, outer.stride)


def _split(data: Ranks, shards: Any) -> tuple[Ranks, Ranks]:
    """Neighbours that split one copy of the states, and those that hold the same part of different copies."""
    copies = data.ranks / shards
    if isinstance(data, Group):
        return Group(shards, data.stride), Group(copies, data.stride * shards)
    jump = data.jump * maximum(shards / data.block, 1.0)
    stride = where(greater(data.block, shards), data.stride * shards, jump)
    left = maximum(data.block / shards, 1.0)  # members of a block that hold the same part
    return data._replace(ranks=shards, block=minimum(data.block, shards)), Spread(copies, stride, left, jump)


def _expert_groups(layout: Degrees, data: Ranks, shards: Any) -> dict[str, Ranks]:
    columns, sharing = layout.tp_in_experts, layout.ep * layout.tp_in_experts
    alike, split = data.ranks * layout.tp / sharing, maximum(shards * layout.tp / sharing, 1.0)
    return {
        "expert tp": _of_stage(layout, columns, 1),
        "ep": _of_stage(layout, layout.ep, columns),
        "expert data": _of_stage(layout, alike, sharing),
        "expert shard": _of_stage(layout, split, sharing),
        "expert replicate": _of_stage(layout, alike / split, sharing * split),
    }


def _of_stage(layout: Degrees, ranks: Any, stride: Any) -> Ranks:
    """Ranks of one stage by their number in it; other stages may lie between them."""
    inside = layout.order[: layout.order.index("pp")]
    if len(inside) == len(layout.order) - 1:
        return Group(ranks, stride)
    together: Any = 1
    for axis in inside:
        together = together * getattr(layout, axis)
    apart = together * layout.pp
    far = at_least(stride, together)
    return Spread(
        ranks,
        stride=where(far, stride * layout.pp, stride),
        block=where(far, 1, minimum(ranks, together / stride)),
        jump=where(far, stride * layout.pp, apart),
    )
