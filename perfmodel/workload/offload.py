"""What leaves the device: activations, weights, gradients and optimizer states, to the host's memory or storage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from perfmodel.ops import certain
from perfmodel.specs import Spec

__all__ = ["EVERYTHING", "Offload"]

EVERYTHING = "everything"
"""All activations that a block keeps."""


class Offload(Spec):
    """What of a training job lies outside the device, and where.

    Examples
    --------
    >>> Offload(optimizer=1, gradients=1).words
    'optimizer, gradients to host'
    >>> Offload(activations=("layer input", "query"), weights=0.5, to="nvme").words
    'activations (layer input, query), weights (50%) to nvme'
    """

    activations: tuple[str, ...] = ()
    """Results that forward keeps and sends away, and backward fetches: layer input, query, key, value, attention core,
    output, gate, up, …, or everything; MaxText's names are understood, too (decoder_layer_input, out_proj, …)."""
    weights: float = Field(default=0, ge=0, le=1)
    """Share of the weights; each layer's come to the device for forward, and again for backward [-]."""
    gradients: float = Field(default=0, ge=0, le=1)
    """Share of the gradients; they leave while backward runs [-]."""
    optimizer: float = Field(default=0, ge=0, le=1)
    """Share of the optimizer's states; the host updates these weights itself [-]."""
    to: Literal["host", "nvme"] = "host"
    """Where it lies: the host's memory, or its solid-state storage, with the host's memory on the way."""

    @classmethod
    def of(cls, names: Iterable[str], *, to: str = "host") -> Offload:
        """All of what is named.

        Parameters
        ----------
        names : weights, gradients, optimizer; any other is that of an activation
        to : host or nvme

        Examples
        --------
        >>> Offload.of(["optimizer", "layer input"]).words
        'activations (layer input), optimizer to host'
        """
        states, named = {"weights", "gradients", "optimizer"}, list(names)
        whole: dict[str, Any] = {name: 1 for name in named if name in states}
        return cls(activations=tuple(name for name in named if name not in states), to=to, **whole)

    @property
    def anything(self) -> bool:
        """Whether a job offloads at all; a share that is a symbol, or in some row more than nothing, counts."""
        nothing = certain(self.weights == 0) and certain(self.gradients == 0) and certain(self.optimizer == 0)
        return bool(self.activations) or not nothing

    @property
    def words(self) -> str:
        """What goes where, as reports print it; nothing where all stays."""
        states = (("optimizer", self.optimizer), ("gradients", self.gradients), ("weights", self.weights))
        told = [f"activations ({', '.join(self.activations)})"] if self.activations else []
        told += [name if share == 1 else f"{name} ({share:.0%})" for name, share in states if share]
        return f"{', '.join(told)} to {self.to}" if told else ""
