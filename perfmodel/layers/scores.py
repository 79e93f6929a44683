"""Attention whose scores are stored: products and softmax one by one."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Pass
from perfmodel.layers.pointwise import Crossings, operators, softmax
from perfmodel.work import Matmul, Serial, Stream

__all__ = ["stored_core"]


def stored_core(
    p: Pass, *, batch: Any, keys: Any, key_dim: Any, value_dim: Any, wide: Any = 1, backward: bool = False,
    biased: bool = False,
) -> Serial:  # fmt: skip
    """Batched products over full score matrices: such kernels compute what the mask later drops.

    Heads change places with positions in copies. Megatron-LM's products read queries, keys and values where they lie;
    it copies the result, and backward joins three gradients. Modelling code and XLA copy all four, each way. Engines of
    inference place queries, keys and values by the kernel that adds their biases, and the result by another.

    Parameters
    ----------
    p : the pass
    batch : sequences times heads of this device [-]
    keys : positions of one sequence that are looked at [-]
    key_dim, value_dim : of one head [-]
    wide : bytes of the softmax's result over those of an activation [-]
    backward : the four products of the gradients
    biased : queries, keys and values get biases

    Returns
    -------
    the operators

    References
    ----------
    NVIDIA/Megatron-LM, CoreAttention: context_layer.permute(2, 0, 1, 3).contiguous(); transformers,
    transpose_for_scores; NVIDIA/FasterTransformer, GptContextAttentionLayer.cc: invokeAddFusedQKVBiasTranspose,
    invokeTransposeQKV; ggml-org/llama.cpp, ggml_cuda_mul_mat_batched_cublas

    Examples
    --------
    >>> core = stored_core(Pass(1, 4, 4), batch=2, keys=4, key_dim=8, value_dim=8)
    >>> [(part.name, getattr(part, "bytes", None)) for part in core.parts]
    [('scores', None), ('softmax', 128.0), ('weighted values', None), ('place heads', 256.0)]
    """
    cast = p.products == "library" and p.element_bytes != p.core_element
    stored = p.core_element if cast else p.element_bytes
    rows = p.queries / p.cp
    scores = batch * rows * keys
    inputs, result = batch * (rows * key_dim + keys * (key_dim + value_dim)), batch * rows * value_dim

    def product(name: str, m: Any, n: Any, k: Any) -> Matmul:
        return Matmul(name, m, n, k, batch, p.core_dtype, stored, stored)

    def over_scores(name: str, crossings: Crossings) -> Stream:
        name = name + " backward" if backward else name
        return operators(name, p, crossings, elements=scores, kind="softmax", backward=backward)

    mask = 1 / p.element_bytes
    dropped = (over_scores("attention dropout", Crossings(2 + mask, 2 + mask)),) if p.dropout else ()
    soft = over_scores("softmax", softmax(p.kernels, wide=wide))
    if cast:  # scores to 32 bits, their softmax back
        moved = 2 * scores * (p.element_bytes + p.core_element)
        soft = soft._replace(bytes=soft.bytes + moved, launches=soft.launches + 2)
    placed = _placed(p, inputs, result, backward=backward, biased=biased)
    if cast:  # queries, and what is weighed; a kernel each lists where the heads of a batched product lie
        moved = batch * rows * (key_dim + value_dim) * (p.element_bytes + p.core_element)
        placed = placed._replace(bytes=placed.bytes + moved, launches=placed.launches + 4)
    if not backward:
        first, last = (
            product("scores", rows, keys, key_dim),
            product("weighted values", rows, value_dim, keys),
        )
        return Serial("core", (first, soft, *dropped, last, placed))
    values = (product("values dgrad", keys, value_dim, rows), product("weights dgrad", rows, keys, value_dim))
    gradients = (product("queries dgrad", rows, key_dim, keys), product("keys dgrad", keys, key_dim, rows))
    return Serial("core backward", (*values, *dropped, soft, *gradients, placed))


def _placed(p: Pass, inputs: Any, result: Any, *, backward: bool, biased: bool) -> Stream:
    """Copies that bring heads next to their positions, or back: read and written."""
    if p.kernels == "fused" and p.forward_only and biased and not p.decode:
        moved, launches = inputs + result, 2
    elif p.kernels in ("fused", "inductor"):
        moved, launches = (inputs, 1) if backward else (result, 1)
    elif p.kernels == "ggml":  # keys and values go into the cache by copies of their own
        moved, launches = (inputs, 3) if backward else (result, 3)
    else:
        moved, launches = inputs + result, 4
    name = "place heads backward" if backward else "place heads"
    return Stream(name, 2 * moved * p.element_bytes, "copy", launches)
