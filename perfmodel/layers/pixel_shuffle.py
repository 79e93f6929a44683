"""Neighbouring patches of an image put side by side into one wider token."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, stream
from perfmodel.ops import floor
from perfmodel.work import Work

__all__ = ["PixelShuffle"]


class PixelShuffle(Layer):
    """Joins squares of patches; learned tokens are dropped before."""

    width: int
    """Width of a patch [-]."""
    side: int
    """Patches along the side of a square [-]."""
    tokens: int = 0
    """Learned tokens that are dropped [-]."""

    def after(self, p: Pass) -> Pass:
        """One token a square."""
        if not p.extent:
            return p.of_length((p.queries - self.tokens) / self.side**2)
        return p.of_extent(*(floor(size / self.side) for size in p.extent))

    def forward(self, p: Pass) -> Work:
        """Read and write every patch."""
        return stream("pixel shuffle", p, elements=p.shard_tokens * self.width, passes=2, kind="copy")

    def backward(self, p: Pass) -> Work:
        """The same the other way."""
        return stream(
            "pixel shuffle backward", p, elements=p.shard_tokens * self.width, passes=2, kind="copy"
        )

    def saved(self, p: Pass) -> Any:
        """Nothing: only the order changes."""
        return 0
