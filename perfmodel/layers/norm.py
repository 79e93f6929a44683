"""Normalisation over the model width, and the residual additions between sub-layers."""

from __future__ import annotations

from typing import Any, Literal

from perfmodel.layers.base import Layer, Pass, Weight, stream
from perfmodel.layers.kept import composed, norm_bytes
from perfmodel.layers.pointwise import norm, operators
from perfmodel.work import Stream, Work

__all__ = ["Norm", "Residual"]


def _joining(p: Pass, work: Work) -> Work:
    """Where no backward follows, the all-reduce before it may do the work."""
    alone = isinstance(work, Stream) and p.forward_only and not p.sequence_parallel
    return work._replace(joins="tp") if alone else work  # type: ignore[call-arg]  # a stream


class Norm(Layer):
    """LayerNorm or RMSNorm over the last dimension."""

    width: int
    """Normalised dimension [-]."""
    kind: Literal["layer", "rms"] = "rms"
    """LayerNorm subtracts the mean, RMSNorm does not."""
    weight: bool = True
    """Has a learned scale."""
    bias: bool = False
    """Has a learned shift."""

    def weights(self) -> tuple[Weight, ...]:
        """Scale and shift, whole on every rank."""
        named = (("weight", self.weight), ("bias", self.bias))
        return tuple(Weight(name, (self.width,), "norm", None) for name, present in named if present)

    def forward(self, p: Pass) -> Work:
        """Read once, write once; framework code operator by operator."""
        return _joining(p, self._crossed("norm", p, backward=False))

    def backward(self, p: Pass) -> Work:
        """Read the input and the gradient, write the gradient."""
        return self._crossed("norm backward", p, backward=True)

    def _crossed(self, name: str, p: Pass, *, backward: bool) -> Work:
        crossings, elements = norm(p.kernels, self.kind, p.element_bytes), p.shard_tokens * self.width
        return operators(name, p, crossings, elements=elements, kind="norm", backward=backward)

    def saved(self, p: Pass) -> Any:
        """The input; framework code keeps copies and statistics, too."""
        return norm_bytes(p.kernels, self.kind, p.element_bytes, width=self.width, rows=p.shard_tokens)

    def saved_input(self, p: Pass) -> Any:
        """The residual stream, in its own format."""
        return p.shard_tokens * self.width * p.element_bytes


class Residual(Layer):
    """Adds a sub-layer's output to the stream, with dropout where the model trains with it."""

    width: int
    """Model width [-]."""
    inputs: int = 2
    """Tensors added: the stream and each sub-layer that joins it here [-]."""

    def forward(self, p: Pass) -> Work:
        """Read every input, write the sum; with dropout a one-byte mask, too, in a kernel of its own unless fused."""
        mask = 1 / p.element_bytes if p.dropout else 0
        alone = p.dropout and composed(p.kernels)
        passes, launches = self.inputs + 1 + mask + (2 if alone else 0), 2 if alone else 1
        elements = p.shard_tokens * self.width
        add = stream("residual", p, elements=elements, passes=passes, kind="residual", launches=launches)
        return _joining(p, add)

    def backward(self, p: Pass) -> Work:
        """Gradients of the branches are summed where they meet; dropout masks the one that goes in."""
        mask = (2 + 1 / p.element_bytes) if p.dropout else 0
        return stream(
            "residual backward", p, elements=p.shard_tokens * self.width, passes=3 + mask, kind="residual"
        )

    def saved(self, p: Pass) -> Any:
        """One byte of mask per sub-layer with dropout, else nothing."""
        return p.shard_tokens * self.width * (self.inputs - 1) if p.dropout else 0
