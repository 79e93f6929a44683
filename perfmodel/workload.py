"""What is to be run: a training step, its batch, precision, recomputation and optimizer."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from perfmodel.errors import unknown
from perfmodel.layers.kept import Kernels
from perfmodel.specs import Spec

__all__ = ["OPTIMIZERS", "PRECISIONS", "Optimizer", "Precision", "Training"]


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
    """

    dtype: str
    core_dtype: str
    operand_bytes: float
    activation_bytes: float
    weight_bytes: float
    gradient_bytes: float
    reduce_bytes: float
    master_bytes: float


PRECISIONS = {
    "bf16": Precision("bf16", "bf16", 2, 2, 2, 4, 4, 4),
    "fp16": Precision("fp16", "fp16", 2, 2, 2, 4, 4, 4),
    "tf32": Precision("tf32", "tf32", 4, 4, 4, 4, 4, 0),
    "fp32": Precision("fp32", "fp32", 4, 4, 4, 4, 4, 0),
    "fp8": Precision("fp8", "bf16", 1, 2, 2, 4, 4, 4),
    "mxfp8": Precision("fp8", "bf16", 1 + 1 / 32, 2, 2, 4, 4, 4),
    "nvfp4": Precision("fp4", "bf16", 0.5 + 1 / 16, 2, 2, 4, 4, 4),
}
"""Mixed precision keeps 32-bit gradients and a 32-bit master copy, as Megatron-LM and DeepSpeed do by default:
18 bytes a parameter with Adam. Below 16 bits only the linear layers' operands change (Micikevicius et al. 2022,
arXiv:2209.05433); mxfp8 has an 8-bit scale for 32 elements (OCP Microscaling 1.0), nvfp4 one for 16."""


class Optimizer(NamedTuple):
    """What an optimizer keeps and moves for each parameter.

    Parameters
    ----------
    state_bytes : moments kept [B]
    state_passes : times the moments cross the memory bus in one step [-]
    """

    state_bytes: float
    state_passes: float = 2


OPTIMIZERS = {"adamw": Optimizer(state_bytes=8)}
"""AdamW keeps two 32-bit moments (Loshchilov, Hutter 2019, arXiv:1711.05101)."""


class Training(Spec):
    """One optimizer step of pre-training or fine-tuning.

    Examples
    --------
    >>> Training(global_batch=512, sequence_length=8192).tokens
    4194304
    """

    global_batch: int = Field(gt=0, le=10**9)
    """Sequences in one optimizer step [-]."""
    sequence_length: int = Field(gt=0, le=10**9)
    """Tokens of one sequence [-]."""
    precision: str = "bf16"
    """Number formats: bf16, fp16, tf32, fp32, fp8, mxfp8 or nvfp4."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations computed again in backward: none, the attention core (selective), or whole layers (full)."""
    optimizer: str = "adamw"
    """The optimizer: adamw."""
    attention: Literal["flash", "unfused"] = "flash"
    """Fused attention kernels, or products and softmax one by one with stored scores."""
    dropout: bool = False
    """Dropout in attention and residuals, with its masks and kernels."""
    kernels: Kernels = "fused"
    """Whose kernels decide what is kept for backward: fused (Megatron-LM, Transformer Engine), eager (plain PyTorch) or
    transformers (Hugging Face). Memory only: times are those of fused kernels."""
    gradient_dtype: Literal["fp32", "bf16", None] = None
    """Gradients accumulated and reduced in this format; None is the recipe's own (32 bits)."""

    @field_validator("precision")
    @classmethod
    def _known_precision(cls, value: str) -> str:
        if value not in PRECISIONS:
            raise unknown("precision", value, PRECISIONS)
        return value

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        if value not in OPTIMIZERS:
            raise unknown("optimizer", value, OPTIMIZERS)
        return value

    @property
    def formats(self) -> Precision:
        """The number formats in force."""
        base = PRECISIONS[self.precision]
        if self.gradient_dtype is None:
            return base
        size = {"fp32": 4, "bf16": 2}[self.gradient_dtype]
        return base._replace(gradient_bytes=size, reduce_bytes=size)

    @property
    def tokens(self) -> int:
        """Tokens of one optimizer step [-]."""
        return self.global_batch * self.sequence_length
