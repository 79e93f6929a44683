"""What tells positions apart besides a table of them: biases of the scores by distance, segments, learned vectors."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight, stream
from perfmodel.layers.embedding import PositionTable
from perfmodel.work import Serial, Work

__all__ = ["LearnedVectors", "RelativeBias", "SegmentTable"]


class SegmentTable(PositionTable):
    """Learned vectors that say which of two texts a token belongs to, added to the embedding."""


class RelativeBias(Layer):
    """A learned number a head for each bucket of distances, added to the scores; often shared by all layers (T5)."""

    buckets: int
    """Distances told apart [-]."""
    heads: int
    """Heads [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """The table; tensor-parallel ranks hold their heads."""
        return (Weight("relative bias", (self.buckets, self.heads), "position"),)

    def forward(self, p: Pass) -> Work:
        """Gather a bias for each pair, once a model."""
        pairs = p.queries / p.cp * p.keys * self.heads / p.tp
        return stream("relative bias", p, elements=pairs, passes=2, kind="embedding")

    def backward(self, p: Pass) -> Work:
        """Scatter-add the gradient of the scores."""
        pairs = p.queries / p.cp * p.keys * self.heads / p.tp
        return stream("relative bias backward", p, elements=pairs, passes=2, kind="embedding")

    def saved(self, p: Pass) -> Any:
        """Bucket numbers, eight bytes each."""
        return p.queries / p.cp * p.keys * 8


class LearnedVectors(Layer):
    """Learned tensors that cost no operator of their own: probes, mask vectors, temperatures, unused tables."""

    shape: tuple[int, ...]
    """Dimensions of the tensor [-]."""
    name: str = "learned vectors"
    """What it is."""

    def weights(self) -> tuple[Weight, ...]:
        """The tensor, whole on every rank."""
        return (Weight(self.name, self.shape, "position", None),)

    def forward(self, p: Pass) -> Work:
        """Nothing."""
        return Serial(self.name, ())

    def backward(self, p: Pass) -> Work:
        """Nothing."""
        return Serial(self.name, ())

    def saved(self, p: Pass) -> Any:
        """Nothing."""
        return 0
