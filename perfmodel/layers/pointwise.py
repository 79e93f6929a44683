"""How often pointwise operators cross the memory bus: once where one kernel does all, else an operator at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.layers.base import Pass
from perfmodel.layers.kept import Kernels
from perfmodel.work import Stream

__all__ = [
    "Crossings", "activation", "bias_gradient", "norm", "operators", "repeats_keys", "rotation",
    "softmax",
]  # fmt: skip


class Crossings(NamedTuple):
    """Tensors read and written, counted in the format of activations, and the kernels that do it.

    Parameters
    ----------
    forward, backward : tensors of the operand's size [-]
    launches, backward_launches : kernels [-]
    """

    forward: Any
    backward: Any
    launches: int = 1
    backward_launches: int = 1


def operators(
    name: str,
    p: Pass,
    crossings: Crossings,
    *,
    elements: Any,
    kind: str,
    copies: int = 1,
    backward: bool = False,
) -> Stream:
    """Pointwise work as one leaf of the tree.

    Parameters
    ----------
    name : of the work
    p : the pass
    crossings : how often its operand crosses the bus, in how many kernels
    elements : of the operand [-]
    kind : streaming efficiency that applies
    copies : tensors that the operand consists of, each with kernels of its own [-]
    backward : the work of the gradient

    Examples
    --------
    >>> operators("norm", Pass(1, 4, 4, kernels="xla"), norm("xla", "layer", 2), elements=32, kind="norm")
    Stream(name='norm', bytes=256, kind='norm', launches=3, joins=None)
    """
    passes = crossings.backward if backward else crossings.forward
    launches = crossings.backward_launches if backward else crossings.launches
    return Stream(name, elements * passes * p.element_bytes, kind, copies * launches)


WRITTEN_OUT = {
    "gelu_new": Crossings(18, 27, 8, 12),
    "gelu_fast": Crossings(18, 27, 8, 12),
    "quick_gelu": Crossings(7, 14, 3, 5),
}
"""Activations that modelling code writes out, each operator a kernel: 0.5 x (1 + tanh(c (x + a x^3))) is power,
product, sum, product, tanh, sum and two products; x sigmoid(1.702 x) is three. Each goes back by itself, and gradients
that meet are added."""


def norm(kernels: Kernels, kind: str, element_bytes: Any) -> Crossings:
    """A norm over the width.

    One kernel reads and writes; backward reads input and gradient and writes one. torch's LayerNorm has a second kernel
    that reads both for the scale's gradient, and so has a compiler. XLA's fusions end at a reduction: mean, variance
    and result read the input each. In ggml the scale is a product of its own. RMSNorm in modelling code is cast,
    square, mean, product, scale, cast, in 32 bits.

    Parameters
    ----------
    kernels : whose
    kind : layer or rms
    element_bytes : of an activation [B]

    References
    ----------
    torch, aten/native/cuda/layer_norm_kernel.cu; transformers, LlamaRMSNorm; Snider, Liang (2023), Operator Fusion in
    XLA: Analysis and Evaluation, arXiv:2301.13062

    Examples
    --------
    >>> norm("fused", "rms", 2).forward, norm("transformers", "rms", 2).forward, norm("xla", "layer", 2).forward
    (2, 18.0, 4)
    """
    if kernels == "fused":
        return Crossings(2, 3, 1, 2)
    if kernels == "xla":
        return Crossings(4, 7, 3, 3)
    if kernels == "ggml":
        return Crossings(4, 7, 2, 4)
    if kind == "layer" or kernels == "inductor":
        return Crossings(2, 5, 1, 2)
    wide = 4 / element_bytes
    cast = 0 if wide == 1 else 1 + wide
    # square, mean and product, then the scale: in 32 bits where it comes before the cast
    scale = 2 * wide if kernels == "eager" else 2
    scale_back = 6 * wide if kernels == "eager" else 6
    # product: two gradients and a sum over the row; square: two products; both joined
    back = (2 + 4 + 5 + 3) * wide
    casts = 2 if cast else 0
    return Crossings(5 * wide + scale + 2 * cast, back + scale_back + 2 * cast, 6 + casts, 10 + casts)


def activation(kernels: Kernels, name: str, *, gated: bool) -> Crossings:
    """The non-linearity of a feed-forward block; a gated one is multiplied with the second projection.

    Single operators write the activated gate, and read it again for the product.

    Parameters
    ----------
    kernels : whose
    name : of the non-linearity, as Hugging Face's configurations spell it
    gated : a second up-projection is multiplied with the activation

    Examples
    --------
    >>> [activation(kernels, "silu", gated=True)[:2] for kernels in ("fused", "eager")]
    [(3, 5), (5, 9)]
    >>> activation("transformers", "gelu_new", gated=False)[:2]
    (18, 27)
    """
    if kernels in ("fused", "inductor", "xla"):
        return Crossings(3, 5) if gated else Crossings(2, 3)
    alone = Crossings(2, 3) if kernels == "ggml" else WRITTEN_OUT.get(name, Crossings(2, 3))
    if not gated:
        return alone
    return Crossings(alone.forward + 3, alone.backward + 6, alone.launches + 1, alone.backward_launches + 2)


def rotation(kernels: Kernels, element_bytes: Any) -> Crossings:
    """Queries and keys rotated by position; kernels are those of both.

    Modelling code multiplies with the cosine, puts the halves together in turn, multiplies with the sine and adds; each
    goes back by itself. torch's compiler makes no code for complex numbers, as which torchtitan rotates: a cast to 32
    bits, a product and a cast back.

    Parameters
    ----------
    kernels : whose
    element_bytes : of an activation [B]

    References
    ----------
    transformers, apply_rotary_pos_emb; pytorch/torchtitan, apply_rotary_emb (view_as_complex); torch,
    _inductor/lowering.py: "Torchinductor does not support code generation for complex operators"

    Examples
    --------
    >>> [rotation(kernels, 2).forward for kernels in ("fused", "eager", "inductor")]
    [2, 10, 10.0]
    """
    if kernels in ("fused", "xla", "ggml"):
        return Crossings(2, 2, 2, 2) if kernels == "ggml" else Crossings(2, 2)
    if kernels == "inductor":
        wide = 4 / element_bytes
        cast = 0 if wide == 1 else 1 + wide
        return Crossings(2 * wide + 2 * cast, 2 * wide + 2 * cast, 6, 6)
    # products 2 + 2, negation 1, joined 2, sum 3; back: products 4, negation 1, halves into zeros 4, two sums 6
    return Crossings(10, 15, 10, 18)


def softmax(kernels: Kernels, *, wide: Any = 1) -> Crossings:
    """Softmax over stored scores, with the scale and the mask before it.

    Single operators scale, mask and take the softmax; XLA reads the scores for the largest, for the sum and for the
    result.

    Parameters
    ----------
    kernels : whose
    wide : bytes of the softmax's result over those of an activation, where it is taken in 32 bits and cast back [-]

    Examples
    --------
    >>> softmax("fused")[:2], softmax("eager")[:2], softmax("transformers", wide=2)[:2], softmax("xla")[:2]
    ((2, 3), (6, 5), (10, 14), (4, 5))
    """
    if kernels in ("fused", "inductor", "ggml"):
        return Crossings(2, 3)
    if kernels == "xla":
        return Crossings(4, 5, 3, 2)
    if wide == 1:
        return Crossings(6, 5, 3, 2)
    casts = 2 * (1 + wide)  # forward, the softmax itself is the first of them
    return Crossings(4 + casts, 2 + casts + 3 * wide, 4, 4)


def bias_gradient(name: str, p: Pass, width: Any) -> tuple[Stream, ...]:
    """A reading of a gradient that sums it over the tokens; fused kernels do it beside the product.

    Forward, the product adds the shift.

    Parameters
    ----------
    name : of the linear layer
    p : the pass
    width : of its output on this device [-]

    References
    ----------
    NVIDIA cuBLAS, CUBLASLT_EPILOGUE_BIAS and CUBLASLT_EPILOGUE_BGRADB; torch's linear layer uses the first alone

    Examples
    --------
    >>> bias_gradient("up", Pass(1, 4, 4), 8), bias_gradient("up", Pass(1, 4, 4, kernels="eager"), 8)
    ((), (Stream(name='up bias backward', bytes=64.0, kind='copy', launches=1, joins=None),))
    """
    if p.kernels == "fused":
        return ()
    return (Stream(f"{name} bias backward", p.tokens * width * p.element_bytes, "copy"),)


def repeats_keys(kernels: Kernels, *, fused: bool) -> bool:
    """Whether grouped keys and values are copied to all heads before attention.

    Parameters
    ----------
    kernels : whose
    fused : attention is one kernel

    References
    ----------
    pytorch/torchtitan and transformers, repeat_kv; transformers' fused attention takes grouped keys as they are
    """
    return kernels in ("eager", "inductor") or (kernels == "transformers" and not fused)
