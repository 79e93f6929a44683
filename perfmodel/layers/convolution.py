"""Convolutions over signals and images: strided, grouped, depthwise, transposed."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from perfmodel.errors import InputError
from perfmodel.layers.base import Layer, Pass, Weight
from perfmodel.ops import floor
from perfmodel.work import Matmul, Serial, Work

__all__ = ["Convolution", "TransposedConvolution"]

Sizes = Annotated[tuple[int, ...], Field(min_length=1, max_length=2)]
"""One number a dimension: height and width of an image, or the length of a signal."""


def product(name: str, p: Pass, shape: tuple[Any, Any, Any, Any], moved: Any, result: Any) -> Matmul:
    """A convolution as the matrix product it is (implicit GEMM), with the bytes that really move.

    Parameters
    ----------
    name : of the operator
    p : the pass
    shape : rows, columns, inner length, groups [-]
    moved : elements of both operands, each of them once however many products it enters [-]
    result : elements of the result [-]

    Returns
    -------
    the operator
    """
    m, n, k, groups = shape
    operand_bytes = p.operand_bytes * moved / (groups * k * (m + n))
    result_bytes = p.element_bytes * result / (groups * m * n)
    return Matmul(name, m, n, k, groups, p.dtype, operand_bytes, result_bytes, kernel="convolution")


PLAIN = ("fp32", "fp64")
"""Number formats that the matrix units of GPUs don't take."""


