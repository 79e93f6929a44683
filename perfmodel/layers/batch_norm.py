"""Normalisation over the batch (BatchNorm) or over groups of channels (GroupNorm), and activations on their own."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Layer, Pass, Weight, stream
from perfmodel.layers.kept import composed
from perfmodel.work import Serial, Work

__all__ = ["Activation", "BatchNorm", "GroupNorm", "LayerScale"]


class BatchNorm(Layer):
    """A norm of each channel over batch and positions, what is added to it, and the non-linearity that follows.

    Fused kernels do all of it at once: cuDNN's, for channels-last images in 16 bits. Plain operators are a kernel each.
    Its running mean and variance are no parameters. Long tensors stream as a copy does.

    References
    ----------
    NVIDIA cuDNN, cudnnBatchNormalizationForwardTrainingEx: CUDNN_BATCHNORM_OPS_BN_ADD_ACTIVATION
    """

    width: int
    """Channels [-]."""
    activation: str = ""
    """Name of the non-linearity that follows, in place; "" is none."""
    adds: int = 0
    """Tensors of the same size that are added before it: the shortcut [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """Scale and shift."""
        return tuple(Weight(name, (self.width,), "norm", None) for name in ("weight", "bias"))

    def forward(self, p: Pass) -> Work:
        """Read for the statistics, read again with what is added, write; statistics of inference are known."""
        if p.forward_only:
            return self._inferred(p)
        parts = {"batch norm": 3, "add": 3 * self.adds, "activation": 2 if self.activation else 0}
        return self._kernels(p, "batch norm", parts, fused=3 + self.adds)

    def _inferred(self, p: Pass) -> Work:
        """With known statistics it is a scale and a shift, which fused kernels have put into the convolution before.

        The non-linearity goes with that, too; what is added is read beside. A compiler joins all of it in one kernel.

        References
        ----------
        NVIDIA TensorRT Developer Guide, Layer Fusion: convolution and scale, convolution and ReLU, convolution and
        element-wise sum
        """
        if p.kernels == "fused":
            elements = p.tokens * self.width
            added = stream("add", p, elements=elements, passes=self.adds, kind="copy", launches=0)
            return Serial("batch norm", (added,) if self.adds else ())
        parts = {"batch norm": 2, "add": 3 * self.adds, "activation": 2 if self.activation else 0}
        return self._kernels(p, "batch norm", parts, fused=2 + self.adds)

    def backward(self, p: Pass) -> Work:
        """Input and gradient read twice, a gradient written.

        The mask of the non-linearity is a bit an element and not counted where it is fused; by itself it reads its
        result. What was added gets the masked gradient: written where that is fused, and joined where the shortcut
        began, by the convolution that writes there or by a kernel of its own.
        """
        parts = {"activation": 3 if self.activation else 0, "batch norm": 5, "join": 3 * self.adds}
        return self._kernels(p, "batch norm backward", parts, fused=5 + 2 * self.adds)

    def _kernels(self, p: Pass, name: str, parts: dict[str, int], *, fused: int) -> Work:
        elements = p.tokens * self.width
        if not composed(p.kernels) and p.dtype not in ("tf32", "fp32"):
            return stream(name, p, elements=elements, passes=fused, kind="copy")
        return Serial(name, tuple(
            stream(part, p, elements=elements, passes=passes, kind="copy") for part, passes in parts.items() if passes
        ))  # fmt: skip

    def saved(self, p: Pass) -> Any:
        """The input; results of the non-linearity are inputs of what follows."""
        return p.tokens * self.width * p.element_bytes

    def saved_input(self, p: Pass) -> Any:
        """The input is all it keeps."""
        return self.saved(p)


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
        return stream("activation", p, elements=p.tokens * self.width, passes=2, kind="copy")

    def backward(self, p: Pass) -> Work:
        """Input and gradient read, a gradient written."""
        return stream("activation backward", p, elements=p.tokens * self.width, passes=3, kind="copy")

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
