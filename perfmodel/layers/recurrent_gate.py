"""The recurrent block of Griffin: a gated linear recurrence of one number a channel (RG-LRU)."""

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
    stream,
)
from perfmodel.layers.state_space import STATE_BYTES
from perfmodel.work import Matmul, Serial, Stream, Work

__all__ = ["RecurrentGate"]


class RecurrentGate(Layer):
    """Two branches of the same width, one of them convolved and scanned, multiplied. Heads are split over tp.

    References
    ----------
    De et al. (2024), Griffin, arXiv:2402.19427, section 2.4
    """

    hidden: int
    """Model width [-]."""
    width: int
    """Channels of the recurrence [-]."""
    heads: int
    """Blocks of channels whose gates are projected together [-]."""
    kernel: int = 4
    """Positions of the depthwise convolution [-]."""

    @property
    def block(self) -> int:
        """Channels of one head [-]."""
        return self.width // self.heads

    def weights(self) -> tuple[Weight, ...]:
        """Three projections with biases, depthwise kernel, two gates projected within heads, decays."""
        gates = ("input", "recurrence")
        return (
            Weight("in", (self.hidden, 2 * self.width)),
            Weight("in bias", (2 * self.width,), "bias"),
            Weight("kernel", (self.width, 1, self.kernel), "channel"),
            Weight("kernel bias", (self.width,), "bias"),
            *(Weight(f"{name} gate", (self.heads, self.block, self.block)) for name in gates),
            *(Weight(f"{name} gate bias", (self.heads, self.block), "bias") for name in gates),
            Weight("decays", (self.width,), "channel"),
            Weight("out", (self.width, self.hidden)),
            Weight("out bias", (self.hidden,), "bias", None),
        )

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole heads on every rank."""
        return (("recurrent heads", self.heads),)

    def _shapes(self, p: Pass) -> tuple[dict[str, Any], dict[str, Any]]:
        into = {"tokens": p.tokens, "inputs": self.hidden, "outputs": 2 * self.width / p.tp}
        return into, {"tokens": p.tokens, "inputs": self.width / p.tp, "outputs": self.hidden}

    def _gate_shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.tokens, "inputs": self.block, "outputs": self.block}

    def _streams(self, p: Pass, *, backward: bool = False) -> tuple[Stream, Stream, Stream]:
        """Convolution, the scan in 32 bits, and the product of the branches."""
        end, more = (" backward", 1) if backward else ("", 0)
        channels = p.tokens * self.width / p.tp
        states = 2 * p.sequences * self.width / p.tp * STATE_BYTES
        scan = channels * (3 + 2 * more) * (p.element_bytes + STATE_BYTES) / 2 + states
        return (
            stream(f"convolution{end}", p, elements=channels, passes=2 + more, kind="activation"),
            Stream(f"scan{end}", scan, "activation"),
            stream(f"join branches{end}", p, elements=channels, passes=3 + 2 * more, kind="activation"),
        )

    def _by_head(self, product: Matmul, p: Pass) -> Matmul:
        return product._replace(batch=2 * self.heads / p.tp)

    def forward(self, p: Pass) -> Work:
        """Project both branches, convolve, gate, scan, join, project, with the messages around them."""
        shapes = self._shapes(p)
        into, out = linear_forward("in", p, **shapes[0]), linear_forward("out", p, **shapes[1])
        gates = self._by_head(linear_forward("gates", p, **self._gate_shape(p)), p)
        convolution, scan, join = self._streams(p)
        parts = (into, convolution, gates, scan, join, out)
        entry, leave = region_entry(p, self.hidden, into), region_exit(p, self.hidden, out)
        return Serial("recurrence", (*entry, *parts, *leave))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each product has two."""
        shapes = self._shapes(p)
        into, out = linear_backward("in", p, **shapes[0]), linear_backward("out", p, **shapes[1])
        gates = (self._by_head(one, p) for one in linear_backward("gates", p, **self._gate_shape(p)))
        convolution, scan, join = self._streams(p, backward=True)
        entry = region_entry(p, self.hidden, *into, backward=True)
        leave = region_exit(p, self.hidden, *out, backward=True)
        parts = (*leave, *out, join, scan, *gates, convolution, *into, *entry)
        return Serial("recurrence backward", parts)

    def saved(self, p: Pass) -> Any:
        """Input, both branches, the convolution's result, two gates, the scan's result and the product."""
        return (p.shard_tokens * self.hidden + p.tokens * 7 * self.width / p.tp) * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """One number a channel, and the positions that the convolution still needs."""
        return self.width * (STATE_BYTES + (self.kernel - 1) * element_bytes)
