"""How alike texts and images of a batch are: the product of every text with every image (CLIP, SigLIP)."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight
from perfmodel.work import Matmul, Serial, Work

__all__ = ["Similarity"]


class Similarity(Layer):
    """One vector a text, one an image, and a learned temperature, with or without a learned bias."""

    width: int
    """Size of the vectors [-]."""
    bias: bool = False
    """A learned number is added."""

    def weights(self) -> tuple[Weight, ...]:
        """Temperature and bias, whole on every rank."""
        names = ("temperature", "similarity bias") if self.bias else ("temperature",)
        return tuple(Weight(name, (1,), "bias", None) for name in names)

    def _product(self, name: str, p: Pass, m: Any, n: Any, k: Any) -> Matmul:
        return Matmul(name, m, n, k, 1, p.dtype, p.operand_bytes, p.element_bytes)

    def forward(self, p: Pass) -> Work:
        """Texts times images."""
        return self._product("similarity", p, p.sequences, p.sequences, self.width)

    def backward(self, p: Pass) -> Work:
        """Gradients of the texts' vectors, and of the images'."""
        sides = ("texts", "images")
        return Serial(
            "similarity backward",
            tuple(
                self._product(f"gradient of {side}", p, p.sequences, self.width, p.sequences)
                for side in sides
            ),
        )

    def saved(self, p: Pass) -> Any:
        """Both vectors."""
        return 2 * p.sequences * self.width * p.element_bytes
