"""The feed-forward block: plain (up, activation, down) or gated (up and gate, product, down)."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import (
    Layer,
    Pass,
    Weight,
    linear_backward,
    linear_forward,
    region_entry,
    region_exit,
)
from perfmodel.layers.kept import activation_tensors
from perfmodel.layers.pointwise import activation, bias_gradient, operators
from perfmodel.layers.results import Result
from perfmodel.work import Serial, Work

__all__ = ["Mlp"]


class Mlp(Layer):
    """Two linear layers around an activation; the inner width is split over tp."""

    hidden: int
    """Model width [-]."""
    inner: int
    """Inner width [-]."""
    gated: bool = True
    """A second up-projection gates the first (SwiGLU and kin)."""
    bias: bool = False
    """Both projections have a bias."""
    activation: str = "silu"
    """Name of the non-linearity; its cost is that of streaming its operands."""

    @property
    def up_width(self) -> int:
        """Outputs of the first projection [-]."""
        return self.inner * (2 if self.gated else 1)

    def weights(self) -> tuple[Weight, ...]:
        """Up (with gate) and down projection."""
        named = [Weight("up", (self.hidden, self.up_width)), Weight("down", (self.inner, self.hidden))]
        if self.bias:
            named += [
                Weight("up bias", (self.up_width,), "bias"),
                Weight("down bias", (self.hidden,), "bias", None),
            ]
        return tuple(named)

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole columns on every rank."""
        return (("feed-forward columns", self.inner),)

    def _up_shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.tokens, "inputs": self.hidden, "outputs": self.up_width / p.tp}

    def _down_shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.tokens, "inputs": self.inner / p.tp, "outputs": self.hidden}

    def _activation(self, p: Pass) -> Work:
        return self._activated("activation", p, backward=False)

    def _activated(self, name: str, p: Pass, *, backward: bool) -> Work:
        crossings, inner = (
            activation(p.kernels, self.activation, gated=self.gated),
            p.tokens * self.inner / p.tp,
        )
        return operators(name, p, crossings, elements=inner, kind="activation", backward=backward)

    def forward(self, p: Pass) -> Work:
        """Up, activation, down, with the messages around them."""
        matrices = 2 if self.gated else 1
        up = linear_forward("mlp up", p, **self._up_shape(p), matrices=matrices)
        down = linear_forward("mlp down", p, **self._down_shape(p))
        acted = self._activation(p)
        entry, leave = region_entry(p, self.hidden, up, matrices=matrices), region_exit(p, self.hidden, down)
        return Serial("mlp", (*entry, up, acted, down, *leave))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; a gated activation reads three tensors and writes two."""
        up = linear_backward("mlp up", p, **self._up_shape(p))
        down = linear_backward("mlp down", p, **self._down_shape(p))
        shifts = [
            bias_gradient(name, p, width) if self.bias else ()
            for name, width in (("mlp down", self.hidden), ("mlp up", self.up_width / p.tp))
        ]
        acted = self._activated("activation backward", p, backward=True)
        entry = region_entry(p, self.hidden, *up, backward=True)
        leave = region_exit(p, self.hidden, *down, backward=True)
        return Serial("mlp backward", (*leave, *shifts[0], *down, acted, *shifts[1], *up, *entry))

    def saved(self, p: Pass) -> Any:
        """Input, what the activation needs, and what the down projection needs."""
        tensors = activation_tensors(p.kernels, self.activation, gated=self.gated)
        return (p.shard_tokens * self.hidden + p.tokens * tensors * self.inner / p.tp) * p.element_bytes

    def results(self, p: Pass) -> dict[str, Result]:
        """Gate and up projection, and the result."""
        up = linear_forward("mlp up", p, **self._up_shape(p))
        down = linear_forward("mlp down", p, **self._down_shape(p))
        column = up._replace(n=self.inner / p.tp)
        inner = Result(column, p.tokens * self.inner / p.tp * p.element_bytes, ("mlp up", "tp all-gather"))
        out = p.shard_tokens * self.hidden * p.element_bytes
        return {
            **({"gate": inner} if self.gated else {}),
            "up": inner,
            "down": Result(down, out, ("mlp down", "tp all-reduce", "tp reduce-scatter"), False),
        }

    def parts(self, p: Pass) -> dict[str, tuple[Work, Any]]:
        """The activation: all that it keeps but the outputs of the first projection; and these."""
        inner = self.saved(p) - self.saved_input(p) - p.tokens * self.up_width / p.tp * p.element_bytes
        inputs = {name: (one.work, one.bytes) for name, one in self.results(p).items() if name != "down"}
        return {**super().parts(p), **inputs, "activation": (self._activation(p), inner)}
