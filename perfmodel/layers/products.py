"""Products of linear layers: forward and backward, in what format, and what brings their operands into it."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.passes import Pass
from perfmodel.ops import greater, where
from perfmodel.work import Matmul

__all__ = ["linear_backward", "linear_forward"]


def linear_forward(
    name: str, p: Pass, *, tokens: Any, inputs: Any, outputs: Any, matrices: int = 1
) -> Matmul:
    """The forward product of a linear layer on this device: [tokens, inputs] · [inputs, outputs].

    Parameters
    ----------
    name : of the layer
    p : the pass
    tokens, inputs, outputs : as this device has them [-]
    matrices : that read the same input, and are products of their own where kernels are not fused [-]

    Returns
    -------
    the operator

    Examples
    --------
    >>> linear_forward("up", Pass(1, 8, 8, element_bytes=4, products="library"), tokens=8, inputs=4, outputs=2).launches
    3
    """
    if p.products == "library" and not p.decode:
        return _library_product(name, p, tokens=tokens, inputs=inputs, outputs=outputs, matrices=matrices)
    quantised = _quantise_bytes(p, tokens * inputs)
    return Matmul(
        name,
        tokens,
        outputs,
        inputs,
        1,
        p.dtype,
        p.operand_bytes,
        p.element_bytes,
        quantise_bytes=quantised,
        weight_bytes=p.weight_bytes,
        kernel=_kernel(p),
        unpacked=_unpacked(p, tokens),
        launches=matrices if p.kernels == "ggml" else 1,
    )


def _unpacked(p: Pass, tokens: Any) -> Any:
    """1 where packed weights are written out before the product of so many tokens, else 0 [-]."""
    if p.weight_bytes is None or p.unpack_rows is None:
        return 0.0
    return where(greater(p.unpack_rows, tokens), 0.0, 1.0)


def _kernel(p: Pass) -> str:
    if p.products == "rows":
        return "rows"
    if p.block_scales:
        return "blocks"
    return "vector" if p.kernels == "ggml" and p.decode else "product"


def _library_product(name: str, p: Pass, *, tokens: Any, inputs: Any, outputs: Any, matrices: int) -> Matmul:
    """A product of the vendor's library, whose operands and result kernels of their own bring into 16 bits and back."""
    apart = matrices if p.kernels == "ggml" else 1
    unpacked, cast = p.weight_bytes is not None, p.element_bytes != p.operand_bytes
    moved: Any = inputs * outputs * (p.weight_bytes + p.operand_bytes) if unpacked else 0
    if cast:
        moved = moved + tokens * (apart * inputs + outputs) * (p.element_bytes + p.operand_bytes)
    return Matmul(
        name,
        tokens,
        outputs,
        inputs,
        1,
        p.dtype,
        p.operand_bytes,
        p.operand_bytes,
        quantise_bytes=moved,
        launches=apart * (1 + unpacked + 2 * cast),
    )


def _quantise_bytes(p: Pass, elements: Any) -> Any:
    """Bytes of the kernel that brings activations into the products' format, as is and transposed [B].

    It reads 16 bits and writes two copies: the forward product needs one, the weight's gradient the other (NVIDIA
    Transformer Engine, cast-transpose). Scales of its own take another reading for the largest value. Where no backward
    follows one copy is enough.
    """
    if p.dtype == p.core_dtype:
        return 0
    reads, copies = 2 if p.current_scaling else 1, 1 if p.forward_only else 2
    return elements * (reads * p.element_bytes + copies * p.operand_bytes)


def linear_backward(name: str, p: Pass, *, tokens: Any, inputs: Any, outputs: Any) -> tuple[Matmul, Matmul]:
    """The two backward products of a linear layer: gradient of the input, and of the weight (accumulated in place).

    Parameters
    ----------
    name : of the layer
    p : the pass
    tokens, inputs, outputs : as this device has them [-]

    Returns
    -------
    the operators
    """
    quantised = _quantise_bytes(p, tokens * outputs)
    return (
        Matmul(
            name + " dgrad",
            tokens,
            inputs,
            outputs,
            1,
            p.dtype,
            p.operand_bytes,
            p.element_bytes,
            quantise_bytes=quantised,
        ),
        Matmul(name + " wgrad", inputs, outputs, tokens, 1, p.dtype, p.operand_bytes, p.gradient_bytes, True),
    )
