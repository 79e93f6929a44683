"""RWKV-4: a recurrence in place of attention, and a feed-forward that mixes each token with the one before it."""

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

__all__ = ["ChannelMix", "TimeMix"]

Products = dict[str, dict[str, Any]]


def _shifted(p: Pass, width: int, mixes: int, *, backward: bool = False) -> Stream:
    """Each token with the one before it, mixed in so many ways."""
    name, passes = ("token shift backward", mixes + 2) if backward else ("token shift", mixes + 1)
    return stream(name, p, elements=p.shard_tokens * width, passes=passes, kind="residual")


class TimeMix(Layer):
    """The attention of RWKV: keys and values summed with exponential decay, behind a gate. Channels are split over tp.

    References
    ----------
    Peng et al. (2023), RWKV, arXiv:2305.13048, section 3.1
    """

    hidden: int
    """Model width [-]."""
    width: int
    """Channels of the recurrence [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """Decays, mixes with the token before, four projections."""
        names = ("key", "value", "receptance")
        return (
            *(Weight(f"time {name}", (self.width,), "channel") for name in ("decay", "first")),
            *(Weight(f"{name} mix", (1, 1, self.hidden), "channel", None) for name in names),
            *(Weight(name, (self.hidden, self.width)) for name in names),
            Weight("output", (self.width, self.hidden)),
        )

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole channels on every rank."""
        return (("recurrent channels", self.width),)

    def _products(self, p: Pass) -> Products:
        shape = {"tokens": p.tokens, "inputs": self.hidden, "outputs": self.width / p.tp}
        out = {"tokens": p.tokens, "inputs": self.width / p.tp, "outputs": self.hidden}
        return {"key": shape, "value": shape, "receptance": shape, "output": out}

    def _recurrence(self, p: Pass, *, backward: bool = False) -> Stream:
        """One kernel that reads keys, values and gates, writes the result, and keeps three numbers a channel."""
        name, passes = ("recurrence backward", 7) if backward else ("recurrence", 4)
        channels = self.width / p.tp
        states = 2 * 3 * p.sequences * channels * STATE_BYTES
        return Stream(name, passes * p.tokens * channels * p.element_bytes + states, "activation")

    def forward(self, p: Pass) -> Work:
        """Mix, project, sum, gate, project, with the messages around them."""
        *into, out = (linear_forward(name, p, **shape) for name, shape in self._products(p).items())
        parts: tuple[Work, ...] = (
            _shifted(p, self.hidden, 3),
            *region_entry(p, self.hidden, *into),
            *into,
            self._recurrence(p),
            out,
        )
        return Serial("time mix", (*parts, *region_exit(p, self.hidden, out)))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each linear layer has two products."""
        *into, out = (linear_backward(name, p, **shape) for name, shape in self._products(p).items())
        products: tuple[Matmul, ...] = tuple(one for pair in into for one in pair)
        entry = region_entry(p, self.hidden, *products, backward=True)
        leave = region_exit(p, self.hidden, *out, backward=True)
        between: tuple[Work, ...] = (self._recurrence(p, backward=True), *products)
        shift = _shifted(p, self.hidden, 3, backward=True)
        return Serial("time mix backward", (*leave, *out, *between, *entry, shift))

    def saved(self, p: Pass) -> Any:
        """Input, three mixes of it, their projections, the sum and what the gate leaves of it."""
        kept = p.shard_tokens * 4 * self.hidden + p.tokens * 5 * self.width / p.tp
        return kept * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """Numerator, denominator and greatest exponent of each channel, and the token before."""
        return 3 * self.width * STATE_BYTES + self.hidden * element_bytes


class ChannelMix(Layer):
    """The feed-forward of RWKV: squared ReLU behind a gate. The inner width is split over tp, the gate is not.

    References
    ----------
    Peng et al. (2023), RWKV, arXiv:2305.13048, section 3.1
    """

    hidden: int
    """Model width [-]."""
    inner: int
    """Inner width [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """Mixes with the token before, up, down and gate."""
        return (
            *(Weight(f"{name} mix", (1, 1, self.hidden), "channel", None) for name in ("key", "receptance")),
            Weight("key", (self.hidden, self.inner)),
            Weight("value", (self.inner, self.hidden)),
            Weight("receptance", (self.hidden, self.hidden), split=None),
        )

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole columns on every rank."""
        return (("feed-forward columns", self.inner),)

    def _products(self, p: Pass) -> Products:
        inner = self.inner / p.tp
        return {
            "key": {"tokens": p.tokens, "inputs": self.hidden, "outputs": inner},
            "value": {"tokens": p.tokens, "inputs": inner, "outputs": self.hidden},
            "receptance": {"tokens": p.shard_tokens, "inputs": self.hidden, "outputs": self.hidden},
        }

    def _gate(self, p: Pass, *, backward: bool = False) -> Stream:
        name, passes = ("gate backward", 5) if backward else ("gate", 3)
        return stream(name, p, elements=p.shard_tokens * self.hidden, passes=passes, kind="activation")

    def _activation(self, p: Pass, *, backward: bool = False) -> Stream:
        name, passes = ("activation backward", 3) if backward else ("activation", 2)
        return stream(name, p, elements=p.tokens * self.inner / p.tp, passes=passes, kind="activation")

    def forward(self, p: Pass) -> Work:
        """Mix, up, activation, down, gate, with the messages around them."""
        up, down, gate = (linear_forward(name, p, **shape) for name, shape in self._products(p).items())
        inside = (*region_entry(p, self.hidden, up), up, self._activation(p), down)
        leave = region_exit(p, self.hidden, down)
        return Serial("channel mix", (_shifted(p, self.hidden, 2), *inside, *leave, gate, self._gate(p)))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each linear layer has two products."""
        up, down, gate = (linear_backward(name, p, **shape) for name, shape in self._products(p).items())
        entry = region_entry(p, self.hidden, *up, backward=True)
        leave = region_exit(p, self.hidden, *down, backward=True)
        inside = (*leave, *down, self._activation(p, backward=True), *up, *entry)
        shift = _shifted(p, self.hidden, 2, backward=True)
        return Serial("channel mix backward", (self._gate(p, backward=True), *gate, *inside, shift))

    def saved(self, p: Pass) -> Any:
        """Input, two mixes of it, gate and result, and both sides of the activation."""
        kept = p.shard_tokens * 5 * self.hidden + p.tokens * 2 * self.inner / p.tp
        return kept * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """The token before."""
        return self.hidden * element_bytes
