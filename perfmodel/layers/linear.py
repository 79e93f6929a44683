"""A linear layer with its shift and its activation, on every row by itself; every rank computes it whole."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight, linear_backward, linear_forward, stream
from perfmodel.work import Serial, Work

__all__ = ["Linear"]


class Linear(Layer):
    """One matrix, a shift, and what follows them pointwise."""

    inputs: int
    """Input width [-]."""
    outputs: int
    """Output width [-]."""
    bias: bool = True
    """Has a shift."""
    activation: str = ""
    """Name of the non-linearity that follows; "" is none."""

    def weights(self) -> tuple[Weight, ...]:
        """Matrix and shift."""
        named = [Weight("weight", (self.outputs, self.inputs), "matrix", None)]
        if self.bias:
            named.append(Weight("bias", (self.outputs,), "bias", None))
        return tuple(named)

    def _shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.shard_tokens, "inputs": self.inputs, "outputs": self.outputs}

    def _activation(self, name: str, p: Pass, passes: int) -> tuple[Work, ...]:
        elements = p.shard_tokens * self.outputs
        return (
            (stream(name, p, elements=elements, passes=passes, kind="activation"),) if self.activation else ()
        )

    def forward(self, p: Pass) -> Work:
        """One product, and its activation."""
        product = linear_forward("linear", p, **self._shape(p))
        return Serial("linear", (product, *self._activation("activation", p, 2)))

    def backward(self, p: Pass) -> Work:
        """Two products."""
        products = linear_backward("linear", p, **self._shape(p))
        return Serial("linear backward", (*self._activation("activation backward", p, 3), *products))

    def backward_to_data(self, p: Pass) -> Work:
        """One product: the gradient of the matrix."""
        _, of_weight = linear_backward("linear", p, **self._shape(p))
        return Serial("linear backward", (*self._activation("activation backward", p, 3), of_weight))

    def spared(self, p: Pass, *, first: bool) -> Work:
        """The gradient of an input that is data."""
        return linear_forward("linear", p, **self._shape(p)) if first else super().spared(p, first=first)

    def saved_input(self, p: Pass) -> Any:
        """The input."""
        return p.shard_tokens * self.inputs * p.element_bytes

    def saved(self, p: Pass) -> Any:
        """The input, and the result where an activation follows."""
        width = self.inputs + (self.outputs if self.activation else 0)
        return p.shard_tokens * width * p.element_bytes
