"""What draws masks over an image from a few tokens: positions by waves, and products of tokens with pixels (SAM)."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight, stream
from perfmodel.work import Matmul, Serial, Work

__all__ = ["MaskProduct", "SourceStream", "WavePositions"]


class WavePositions(Layer):
    """Positions of points and of image patches as sines and cosines of random projections of their two coordinates."""

    waves: int
    """Random projections [-]."""
    points: int = 0
    """Points of a prompt [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """The directions, whole on every rank."""
        return (Weight("waves", (2, self.waves), "position", None),)

    def forward(self, p: Pass) -> Work:
        """Two coordinates of every patch and point."""
        rows = p.source + p.sequences * self.points
        return Matmul("waves", rows, self.waves, 2, 1, p.dtype, p.operand_bytes, p.element_bytes)

    def backward(self, p: Pass) -> Work:
        """The gradient of the directions."""
        rows = p.source + p.sequences * self.points
        return Matmul("waves wgrad", 2, self.waves, rows, 1, p.dtype, p.operand_bytes, p.element_bytes)

    def spared(self, p: Pass, *, first: bool) -> Work:
        """The gradient of the coordinates."""
        return self.forward(p)

    def saved(self, p: Pass) -> Any:
        """The projections."""
        return (p.source + p.sequences * self.points) * self.waves * p.element_bytes


class SourceStream(Layer):
    """From here on the layers see the source: the patches of the image, not the tokens that looked at them."""

    def after(self, p: Pass) -> Pass:
        """The extent of the source."""
        return p.of_extent(*p.extent)

    def forward(self, p: Pass) -> Work:
        """Nothing."""
        return Serial("source stream", ())

    def backward(self, p: Pass) -> Work:
        """Nothing."""
        return Serial("source stream backward", ())

    def saved(self, p: Pass) -> Any:
        """Nothing."""
        return 0


class MaskProduct(Layer):
    """Every mask is the product of its own vector with the vector of every pixel."""

    masks: int
    """Masks [-]."""
    width: int
    """Size of the vectors [-]."""

    def forward(self, p: Pass) -> Work:
        """One product a sequence."""
        return Matmul(
            "masks", self.masks, p.tokens / p.sequences, self.width, p.sequences, p.core_dtype,
            p.element_bytes, p.element_bytes,
        )  # fmt: skip

    def backward(self, p: Pass) -> Work:
        """Gradients of the masks' vectors, and of the pixels'."""
        pixels = p.tokens / p.sequences
        shapes = {"of masks": (self.masks, self.width, pixels), "of pixels": (pixels, self.width, self.masks)}
        return Serial(
            "masks backward",
            tuple(
                Matmul(f"gradients {of}", *shape, p.sequences, p.core_dtype, p.element_bytes, p.element_bytes)
                for of, shape in shapes.items()
            ),
        )

    def saved(self, p: Pass) -> Any:
        """The pixels."""
        return stream("masks", p, elements=p.tokens * self.width, passes=1, kind="copy").bytes
