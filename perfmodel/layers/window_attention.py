"""Attention within square windows of an image, with learned biases for where a key stands (Swin, SAM)."""

from __future__ import annotations

import math
from typing import Any, Literal

from perfmodel.errors import InputError
from perfmodel.layers.base import Pass, Weight
from perfmodel.layers.encoder_attention import EncoderAttention
from perfmodel.ops import ceil, minimum
from perfmodel.work import Matmul, Serial, Work

__all__ = ["WindowAttention"]


class WindowAttention(EncoderAttention):
    """Self-attention of each window of an image; what fills no window is padded to one, and computed."""

    side: int | None = None
    """Positions along each side of a window; none is one window over the whole image [-]."""
    shrinks: bool = False
    """An image smaller than a window is one window of its own size (Swin), not padded to one (SAM)."""
    relative: Literal["none", "pairs", "axes"] = "none"
    """Learned bias of a score: none, a number a head for each offset, or a vector for each offset along each axis."""
    table_grid: tuple[int, int] | None = None
    """Height and width that the offsets cover; none is that of a window [-]."""

    @property
    def resizes(self) -> bool:
        """It cuts an image into windows."""
        return True

    def weights(self) -> tuple[Weight, ...]:
        """Those of attention, and the tables of offsets."""
        if self.relative == "none":
            return super().weights()
        grid = self.table_grid or (self.side or 1,) * 2
        offsets = [2 * size - 1 for size in grid]
        if self.relative == "pairs":
            table = Weight("relative positions", (math.prod(offsets), self.heads), "position", None)
            return (*super().weights(), table)
        tables = (
            Weight(f"relative positions {axis}", (rows, self.head_dim), "position", None)
            for axis, rows in zip(("down", "across"), offsets, strict=True)
        )
        return (*super().weights(), *tables)

    def within(self, p: Pass) -> Pass:
        """The same pass with windows as its sequences."""
        if len(p.extent) != 2:
            raise InputError("attention within windows needs to know the image: give image_size")
        if self.side is None:
            return p.of_extent(*p.extent)
        side = minimum(self.side, minimum(*p.extent)) if self.shrinks else self.side
        windows = math.prod(ceil(size / side) for size in p.extent)
        return p.of_extent(side, side)._replace(sequences=p.sequences * windows)

    def _biases(self, p: Pass) -> tuple[Work, ...]:
        """Products of every query with the vectors of its row and of its column."""
        if self.relative != "axes":
            return ()
        queries = p.tokens * self.heads / p.tp
        return tuple(
            Matmul(f"relative {axis}", queries / size, size, self.head_dim, size, p.core_dtype)
            for axis, size in zip(("down", "across"), p.extent, strict=True)
        )

    def forward(self, p: Pass) -> Work:
        """Attention of all windows."""
        inner = self.within(p)
        return Serial("window attention", (super().forward(inner), *self._biases(inner)))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; two products for each."""
        inner = self.within(p)
        twice = tuple(part for part in self._biases(inner) for _ in range(2))
        return Serial("window attention backward", (*twice, super().backward(inner)))

    def saved(self, p: Pass) -> Any:
        """What attention saves, padding included."""
        return super().saved(self.within(p))
