"""Optimizers: what each keeps and moves for a parameter."""

from __future__ import annotations

from typing import Literal, NamedTuple

from perfmodel.layers import Weight

__all__ = ["OPTIMIZERS", "Optimizer"]

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
