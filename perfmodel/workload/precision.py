"""Number formats of training recipes."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PRECISIONS", "Precision"]


class Precision(NamedTuple):
    """Number formats of a training recipe.

    Parameters
    ----------
    dtype : of the linear layers' products; names the peak
    core_dtype : of attention and of the output head, which stay in 16 bits where the linear layers go below
    operand_bytes : of an element that enters a linear layer's product, scales included [B]
    activation_bytes, weight_bytes : of what forward and backward read and write [B]
    gradient_bytes : of the accumulated gradient [B]
    reduce_bytes : of the gradient on the wire [B]
    master_bytes : of the optimizer's own copy of a weight; 0 where the weight itself is that copy [B]
    held_bytes : of a weight as it lies in memory [B]
    pass_gradient_bytes : of a gradient of one pass that is kept beside the accumulated one [B]
    update_bytes : of the copy of a gradient that is made for the update, of the part that a rank updates [B]
    """

    dtype: str
    core_dtype: str
    operand_bytes: float
    activation_bytes: float
    weight_bytes: float
    gradient_bytes: float
    reduce_bytes: float
    master_bytes: float
    held_bytes: float
    pass_gradient_bytes: float = 0
    update_bytes: float = 0


PRECISIONS = {
    "bf16": Precision("bf16", "bf16", 2, 2, 2, 4, 4, 4, 2),
    "fp16": Precision("fp16", "fp16", 2, 2, 2, 4, 4, 4, 2),
    "tf32": Precision("tf32", "tf32", 4, 4, 4, 4, 4, 0, 4),
    "fp32": Precision("fp32", "fp32", 4, 4, 4, 4, 4, 0, 4),
    "fp8": Precision("fp8", "bf16", 1, 2, 2, 4, 4, 4, 2),
    "mxfp8": Precision("fp8", "bf16", 1 + 1 / 32, 2, 2, 4, 4, 4, 2),
    "nvfp4": Precision("fp4", "bf16", 0.5 + 1 / 16, 2, 2, 4, 4, 4, 2),
}
"""Mixed precision keeps 32-bit gradients and a 32-bit master copy, as Megatron-LM and DeepSpeed do by default:
18 bytes a parameter with Adam. Below 16 bits only the linear layers' operands change (Micikevicius et al. 2022,
arXiv:2209.05433); mxfp8 has an 8-bit scale for 32 elements (OCP Microscaling 1.0), nvfp4 one for 16."""
