"""Pooling over windows of an image or signal, over all of it, and what is read from one vector a sequence."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import InputError
from perfmodel.layers.base import Layer, Pass, Weight, linear_backward, linear_forward, stream
from perfmodel.ops import floor
from perfmodel.work import Serial, Work

__all__ = ["GlobalPooling", "Pooling", "Readout"]


class Pooling(Layer):
    """Maximum or mean over windows of positions."""

    width: int
    """Channels [-]."""
    kernel: int
    """Positions of a window along each dimension [-]."""
    stride: int | None = None
    """Positions from one window to the next; none means the windows don't overlap [-]."""
    padding: int = 0
    """Positions added on both sides [-]."""

    def after(self, p: Pass) -> Pass:
        """One position a window."""
        if not p.extent:
            raise InputError("pooling needs to know what enters: give image_size, or samples")
        stride = self.stride or self.kernel
        sizes = (floor((size + 2 * self.padding - self.kernel) / stride) + 1 for size in p.extent)
        return p.of_extent(*sizes)

    def forward(self, p: Pass) -> Work:
        """Read all, write the pooled."""
        moved = (p.tokens + self.after(p).tokens) * self.width
        return stream("pooling", p, elements=moved, passes=1, kind="copy")

    def backward(self, p: Pass) -> Work:
        """Read the gradient of the pooled with its index, write that of all."""
        moved = (p.tokens + 2 * self.after(p).tokens) * self.width
        return stream("pooling backward", p, elements=moved, passes=1, kind="copy")

    def saved(self, p: Pass) -> Any:
        """The input, and an index of eight bytes for each result."""
        return p.tokens * self.width * p.element_bytes + self.after(p).tokens * self.width * 8


class GlobalPooling(Layer):
    """The mean over all positions, or the choice of one: what follows sees one vector a sequence."""

    width: int
    """Channels [-]."""

    def after(self, p: Pass) -> Pass:
        """One position."""
        return p.of_length(1)._replace(extent=())

    def forward(self, p: Pass) -> Work:
        """Read all."""
        return stream("global pooling", p, elements=p.tokens * self.width, passes=1, kind="copy")

    def backward(self, p: Pass) -> Work:
        """Write all."""
        return stream("global pooling backward", p, elements=p.tokens * self.width, passes=1, kind="copy")

    def saved(self, p: Pass) -> Any:
        """Nothing: the gradient does not depend on the input."""
        return 0


class Readout(Layer):
    """A linear layer on `vectors` of a sequence: pooler, classifier, projection of a tower."""

    inputs: int
    """Width of the vector [-]."""
    outputs: int
    """Classes, or width of what leaves [-]."""
    bias: bool = True
    """Has a shift."""
    vectors: int = 1
    """Positions of each sequence that are read [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """One matrix, whole on every rank."""
        named = [Weight("readout", (self.inputs, self.outputs), "matrix", None)]
        if self.bias:
            named.append(Weight("readout bias", (self.outputs,), "bias", None))
        return tuple(named)

    def _shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.sequences * self.vectors, "inputs": self.inputs, "outputs": self.outputs}

    def forward(self, p: Pass) -> Work:
        """One product."""
        return linear_forward("readout", p, **self._shape(p))

    def backward(self, p: Pass) -> Work:
        """Two products."""
        return Serial("readout backward", linear_backward("readout", p, **self._shape(p)))

    def saved(self, p: Pass) -> Any:
        """The input."""
        return p.sequences * self.vectors * self.inputs * p.element_bytes
