"""What the host has to do for a tree of work: kernels to launch, communicators to keep."""

from __future__ import annotations

from typing import Any

from perfmodel.estimation.machine import Machine
from perfmodel.ops import added, greater, where
from perfmodel.parallel import Ranks
from perfmodel.work import Collective, Leaf, Stream, Work, kernels, total

__all__ = ["communicators", "launches", "messages"]


def launches(tree: Work, groups: dict[str, Ranks], rates: Machine) -> Any:
    """Kernels that the host launches, mean over the stages; a message over one rank is none [-].

    Parameters
    ----------
    tree : the work
    groups : the ranks of each axis
    rates : of the machine: pointwise work may take several kernels
    """
    passes = rates.efficiency.stream.passes
    sent = {axis: where(greater(group.ranks, 1), 1.0, 0.0) for axis, group in groups.items()}

    def measure(leaf: Leaf) -> Any:
        if isinstance(leaf, Collective):
            return sent[leaf.axis]
        unfused = isinstance(leaf, Stream) and leaf.kind != "optimizer"
        return kernels(leaf) * passes if unfused else kernels(leaf)

    return total(tree, measure)


def messages(tree: Work, groups: dict[str, Ranks]) -> Any:
    """Messages over more than one rank [-].

    Parameters
    ----------
    tree : the work
    groups : the ranks of each axis
    """
    sent = {axis: where(greater(group.ranks, 1), 1.0, 0.0) for axis, group in groups.items()}
    return total(tree, lambda leaf: sent[leaf.axis] if isinstance(leaf, Collective) else 0.0)


def communicators(groups: dict[str, Ranks]) -> Any:
    """Axes over which devices talk; each has a communicator with buffers of its own [-].

    Parameters
    ----------
    groups : the ranks of each axis
    """
    axes = ("tp", "cp", "pp", "ep", "data")
    return added(where(greater(groups[axis].ranks, 1), 1.0, 0.0) for axis in axes if axis in groups)
