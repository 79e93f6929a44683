"""Parameters of one device, told apart by the ranks that hold the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perfmodel.formulas.memory import sharded
from perfmodel.layers import Layer, Pass
from perfmodel.ops import added
from perfmodel.parallel import Parallel

__all__ = ["Held", "held", "local_parameters", "own", "summed"]

Held = dict[str, Any]
"""Amounts by the group of ranks that hold the same: "data", and "expert data" where there are routed experts. Gradients
are reduced over that group, and states sharded over it."""


def held(layers: Iterable[Layer], p: Pass) -> Held:
    """Parameters of some layers on one rank.

    Parameters
    ----------
    layers : the layers
    p : one micro-batch as one device sees it; says how weights are split

    Returns
    -------
    parameters by the ranks that hold the same [-]

    Examples
    --------
    >>> from perfmodel.layers import MixtureOfExperts
    >>> experts = MixtureOfExperts(hidden=64, inner=32, experts=8, top_k=2, shared_inner=32)
    >>> held((experts,), Pass(1, 1, 1, tp=2, ep=4, expert_tp=1))
    {'data': 3584.0, 'expert data': 12288.0}
    """
    layers = tuple(layers)
    dense = added(layer.local_dense(p.tp) for layer in layers)
    if not any(layer.routes for layer in layers):
        return {"data": dense}
    routed = added(layer.local_experts(p.ep, p.tp_in_experts) for layer in layers)
    return {"data": dense, "expert data": routed}


def summed(parts: Iterable[tuple[Any, Held]]) -> Held:
    """A sum by group.

    Parameters
    ----------
    parts : a factor and amounts each

    Returns
    -------
    amounts

    Examples
    --------
    >>> summed([(2, {"data": 3}), (1, {"data": 1, "expert data": 5})])
    {'data': 7, 'expert data': 5}
    """
    found: Held = {}
    for times, amounts in parts:
        for group, amount in amounts.items():
            found[group] = found[group] + times * amount if group in found else times * amount
    return found


def local_parameters(layers: Iterable[Layer], p: Pass) -> Any:
    """Parameters of some layers on one rank, whoever else holds the same [-]."""
    return added(held(layers, p).values())


def own(parameters: Held, layout: Parallel, *, split: bool = True) -> Any:
    """What one rank holds of amounts that the ranks with the same have split.

    Parameters
    ----------
    parameters : amounts by the ranks that hold the same
    layout : how many these are
    split : they have; else each holds the whole

    Returns
    -------
    the sum of this rank's parts

    Examples
    --------
    >>> own({"data": 64, "expert data": 32}, Parallel(dp=8, ep=4, sharding="zero3"))
    24.0
    """
    if not split:
        return added(parameters.values())
    mine: Any = 0
    for alike, amount in parameters.items():
        mine = mine + sharded(size=amount, ranks=layout.ranks_that_split(alike))
    return mine
