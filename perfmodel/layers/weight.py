"""One parameter tensor of a layer: its shape, its kind and the ranks that share it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, NamedTuple

__all__ = ["Kind", "Weight"]

Kind = Literal["matrix", "norm", "bias", "embedding", "position", "head", "channel"]


class Weight(NamedTuple):
    """One parameter tensor.

    Parameters
    ----------
    name : as frameworks call it
    shape : its dimensions [-]
    kind : matrix, norm, bias, embedding, position, head, or channel (depthwise kernels, decays, skips and other
        weights that act on one channel at a time)
    split : the parallel axis that divides it (tp), or None where every rank holds all of it; ep for routed experts:
        whole experts are dealt to the ep ranks, the columns of each to the tp ranks
    active : part of it that one token uses, below 1 for routed experts [-]
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind = "matrix"
    split: str | None = "tp"
    active: Fraction = Fraction(1)

    @property
    def size(self) -> int:
        """Parameters in the tensor [-]."""
        return math.prod(self.shape)
