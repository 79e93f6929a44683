"""How an image becomes tokens: patches with their positions and class tokens, and patches that merge."""

from __future__ import annotations

import math
from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight, linear_backward, linear_forward, stream
from perfmodel.ops import ceil, floor
from perfmodel.work import Serial, Work

__all__ = ["PatchEmbedding", "PatchMerging"]


class PatchEmbedding(Layer):
    """Cuts an image into patches, makes a token of each, puts learned tokens before them and adds positions.

    In a pass that knows no image the sequence is taken to be these tokens already, the learned ones included.
    """

    width: int
    """Model width [-]."""
    channels: int
    """Colours [-]."""
    patch: tuple[int, int]
    """Height and width of a patch [-]."""
    bias: bool = True
    """Has a shift a channel."""
    tokens: int = 0
    """Learned tokens before the patches: class, distillation, registers [-]."""
    positions: int = 0
    """Rows of the learned positional table [-]."""
    mask_tokens: int = 0
    """Learned tokens that stand for hidden patches [-]."""
    flat_token: bool = False
    """The learned token is a vector, not a sequence of one."""
    padded: bool = False
    """A rest that fills no patch is padded to one; else it is cut off."""

    def weights(self) -> tuple[Weight, ...]:
        """Filters, shift, learned tokens and positions, whole on every rank."""
        named = [Weight("patch filters", (self.width, self.channels, *self.patch), "matrix", None)]
        if self.bias:
            named.append(Weight("patch bias", (self.width,), "bias", None))
        if self.tokens:
            shape = (self.width,) if self.flat_token else (1, self.tokens, self.width)
            named.append(Weight("class token", shape, "position", None))
        if self.positions:
            named.append(Weight("position table", (self.positions, self.width), "position", None))
        if self.mask_tokens:
            named.append(Weight("mask token", (self.mask_tokens, self.width), "position", None))
        return tuple(named)

    def after(self, p: Pass) -> Pass:
        """Patches and learned tokens; the extent is that of the grid of patches."""
        if not p.extent:
            return p
        whole = ceil if self.padded else floor
        grid = tuple(whole(size / side) for size, side in zip(p.extent, self.patch, strict=True))
        return p.of_length(math.prod(grid) + self.tokens)._replace(extent=grid)

    def _patches(self, p: Pass) -> Any:
        return self.after(p).tokens - p.sequences * self.tokens / p.cp

    def _shape(self, p: Pass) -> dict[str, Any]:
        inputs = self.channels * math.prod(self.patch)
        return {"tokens": self._patches(p), "inputs": inputs, "outputs": self.width}

    def _moved(self, p: Pass) -> Any:
        return self.after(p).tokens * self.width

    def forward(self, p: Pass) -> Work:
        """One product; then tokens and positions are joined."""
        join = stream("join tokens", p, elements=self._moved(p), passes=3, kind="residual")
        return Serial("patches", (linear_forward("patches", p, **self._shape(p)), join))

    def backward(self, p: Pass) -> Work:
        """Only the weight's gradient: nobody asks for that of the pixels."""
        join = stream("join tokens backward", p, elements=self._moved(p), passes=2, kind="embedding")
        return Serial("patches backward", (join, linear_backward("patches", p, **self._shape(p))[1]))

    def spared(self, p: Pass, *, first: bool) -> Work:
        """The gradient of the pixels."""
        return linear_forward("patches", p, **self._shape(p))

    def saved(self, p: Pass) -> Any:
        """The pixels."""
        return self._patches(p) * self.channels * math.prod(self.patch) * p.element_bytes


class PatchMerging(Layer):
    """Joins patches two by two in both directions: a norm, and a projection from four widths to two (Swin)."""

    width: int
    """Width of a patch before [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """Norm and projection, whole on every rank."""
        norm = tuple(Weight(name, (4 * self.width,), "norm", None) for name in ("norm weight", "norm bias"))
        return (Weight("reduction", (4 * self.width, 2 * self.width), "matrix", None), *norm)

    def after(self, p: Pass) -> Pass:
        """Half as many along each side, padded where they are odd."""
        return p.of_extent(*(ceil(size / 2) for size in p.extent))

    def _shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": self.after(p).tokens, "inputs": 4 * self.width, "outputs": 2 * self.width}

    def forward(self, p: Pass) -> Work:
        """Gather and norm, then one product."""
        gather = stream("merge norm", p, elements=p.tokens * self.width, passes=4, kind="norm", launches=2)
        return Serial("merging", (gather, linear_forward("merging", p, **self._shape(p))))

    def backward(self, p: Pass) -> Work:
        """Two products, then the norm's gradient."""
        norm = stream("merge norm backward", p, elements=p.tokens * self.width, passes=5, kind="norm")
        return Serial("merging backward", (*linear_backward("merging", p, **self._shape(p)), norm))

    def saved(self, p: Pass) -> Any:
        """The input of the norm, and its result."""
        return 2 * self.after(p).tokens * 4 * self.width * p.element_bytes
