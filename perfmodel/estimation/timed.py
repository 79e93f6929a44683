"""A node of the tree with its time, and how times of parts join: in series, repeated, beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from perfmodel.efficiency import OverlapFit
from perfmodel.estimation.network import Route
from perfmodel.ops import added, greater, maximum, minimum, where
from perfmodel.work import Leaf

__all__ = [
    "NOTHING", "Shares", "Timed", "beside", "by_kind", "hidden_part", "leaf_times", "repeated", "series",
]  # fmt: skip

Shares = dict[str, Any]

NOTHING: Shares = {}
"""No share of anything."""

CONTENTION = "contention"
"""Kind of the time that compute loses to messages beside it."""

EXPOSED = "exposed"
"""Name of the part of messages that sticks out of the compute beside them."""


class Timed(NamedTuple):
    """A node of the tree with its time.

    Parameters
    ----------
    name : of the node
    kind : term of the breakdown: matmul, attention, memory-bound, tp, cp, ep, dp, pp, offload, bubble, or "" for a node
        of parts
    seconds : what it adds to its parent [s]
    spent : the same by resource, of a leaf [s]
    covered : communication that runs beside compute, by its term [s]
    times : repetitions of the parts [-]
    parts : its parts; each in seconds of one repetition
    work : the operator of a leaf, with its demands
    route : of a message: the algorithm chosen and the outermost tier it crosses
    """

    name: str
    kind: str
    seconds: Any
    spent: Shares
    covered: Shares
    times: Any = 1
    parts: tuple[Timed, ...] = ()
    work: Leaf | None = None
    route: Route | None = None

    @property
    def resources(self) -> Shares:
        """Its seconds by resource [s].

        compute, memory_bandwidth, kernel_latency, network_latency, each network tier, host_link, storage, host_memory,
        pipeline_bubble, host_launch, stragglers, input_pipeline
        """
        if self.kind:
            return self.spent
        return _scaled(_added([part.resources for part in self.parts]), self.times)

    @property
    def hidden(self) -> Any:
        """Communication that runs beside compute, of all axes [s]."""
        return added(self.covered.values(), 0.0)


def _added(columns: Iterable[Shares]) -> Shares:
    found: Shares = {}
    for column in columns:
        for name, value in column.items():
            found[name] = found[name] + value if name in found else value
    return found


def _scaled(shares: Shares, factor: Any) -> Shares:
    return {name: value * factor for name, value in shares.items()}


def series(name: str, parts: tuple[Timed, ...]) -> Timed:
    """Parts one after the other.

    Parameters
    ----------
    name : of the whole
    parts : timed

    Returns
    -------
    their sum
    """
    seconds = added([part.seconds for part in parts], 0.0)
    covered = [part.covered for part in parts if part.covered]
    return Timed(name, "", seconds, NOTHING, _added(covered) if covered else NOTHING, 1, parts)


def repeated(name: str, times: Any, part: Timed) -> Timed:
    """A part so many times; a fraction is a share of it.

    Parameters
    ----------
    name : of the whole
    times : repetitions [-]
    part : timed

    Returns
    -------
    its multiple
    """
    covered = _scaled(part.covered, times) if part.covered else NOTHING
    return Timed(name, "", part.seconds * times, NOTHING, covered, times, (part,))


def beside(name: str, messages: Timed, cover: Any, fit: OverlapFit) -> Timed:
    """Messages beside compute: what sticks out, and what compute loses to what does not.

    Parameters
    ----------
    name : of the whole
    messages : timed as if they were alone
    cover : of compute that no other message runs beside [s]
    fit : how much of what could be hidden is, and what compute loses for it

    Returns
    -------
    exposed messages and contention
    """
    hidden = minimum(messages.seconds, cover) * fit.achieved
    exposed = messages.seconds - hidden
    # what sticks out keeps the mix of resources of the whole message, what is hidden its mix of axes
    share = where(greater(messages.seconds, 0), exposed / maximum(messages.seconds, 1e-300), 0.0)
    lost = fit.slowdown * hidden
    covered = _scaled(by_kind(messages), 1 - share)
    return series(
        name,
        (
            repeated(EXPOSED, share, messages),
            Timed("contention", CONTENTION, lost, {"compute": lost}, covered),
        ),
    )


def hidden_part(node: Timed) -> tuple[Any, Timed] | None:
    """What runs beside compute in a node that `beside` has made, and takes none of its seconds.

    Parameters
    ----------
    node : of the tree

    Returns
    -------
    the hidden share of the messages [-], and the messages as if they were alone; None for other nodes
    """
    if not node.parts or node.parts[0].name != EXPOSED or node.parts[-1].kind != CONTENTION:
        return None
    exposed = node.parts[0]
    return 1 - exposed.times, exposed.parts[0]


def leaf_times(node: Timed, times: Any = 1.0) -> Iterator[tuple[Any, Timed]]:
    """Every leaf of a timed tree with how many times it counts in the whole.

    Parameters
    ----------
    node : of the tree
    times : that the node itself counts [-]

    Yields
    ------
    multiplicity [-], leaf
    """
    if node.kind:
        yield times, node
    for part in node.parts:
        yield from leaf_times(part, times * node.times)


def by_kind(node: Timed) -> Shares:
    """Seconds of a tree by kind of work; they add up to its own.

    Parameters
    ----------
    node : of the tree

    Returns
    -------
    seconds by term [s]
    """
    return _added({leaf.kind: times * leaf.seconds} for times, leaf in leaf_times(node))
