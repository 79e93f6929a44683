"""A model as a training step meets it: what stands before its blocks, the blocks, what stands after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from perfmodel.costs.parameters import Held, held, summed
from perfmodel.layers import Layer, Pass
from perfmodel.ops import added
from perfmodel.walk import Walked, stretches
from perfmodel.work import Work, flops, total

__all__ = ["Part", "Parts", "parts", "training_flops"]


@dataclass(frozen=True)
class Part:
    """Layers that follow each other, each with the pass that it sees.

    Parameters
    ----------
    layers : in order
    repeat : how often they run [-]
    copies : how often their weights stand in the model [-]
    data : what enters the first of them is data, whose gradient nobody asks for
    """

    layers: tuple[tuple[Layer, Pass], ...]
    repeat: Any = 1
    copies: Any = 1
    data: bool = False

    @cached_property
    def plain(self) -> tuple[Layer, ...]:
        """The layers alone."""
        return tuple(layer for layer, _ in self.layers)

    @property
    def width(self) -> int:
        """Width of the residual stream; 0 where no layer tells one [-]."""
        return max((getattr(layer, "hidden", 0) for layer in self.plain), default=0)

    def forward(self) -> tuple[Work, ...]:
        """Work of each layer."""
        return tuple(layer.forward(p) for layer, p in self.layers)

    def backward(self) -> tuple[Work, ...]:
        """Work of each layer, the last one first."""
        works = [layer.backward(p) for layer, p in self.layers]
        if self.data and self.layers:
            layer, p = self.layers[0]
            works[0] = layer.backward_to_data(p)
        return tuple(reversed(works))

    @cached_property
    def parameters(self) -> Held:
        """Parameters of one repetition on one rank, by the ranks that hold the same [-]."""
        return summed((1, held((layer,), p)) for layer, p in self.layers)

    @property
    def tensors(self) -> int:
        """Parameter tensors of one repetition [-]."""
        return sum(len(layer.weights()) for layer in self.plain)

    def saved(self) -> Any:
        """Bytes that one repetition keeps for backward [B]."""
        return added(layer.saved(p) for layer, p in self.layers)

    def saved_input(self) -> Any:
        """Of these, what enters: all that is kept where the whole part is computed again [B]."""
        if not self.layers:
            return 0
        layer, p = self.layers[0]
        return p.shard_tokens * self.width * p.element_bytes if self.width else layer.saved_input(p)

    def spared(self) -> Iterator[Work]:
        """Products that backward does without, of one repetition."""
        for number, (layer, p) in enumerate(self.layers):
            yield layer.spared(p, first=self.data and number == 0)


class Parts(NamedTuple):
    """All parts of a model; those of its source stand among its own.

    Parameters
    ----------
    entry : before the blocks
    blocks : the repeated parts, which a pipeline divides
    exit : after the blocks
    """

    entry: Part
    blocks: tuple[Part, ...]
    exit: Part

    @property
    def all(self) -> tuple[Part, ...]:
        """In the order of work."""
        return (self.entry, *self.blocks, self.exit)

    def body_parameters(self) -> Held:
        """Parameters of all blocks on one rank, by the ranks that hold the same [-]."""
        return summed((block.copies, block.parameters) for block in self.blocks)


def parts(model: Walked, p: Pass) -> Parts:
    """Take a model apart on the way of a pass.

    Parameters
    ----------
    model : what is trained
    p : the pass as it enters

    Returns
    -------
    its parts

    Examples
    --------
    >>> from perfmodel.native import mlp
    >>> [(len(block.layers), block.repeat, block.data) for block in
    ...  parts(mlp(inputs=64, hidden=(64, 64), outputs=10), Pass(1, 1, 1)).blocks]
    [(1, 1, True), (1, 1, False), (1, 1, False)]
    """
    ends: dict[str, list[tuple[Layer, Pass]]] = {"entry": [], "exit": []}
    blocks: list[Part] = []
    data = True
    for place, layers, repeat, copies, _ in stretches(model, p):
        kind = place.removeprefix("source.")
        if kind in ends:
            ends[kind] += layers
        elif data and repeat > 1:  # only the first repetition sees data
            blocks += (Part(layers, data=True), Part(layers, repeat - 1, copies - 1))
        else:
            blocks.append(Part(layers, repeat, copies, data))
        data = data and not layers
    entry, leave = tuple(ends["entry"]), tuple(ends["exit"])
    return Parts(Part(entry, data=bool(entry)), tuple(blocks), Part(leave))


def training_flops(found: Parts) -> Any:
    """Operations of forward and backward without recomputation: three products each, but for gradients of data.

    Parameters
    ----------
    found : the parts of a model

    Returns
    -------
    operations [FLOP]
    """
    forward: Any = 0
    spared: Any = 0
    for part in found.all:
        forward = forward + added(part.repeat * total(work, flops) for work in part.forward())
        spared = spared + added(part.repeat * total(work, flops) for work in part.spared())
    return 3 * forward - spared
