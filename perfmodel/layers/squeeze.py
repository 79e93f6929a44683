"""Squeeze and excitation: each channel of an image is scaled by what a small net makes of the means of all."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, linear_backward, linear_forward, stream
from perfmodel.layers.weight import Weight
from perfmodel.work import Serial, Work

__all__ = ["SqueezeExcitation"]


class SqueezeExcitation(Layer):
    """Means of all channels, down, up again with biases, and the scaling.

    References
    ----------
    Hu et al. (2018), Squeeze-and-Excitation Networks, arXiv:1709.01507, section 3
    """

    width: int
    """Channels [-]."""
    squeezed: int
    """Width of the small net [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """Two matrices and their shifts, whole on every rank."""
        return (
            Weight("squeeze", (self.squeezed, self.width), "matrix", None),
            Weight("squeeze bias", (self.squeezed,), "bias", None),
            Weight("excitation", (self.width, self.squeezed), "matrix", None),
            Weight("excitation bias", (self.width,), "bias", None),
        )

    def _shapes(self, p: Pass) -> tuple[dict[str, Any], dict[str, Any]]:
        down = {"tokens": p.sequences, "inputs": self.width, "outputs": self.squeezed}
        return down, {"tokens": p.sequences, "inputs": self.squeezed, "outputs": self.width}

    def forward(self, p: Pass) -> Work:
        """Read all for the means; read again, scale, write."""
        down, up = self._shapes(p)
        elements = p.tokens * self.width
        return Serial("squeeze and excitation", (
            stream("squeeze", p, elements=elements, passes=1, kind="copy"),
            linear_forward("squeeze", p, **down),
            linear_forward("excitation", p, **up),
            stream("scale", p, elements=elements, passes=2, kind="copy"),
        ))  # fmt: skip

    def backward(self, p: Pass) -> Work:
        """Input and gradient read for the scales; the gradient read again, joined with that of the means, written."""
        down, up = self._shapes(p)
        elements = p.tokens * self.width
        return Serial("squeeze and excitation backward", (
            stream("scale backward", p, elements=elements, passes=2, kind="copy"),
            *linear_backward("excitation", p, **up),
            *linear_backward("squeeze", p, **down),
            stream("squeeze backward", p, elements=elements, passes=2, kind="copy"),
        ))  # fmt: skip

    def saved(self, p: Pass) -> Any:
        """The input."""
        return self.saved_input(p)

    def saved_input(self, p: Pass) -> Any:
        """All but a few numbers an image."""
        return p.tokens * self.width * p.element_bytes
