"""What is to be run: a training step, its batch, precision, recomputation and optimizer."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from perfmodel.errors import UnsupportedError, unknown
from perfmodel.specs import Spec

__all__ = ["OPTIMIZERS", "PRECISIONS", "Optimizer", "Precision", "Training"]


class Precision(NamedTuple):
    """Number formats of a training recipe.

    Parameters
    ----------
    dtype : of the matrix products; names the peak
    activation_bytes, weight_bytes : of what forward and backward read and write [B]
    gradient_bytes : of the accumulated gradient [B]
    reduce_bytes : of the gradient on the wire [B]
    master_bytes : of the optimizer's own copy of a weight; 0 where the weight itself is that copy [B]
    """

    dtype: str
    activation_bytes: float
    weight_bytes: float
    gradient_bytes: float
    reduce_bytes: float
    master_bytes: float


PRECISIONS = {
    "bf16": Precision("bf16", 2, 2, 4, 4, 4),
    "fp16": Precision("fp16", 2, 2, 4, 4, 4),
    "tf32": Precision("tf32", 4, 4, 4, 4, 0),
    "fp32": Precision("fp32", 4, 4, 4, 4, 0),
}
"""Mixed precision keeps 32-bit gradients and a 32-bit master copy, as Megatron-LM and DeepSpeed do by default:
18 bytes a parameter with Adam."""

PLANNED_PRECISIONS = ("fp8", "mxfp8", "nvfp4")


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
    """Number formats: bf16, fp16, tf32 or fp32."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations computed again in backward: none, the attention core (selective), or whole layers (full)."""
    optimizer: str = "adamw"
    """The optimizer: adamw."""
    attention: Literal["flash", "unfused"] = "flash"
    """Fused attention kernels, or products and softmax one by one with stored scores."""
    dropout: bool = False
    """Dropout in attention and residuals, with its masks and kernels."""
    gradient_dtype: Literal["fp32", "bf16", None] = None
    """Gradients accumulated and reduced in this format; None is the recipe's own (32 bits)."""

    @field_validator("precision")
    @classmethod
    def _known_precision(cls, value: str) -> str:
        if value in PLANNED_PRECISIONS:
            built = ", ".join(PRECISIONS)
            raise UnsupportedError(f"precision = {value!r} is not built yet; built: {built}; nearest: 'bf16'")
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
