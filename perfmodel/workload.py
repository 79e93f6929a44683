"""What is to be run: a training step, its batch, precision, recomputation and optimizer."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from perfmodel.errors import Faults, unknown
from perfmodel.layers import Weight
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
    held_bytes : of a weight as it lies in memory [B]
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


Scope = Literal["all", "tables", "hidden matrices", "large"]
"""Tensors that an optimizer treats in its own way: all, those with rows and columns, matrices but for embeddings and
head, or those of 4096 parameters and more."""


class Optimizer(NamedTuple):
    """What an optimizer keeps and moves for each parameter.

    Parameters
    ----------
    state_bytes : kept for each parameter of a tensor in its scope [B]
    state_passes : times the states cross the memory bus in one step [-]
    scope : tensors it treats in its own way
    other_bytes : kept for each parameter of other tensors [B]
    factor_bytes : kept for each row and each column of a tensor in its scope [B]
    block, scale_bytes : parameters that share scales [-], and those scales [B]
    like_weights : states have the format of the weights, and are given here as in 32 bits
    master : 16-bit weights have a 32-bit copy that is updated in their stead
    """

    state_bytes: float
    state_passes: float = 2
    scope: Scope = "all"
    other_bytes: float = 0
    factor_bytes: float = 0
    block: int = 1
    scale_bytes: float = 0
    like_weights: bool = False
    master: bool = True

    @property
    def uniform(self) -> bool:
        """Whether every parameter has the same states."""
        return self.scope == "all" and self.block == 1

    def bytes_each(self, weight_bytes: float = 4) -> float:
        """States of a parameter of a tensor in its scope, scales and factors left out [B]."""
        return self.state_bytes * (weight_bytes / 4 if self.like_weights else 1)

    def treats(self, weight: Weight) -> bool:
        """Whether a tensor is in its scope."""
        match self.scope:
            case "tables":
                return len(weight.shape) > 1
            case "hidden matrices":
                return len(weight.shape) > 1 and weight.kind == "matrix"
            case "large":
                return weight.size >= 4096
            case _:
                return True

    def bytes_of(self, weight: Weight, weight_bytes: float = 4) -> float:
        """States of a whole tensor.

        Parameters
        ----------
        weight : the tensor
        weight_bytes : of one of its parameters [B]

        Returns
        -------
        bytes kept [B]

        Examples
        --------
        >>> [optimizer.bytes_of(Weight("up", (1024, 4096))) / 2**20 for optimizer in OPTIMIZERS.values()]
        [32.0, 32.0, 8.125, 0.01953125, 16.0, 16.0, 16.0]
        """
        size, scaled = weight.size, weight_bytes / 4 if self.like_weights else 1
        if not self.treats(weight):
            return scaled * self.other_bytes * size
        factors = size // weight.shape[-1] + size // weight.shape[-2] if self.factor_bytes else 0
        blocks = -(-size // self.block)
        return scaled * (self.state_bytes * size + self.factor_bytes * factors + self.scale_bytes * blocks)


OPTIMIZERS = {
    "adamw": Optimizer(state_bytes=8),
    "adamw_pure": Optimizer(state_bytes=8, like_weights=True, master=False),
    "adamw_8bit": Optimizer(2, scope="large", other_bytes=8, block=256, scale_bytes=8, master=False),
    "adafactor": Optimizer(0, scope="tables", other_bytes=4, factor_bytes=4),
    "sgd_momentum": Optimizer(state_bytes=4),
    "muon": Optimizer(4, scope="hidden matrices", other_bytes=8),
    "lion": Optimizer(state_bytes=4),
}
"""AdamW keeps two 32-bit moments (Loshchilov, Hutter 2019, arXiv:1711.05101); pure, as torch.optim.AdamW on 16-bit
parameters, both in the parameters' format and no master copy. In 8 bits each moment has a byte and a 32-bit scale for
256 parameters, and tensors of less than 4096 stay in 32 bits (Dettmers et al. 2022, arXiv:2110.02861; bitsandbytes
0.44, pull request 1365); the weights are updated as they are. Adafactor keeps a number for each row and each column,
for vectors each entry, and no first moment (Shazeer, Stern 2018, arXiv:1804.04235); tensors count as the layer lists
them, a merged query-key-value matrix as one. SGD has one momentum (Sutskever et al. 2013, ICML), and so has Lion (Chen
et al. 2023, arXiv:2302.06675). Muon has one for hidden matrices and leaves the rest to AdamW (Jordan 2024,
kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv:2502.16982); the products of its orthogonalisation, less than
1 % of a step there, are not counted. Step counters, 4 bytes a tensor in torch, are not counted either."""


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
    """Activations computed again in backward: none, named modules (selective), or whole layers (full)."""
    recompute_modules: tuple[str, ...] = Field(default=("attention core",), min_length=1)
    """Modules that selective recomputation repeats: kinds of layer (attention, mlp, norm, mixture of experts, …) or
    parts of one (attention core, activation)."""
    recompute_every: int = Field(default=1, gt=0, le=10**5)
    """Of so many layers one is recomputed; the others keep everything [-]."""
    optimizer: str = "adamw"
    """The optimizer: adamw, adamw_pure, adamw_8bit, adafactor, sgd_momentum, muon or lion."""
    attention: Literal["flash", "unfused"] = "flash"
    """Fused attention kernels, or products and softmax one by one with stored scores."""
    dropout: bool = False
    """Dropout in attention and residuals, with its masks and kernels."""
    kernels: Kernels = "fused"
    """Whose kernels decide what is kept for backward: fused (Megatron-LM, Transformer Engine), eager (plain PyTorch) or
    transformers (Hugging Face). Memory only: times are those of fused kernels."""
    gradient_dtype: Literal["fp32", "bf16", None] = None
    """Gradients accumulated and reduced in this format; None is the recipe's own (32 bits)."""
    weight_dtype: Literal["fp32", None] = None
    """Weights held in 32 bits alone and cast when used (FSDP2's mixed precision, autocast); None is the recipe's own:
    16 bits with a master copy."""

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
        faults.raise_if_any()
        return self

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
        what = self.recompute + (modules if self.recompute_modules != default else "")
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
        return base

    @property
    def tokens(self) -> int:
        """Tokens of one optimizer step [-]."""
        return self.global_batch * self.sequence_length
