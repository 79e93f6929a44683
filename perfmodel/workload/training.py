"""One optimizer step: its batch, precision, recomputation and optimizer."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from perfmodel.errors import Faults, unknown
from perfmodel.layers.kept import Kernels
from perfmodel.specs import Spec
from perfmodel.units import Bytes
from perfmodel.workload.offload import Offload
from perfmodel.workload.optimizers import OPTIMIZERS
from perfmodel.workload.precision import PRECISIONS, Precision
from perfmodel.workload.recompute import Policy, policy_of

__all__ = ["Training"]


class Training(Spec):
    """One optimizer step of pre-training or fine-tuning.

    Examples
    --------
    >>> Training(global_batch=512, sequence_length=8192).tokens
    4194304
    >>> Training(global_batch=256, precision="fp16", optimizer="sgd_momentum", image_size=224).tokens
    0
    """

    global_batch: int = Field(gt=0, le=10**9)
    """Samples in one optimizer step: sequences, images, rows of a table [-]."""
    sequence_length: int | None = Field(default=None, gt=0, le=10**9)
    """Tokens of one sequence; None where the model fixes it, or sees images or signals [-]."""
    source_length: int | None = Field(default=None, gt=0, le=10**9)
    """Tokens, or frames of a signal, of the sequence that an encoder reads for a decoder; None is as many as the
    decoder's, or what the encoder was made for [-]."""
    image_size: int | tuple[int, int] | None = None
    """Side of a square image, or its height and width; None is what the model was made for [-]."""
    samples: int | None = Field(default=None, gt=0, le=10**9)
    """Length of a signal [-]."""
    precision: str = "bf16"
    """Number formats: bf16, fp16, tf32, fp32, fp8, mxfp8 or nvfp4."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations computed again in backward: none, some (selective), or whole layers (full)."""
    recompute_policy: str | None = None
    """A framework's policy by name, which then says what is kept: nothing_saveable, torchtitan_op, minimal,
    minimal_flash, save_dot_except_mlp, save_qkv_proj or save_out_proj."""
    recompute_modules: tuple[str, ...] = Field(default=("attention core",), min_length=1)
    """Modules that selective recomputation repeats: kinds of layer (attention, mlp, norm, mixture of experts, …) or
    parts of one (attention core, activation); Megatron-Core's names are understood, too (core_attn, moe_act, …)."""
    recompute_keep: tuple[str, ...] = ()
    """Results that full recomputation, or a named policy, keeps besides (query, key, value, output, gate, up,
    attention core, …); MaxText's names are understood, too (query_proj, out_proj, …)."""
    recompute_every: int = Field(default=1, gt=0, le=10**5)
    """Of so many layers one is recomputed; the others keep everything [-]."""
    offload: Offload = Offload()
    """What lies outside the device: activations by name; shares of weights, gradients and optimizer states."""
    optimizer: str = "adamw"
    """The optimizer: adamw, adamw_pure, adamw_8bit, adafactor, sgd_momentum, muon or lion."""
    attention: Literal["flash", "unfused"] = "flash"
    """Fused attention kernels, or products and softmax one by one with stored scores."""
    expert_imbalance: float = Field(default=1, ge=1, le=10**4)
    """Routed tokens of the busiest expert-parallel rank over their mean, where none is dropped [-]."""
    capacity_factor: float | None = Field(default=None, gt=0, le=10**4)
    """Room that each expert has, over its mean number of tokens: what is beyond is dropped, what is left empty is
    computed all the same (GShard, Switch Transformer, MaxText); None drops nothing [-]."""
    dropout: bool = False
    """Dropout in attention and residuals, with its masks and kernels."""
    kernels: Kernels = "fused"
    """Whose kernels do pointwise work, and so decide what is kept for backward: fused (Megatron-LM, Transformer
    Engine), inductor (torch.compile), xla, eager (plain PyTorch) or transformers (Hugging Face)."""
    scaling: Literal["delayed", "current"] = "delayed"
    """Scales of 8-bit tensors: from the largest values of earlier steps (delayed), or from their own, for which a
    tensor is read once more (current)."""
    gradient_dtype: Literal["fp32", "bf16", None] = None
    """Gradients accumulated and reduced in this format; None is the recipe's own (32 bits)."""
    gradient_copy: Literal["accumulated", "update", None] = None
    """A second gradient: 16-bit ones of the last pass beside those of all passes (accumulated: DeepSpeed's optimizer
    for bf16), or 16-bit ones alone with a 32-bit copy of the part that a rank updates (update: DeepSpeed's for fp16);
    None is one alone."""
    reduce_dtype: Literal["fp32", "bf16", None] = None
    """Gradients on the wire (FSDP's reduce_dtype, DeepSpeed's communication_data_type); None is as they are
    accumulated."""
    clip_gradients: bool = True
    """The norm of the whole gradient is limited: one more reading of it, and a sum over all ranks."""
    fused_optimizer: bool = True
    """A few kernels update all tensors at once; else each tensor has its own."""
    weight_dtype: Literal["fp32", None] = None
    """Weights held in 32 bits alone and cast when used (FSDP2's mixed precision, autocast); None is the recipe's own:
    16 bits with a master copy."""
    data_rate: float | None = Field(default=None, gt=0)
    """Samples that the input pipeline makes ready each second for the whole job (read, decoded, augmented); None is as
    many as are wanted [1/s]."""
    sample_bytes: Bytes | None = Field(default=None, gt=0)
    """Of one sample as it is read from the cluster's storage; None reads nothing [B]."""

    @field_validator("precision")
    @classmethod
    def _known_precision(cls, value: str) -> str:
        if value not in PRECISIONS:
            raise unknown("precision", value, PRECISIONS)
        return value

    @field_validator("recompute_policy")
    @classmethod
    def _known_policy(cls, value: str | None) -> str | None:
        policy_of("none", value, (), ())
        return value

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        if value not in OPTIMIZERS:
            raise unknown("optimizer", value, OPTIMIZERS)
        return value

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        faults = Faults("Training")
        default = type(self).model_fields["recompute_modules"].default
        if self.recompute != "selective" and self.recompute_modules != default:
            faults.add(f"recompute_modules are those of recompute = 'selective', which is {self.recompute!r}")
        if self.recompute == "none" and self.recompute_every != 1:
            faults.add(
                f"recompute_every = {self.recompute_every}, but recompute = 'none'; 'selective' or 'full' repeat"
            )
        if self.recompute_policy is not None and (
            self.recompute == "none" or self.recompute_modules != default
        ):
            faults.add(
                f"recompute_policy = {self.recompute_policy!r} says what is kept; it goes with recompute = "
                "'selective' or 'full', and without recompute_modules"
            )
        if self.recompute_keep and self.recompute != "full" and self.recompute_policy is None:
            faults.add(
                f"recompute_keep are results kept by recompute = 'full' or by a recompute_policy; recompute is "
                f"{self.recompute!r}"
            )
        if self.capacity_factor is not None and self.expert_imbalance != 1:
            faults.add(
                f"expert_imbalance = {self.expert_imbalance:g}, but capacity_factor = {self.capacity_factor:g} gives "
                "every expert the same room; leave one of them out"
            )
        faults.raise_if_any()
        return self

    @property
    def recomputation(self) -> Policy:
        """What is kept and what is computed again, as data."""
        return policy_of(self.recompute, self.recompute_policy, self.recompute_modules, self.recompute_keep)

    @property
    def policy(self) -> str:
        """What is recomputed, in words.

        Examples
        --------
        >>> Training(global_batch=1, sequence_length=1, recompute="full", recompute_every=2).policy
        'full, one layer of 2'
        """
        modules = "" if self.recompute != "selective" else ": " + ", ".join(self.recompute_modules)
        default = type(self).model_fields["recompute_modules"].default
        what = (self.recompute_policy or self.recompute) + (
            modules if self.recompute_modules != default else ""
        )
        what += " but for " + ", ".join(self.recompute_keep) if self.recompute_keep else ""
        return what + (f", one layer of {self.recompute_every}" if self.recompute_every > 1 else "")

    @property
    def formats(self) -> Precision:
        """The number formats in force."""
        base = PRECISIONS[self.precision]
        if self.weight_dtype == "fp32":
            base = base._replace(held_bytes=4, master_bytes=0)
        if not OPTIMIZERS[self.optimizer].master:
            base = base._replace(master_bytes=0)
        if self.gradient_dtype is not None:
            size = {"fp32": 4, "bf16": 2}[self.gradient_dtype]
            base = base._replace(gradient_bytes=size, reduce_bytes=size)
        if self.gradient_copy == "accumulated":
            base = base._replace(pass_gradient_bytes=base.weight_bytes)
        if self.gradient_copy == "update":
            sixteen = base.weight_bytes
            base = base._replace(gradient_bytes=sixteen, reduce_bytes=sixteen, update_bytes=4)
        if self.reduce_dtype is not None:
            base = base._replace(reduce_bytes={"fp32": 4, "bf16": 2}[self.reduce_dtype])
        return base

    @property
    def expert_load(self) -> Any:
        """Rows that the busiest rank's experts compute, over the mean number of tokens routed to a rank [-]."""
        return self.expert_imbalance if self.capacity_factor is None else self.capacity_factor

    @property
    def tokens(self) -> int:
        """Tokens of one optimizer step; 0 where no length of a sequence is given [-]."""
        return 0 if self.sequence_length is None else self.global_batch * self.sequence_length
