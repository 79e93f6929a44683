"""Normalisation over the batch (BatchNorm) or over groups of channels (GroupNorm), and activations on their own."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight, stream
from perfmodel.work import Work

__all__ = ["Activation", "BatchNorm", "GroupNorm", "LayerScale"]


class BatchNorm(Layer):
    """A norm of each channel over batch and positions; its running mean and variance are no parameters."""

    width: int
    """Channels [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """Scale and shift."""
        return tuple(Weight(name, (self.width,), "norm", None) for name in ("weight", "bias"))

    def forward(self, p: Pass) -> Work:
        """Read for the statistics, read again, write."""
        return stream("batch norm", p, elements=p.tokens * self.width, passes=3, kind="norm")

    def backward(self, p: Pass) -> Work:
        """Input and gradient read twice, a gradient written."""
        return stream("batch norm backward", p, elements=p.tokens * self.width, passes=5, kind="norm")

    def saved(self, p: Pass) -> Any:
        """The input."""
        return p.tokens * self.width * p.element_bytes


class GroupNorm(BatchNorm):
    """A norm of groups of channels over the positions of one sample."""


class Activation(Layer):
    """A non-linearity that stands alone."""

    width: int
    """Channels [-]."""
    kind: str = "relu"
    """Name of the non-linearity; its cost is that of streaming its operands."""
    in_place: bool = False
    """Overwrites its input and needs only its result for backward (ReLU)."""

    def forward(self, p: Pass) -> Work:
        """Read, write."""
        return stream("activation", p, elements=p.tokens * self.width, passes=2, kind="activation")

    def backward(self, p: Pass) -> Work:
        """Input and gradient read, a gradient written."""
        return stream("activation backward", p, elements=p.tokens * self.width, passes=3, kind="activation")

    def saved(self, p: Pass) -> Any:
        """The input, unless what follows keeps the result anyway."""
        return 0 if self.in_place else p.tokens * self.width * p.element_bytes


class LayerScale(Layer):
    """A learned factor a channel on what a sub-layer adds to the stream."""

    width: int
    """Model width [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """The factors."""
        return (Weight("layer scale", (self.width,), "norm", None),)

    def forward(self, p: Pass) -> Work:
        """Read, write."""
        return stream("layer scale", p, elements=p.shard_tokens * self.width, passes=2, kind="residual")

    def backward(self, p: Pass) -> Work:
        """Input and gradient read, a gradient written."""
        return stream(
            "layer scale backward", p, elements=p.shard_tokens * self.width, passes=3, kind="residual"
        )

    def saved(self, p: Pass) -> Any:
        """The input."""
        return p.shard_tokens * self.width * p.element_bytes
