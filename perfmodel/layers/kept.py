"""What kernels leave behind for backward: fused ones their inputs, framework code its copies, tables and masks."""

from __future__ import annotations

from typing import Any, Literal, get_args

__all__ = ["KERNELS", "Kernels", "Products", "activation_tensors", "compiled", "composed", "norm_bytes"]

Kernels = Literal["fused", "inductor", "xla", "ggml", "eager", "transformers"]
"""Whose kernels run: what they keep is told here, how often they cross the memory bus in `pointwise`.

fused: norms, rotations and gated activations are one kernel each and keep their input alone, as in Megatron-LM with
    Transformer Engine (Korthikanti et al. 2022, arXiv:2205.05198, section 4.1); statistics of a few bytes a token are
    left out.
inductor, xla: what compilers make of a graph keeps as much as fused kernels; torch.compile falls back to single
    operators for complex numbers, XLA's fusions of before 2023 end at a reduction.
ggml: each node of llama.cpp's graph is a kernel: a norm and its scale, an activation and the product that it gates,
    each rotation, softmax with its mask. Nodes hand each other 32 bits (ggml-org/llama.cpp, llm_build_norm,
    llm_build_ffn, llm_build_kqv).
eager: plain PyTorch operators, every layer for itself: RMSNorm computes in 32 bits and keeps its input and its result
    in them, norms keep their statistics, grouped keys and values are repeated to all heads, rotary tables and boolean
    masks belong to each layer (counted by torch 2.13's saved_tensors_hooks on the CPU, where the statistics of a
    LayerNorm have the input's format).
transformers: the modelling code of Hugging Face transformers 5.23: as eager, but RMSNorm's result is cast back before
    the scale, rotary tables and masks are shared by all layers, fused attention reads grouped keys as they are, and
    softmax is taken in 32 bits.
"""
KERNELS: tuple[str, ...] = get_args(Kernels)

Products = Literal["own", "library", "rows"]
"""Whose products of linear layers run in inference.

own: kernels that unpack weights of few bits on the way.
library: in prompts those of the vendor's library, which takes 16 bits: kernels of their own unpack weights of fewer
    before it, and cast activations of more before and after it (cuBLAS, hipBLAS).
rows: a kernel for one row, run over all rows, each of which streams the matrix anew: from the cache, as far as rows
    run together.
"""

COMPOSED = {"gelu_new": 3, "gelu_fast": 6, "quick_gelu": 1, "relu": -1}
"""Tensors that an activation keeps beyond its input and its result: more where it is written in several operators, one
less where the result says enough [-]."""


def norm_bytes(kernels: Kernels, kind: str, element_bytes: Any, *, width: Any, rows: Any) -> Any:
    """Bytes that a norm keeps for backward.

    Parameters
    ----------
    kernels : whose
    kind : layer or rms
    element_bytes : of an activation [B]
    width : normalised dimension [-]
    rows : normalised vectors [-]

    Returns
    -------
    bytes kept [B]

    Examples
    --------
    >>> [norm_bytes(kernels, "rms", 2, width=1024, rows=1) for kernels in KERNELS]
    [2048, 2048, 2048, 2048, 8196, 6148]
    """
    if not composed(kernels):
        return rows * width * element_bytes
    if kind == "layer":
        return rows * (width + 2) * element_bytes
    # the 32-bit input, the normalised input, one 32-bit reciprocal root a row
    normalised = 4 if kernels == "eager" else element_bytes
    return rows * (width * (4 + normalised) + 4)


def composed(kernels: Kernels) -> bool:
    """Whether pointwise operations are single operators of a framework instead of one kernel."""
    return kernels in ("eager", "transformers")


def compiled(kernels: Kernels) -> bool:
    """Whether a compiler has fused pointwise operations."""
    return kernels in ("inductor", "xla")


def activation_tensors(kernels: Kernels, activation: str, *, gated: bool) -> int:
    """Tensors of the inner width that a feed-forward block keeps, what the down projection reads included.

    Parameters
    ----------
    kernels : whose
    activation : name of the non-linearity, as Hugging Face's configurations spell it
    gated : a second up-projection is multiplied with the activation

    Returns
    -------
    tensors [-]

    Examples
    --------
    >>> [activation_tensors(kernels, "silu", gated=True) for kernels in KERNELS]
    [3, 3, 3, 3, 4, 4]
    >>> activation_tensors("transformers", "gelu_new", gated=False)
    5
    """
    fused = 3 if gated else 2
    return fused + (gated + COMPOSED.get(activation, 0) if composed(kernels) else 0)
