"""What a layer computes on its way: tensors that policies keep, give up or move to the host by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from perfmodel.work import Matmul, Serial, Work

__all__ = ["Result", "remaining"]


class Result(NamedTuple):
    """A tensor that forward computes.

    Parameters
    ----------
    work : what computes this tensor alone
    bytes : it holds [B]
    nodes : of the forward pass that need not run once every tensor that names them is at hand; a product that several
        tensors share runs for the others alone
    saved : backward reads it, so that `saved` counts it; what leaves the layer only joins the stream
    """

    work: Work
    bytes: Any
    nodes: tuple[str, ...]
    saved: bool = True


def remaining(work: Work, results: Mapping[str, Result], kept: Collection[str]) -> Work:
    """What of a forward pass is left to do where some of its results are at hand.

    Parameters
    ----------
    work : the forward pass
    results : of it, by name
    kept : names of those at hand

    Returns
    -------
    the same tree without what is spared

    Examples
    --------
    >>> from perfmodel.layers import Mlp, Pass
    >>> from perfmodel.work import leaves
    >>> mlp, p = Mlp(hidden=8, inner=32), Pass(1, 4, 4)
    >>> [leaf.name for leaf in leaves(remaining(mlp.forward(p), mlp.results(p), ("gate", "up")))]
    ['activation', 'mlp down', 'tp all-reduce']
    """
    ready = {node for name in kept if name in results for node in results[name].nodes}
    needed = {node for name, result in results.items() if name not in kept for node in result.nodes}
    left = _without(work, ready - needed)
    for name in kept:
        if name in results and isinstance(results[name].work, Matmul):
            left = _narrowed(left, results[name].work, ready & needed)
    return left


def _without(work: Work, names: Collection[str]) -> Work:
    """Serial nodes without the parts of these names."""
    if not isinstance(work, Serial):
        return work
    return Serial(work.name, tuple(_without(part, names) for part in work.parts if part.name not in names))


def _narrowed(work: Work, spared: Work, names: Collection[str]) -> Work:
    """The product that computes several tensors, without the columns of one of them."""
    if isinstance(work, Serial):
        return Serial(work.name, tuple(_narrowed(part, spared, names) for part in work.parts))
    if (
        isinstance(work, Matmul)
        and isinstance(spared, Matmul)
        and work.name == spared.name
        and work.name in names
    ):
        return work._replace(n=work.n - spared.n)
    return work