def padded_channels(channels: int, dtype: str) -> int:
    """Channels that a matrix unit sees: pieces of 16 bytes, or four channels where an image has no more.

    Parameters
    ----------
    channels : of one group [-]
    dtype : number format of the product

    Returns
    -------
    channels, padding included [-]

    References
    ----------
    NVIDIA, Convolutional Layers User's Guide, section Channels In And Out: divisible by 8 for FP16, by 4 for TF32; 3
    channels of a first layer are padded to 4

    Examples
    --------
    >>> [padded_channels(n, "fp16") for n in (3, 12, 64)], padded_channels(3, "fp32")
    ([4, 16, 64], 3)
    """
    if dtype in PLAIN:
        return channels
    piece = 4 if channels <= 4 or dtype == "tf32" else 8
    return -(-channels // piece) * piece


class Convolution(Layer):
    """A convolution in one dimension or two; every tensor-parallel rank computes it whole."""

    inputs: Annotated[int, Field(ge=1)]
    """Channels that enter [-]."""
    outputs: Annotated[int, Field(ge=1)]
    """Channels that leave [-]."""
    kernel: Sizes
    """Taps along each dimension; how many there are says whether images or signals enter [-]."""
    stride: Sizes = (1,)
    """Positions from one result to the next; one number stands for all dimensions [-]."""
    padding: Sizes = (0,)
    """Zeros added on both sides [-]."""
    dilation: Sizes = (1,)
    """Positions from one tap to the next [-]."""
    groups: Annotated[int, Field(ge=1)] = 1
    """Channels are convolved in so many groups; as many as channels is depthwise [-]."""
    bias: bool = True
    """Has a shift a channel that leaves."""
    norm_scales: int = 0
    """Learned scales of a normalised weight, held beside it [-]."""
    cut: int = 0
    """Results dropped at the end of each dimension, to leave as many positions as came [-]."""
    shortcut: bool = False
    """Stands beside the layers that follow and enters where they enter: they don't see its result's extent."""

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        for what, channels in (("inputs", self.inputs), ("outputs", self.outputs)):
            if channels % self.groups:
                raise InputError(f"convolution: groups = {self.groups} must divide {what} = {channels}")
        return self

    @property
    def taps(self) -> int:
        """Positions that one result looks at [-]."""
        return math.prod(self.kernel)

    def weights(self) -> tuple[Weight, ...]:
        """The filters, their scales and the shift, whole on every rank."""
        shape = (self.outputs, self.inputs // self.groups, *self.kernel)
        named = [Weight("filters", shape, "matrix", None)]
        if self.norm_scales:
            ones = (1,) * len(self.kernel)
            named.append(Weight("filter scales", (*ones, self.norm_scales), "channel", None))
        if self.bias:
            named.append(Weight("bias", (self.outputs,), "bias", None))
        return tuple(named)

    def _computed(self, p: Pass) -> tuple[Any, ...]:
        """Results along each dimension [-]."""
        if len(p.extent) != len(self.kernel):
            what = "image_size" if len(self.kernel) == 2 else "samples, or source_length"
            raise InputError(f"a convolution needs to know what enters: give {what}")
        n = len(self.kernel)
        each = zip(
            p.extent, self.kernel, _each(self.stride, n), _each(self.padding, n), _each(self.dilation, n),
            strict=True,
        )  # fmt: skip
        return tuple(
            floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1
            for size, kernel, stride, padding, dilation in each
        )

    def after(self, p: Pass) -> Pass:
        """Every result is a position."""
        return p if self.shortcut else p.of_extent(*(size - self.cut for size in self._computed(p)))

    def _elements(self, p: Pass) -> tuple[Any, Any, Any, Any]:
        """Positions computed, and elements of input, filters and result [-]."""
        rows = p.sequences * math.prod(self._computed(p)) / p.cp
        filters = self.outputs * (self.inputs // self.groups) * self.taps
        return rows, p.tokens * self.inputs, filters, rows * self.outputs

    def _widths(self) -> tuple[int, int]:
        return self.inputs // self.groups * self.taps, self.outputs // self.groups

    def _effort(self, p: Pass) -> Any:
        """Multiplications done over those counted: padding, or minimal filtering on units that only multiply-add.

        F(2 × 2, 3 × 3) makes four results of 16 multiplications instead of 36.

        References
        ----------
        Lavin, Gray (2016), Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308; cuDNN takes it for
        filters of 3 × 3 without strides and groups
        """
        once = all(size == 1 for size in (*self.stride, *self.dilation, self.groups))
        if p.dtype == "fp32":
            return 16 / 36 if self.kernel == (3, 3) and once else 1
        sizes = (self.inputs // self.groups, self.outputs // self.groups)
        return math.prod(padded_channels(size, p.dtype) / size for size in sizes)

    def _product(self, name: str, p: Pass, shape: tuple[Any, Any, Any], moved: Any, result: Any) -> Matmul:
        return product(name, p, (*shape, self.groups), moved, result)._replace(effort=self._effort(p))

    def forward(self, p: Pass) -> Work:
        """One product a group: positions × channels that leave × taps."""
        rows, entering, filters, leaving = self._elements(p)
        taps, outputs = self._widths()
        return self._product("convolution", p, (rows, outputs, taps), entering + filters, leaving)

    def backward(self, p: Pass) -> Work:
        """Gradients of the input and of the filters."""
        rows, entering, filters, leaving = self._elements(p)
        taps, outputs = self._widths()
        of_input = self._product("convolution dgrad", p, (rows, taps, outputs), leaving + filters, entering)
        return Serial("convolution backward", (of_input, self.backward_to_data(p)))

    def backward_to_data(self, p: Pass) -> Work:
        """The gradient of the filters, accumulated in place."""
        rows, entering, filters, leaving = self._elements(p)
        taps, outputs = self._widths()
        of_filters = self._product("convolution wgrad", p, (taps, outputs, rows), entering + leaving, filters)
        each = p.gradient_bytes * filters / (taps * outputs * self.groups)
        return of_filters._replace(result_bytes=each, accumulate=True)

    def spared(self, p: Pass, *, first: bool) -> Work:
        """The gradient of pixels or samples."""
        return self.forward(p) if first else super().spared(p, first=first)

    def saved(self, p: Pass) -> Any:
        """The input."""
        return p.tokens * self.inputs * p.element_bytes

    def saved_input(self, p: Pass) -> Any:
        """The input is all it keeps."""
        return self.saved(p)


class TransposedConvolution(Layer):
    """A convolution backwards, without overlap: every position becomes a block of `kernel` positions."""

    inputs: int
    """Channels that enter [-]."""
    outputs: int
    """Channels that leave [-]."""
    kernel: Sizes
    """Positions along each dimension that one becomes [-]."""

    @property
    def _width(self) -> int:
        return self.outputs * math.prod(self.kernel)

    def weights(self) -> tuple[Weight, ...]:
        """The filters and a shift, whole on every rank."""
        filters = Weight("filters", (self.inputs, self.outputs, *self.kernel), "matrix", None)
        return (filters, Weight("bias", (self.outputs,), "bias", None))

    def after(self, p: Pass) -> Pass:
        """More positions."""
        return p.of_extent(*(size * taps for size, taps in zip(p.extent, self.kernel, strict=True)))

    def forward(self, p: Pass) -> Work:
        """One product."""
        sizes = (p.tokens * self.inputs, self.inputs * self._width, p.tokens * self._width)
        entering, filters, leaving = sizes
        shape = (p.tokens, self._width, self.inputs, 1)
        return product("transposed convolution", p, shape, entering + filters, leaving)

    def backward(self, p: Pass) -> Work:
        """Gradients of the input and of the filters."""
        sizes = (p.tokens * self.inputs, self.inputs * self._width, p.tokens * self._width)
        entering, filters, leaving = sizes
        name = "transposed convolution"
        of_input, of_filters = (
            (p.tokens, self.inputs, self._width, 1),
            (self.inputs, self._width, p.tokens, 1),
        )
        return Serial(
            name + " backward",
            (
                product(name + " dgrad", p, of_input, leaving + filters, entering),
                product(name + " wgrad", p, of_filters, leaving + entering, filters)._replace(
                    accumulate=True
                ),
            ),
        )

    def saved(self, p: Pass) -> Any:
        """The input."""
        return p.tokens * self.inputs * p.element_bytes


def _each(sizes: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    return sizes * dimensions if len(sizes) == 1 else sizes
