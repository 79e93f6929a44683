"""Linear attention with the gated delta rule: a state that is read, corrected and decayed, chunk by chunk."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import (
    Pass,
    Weight,
    stream,
)
from perfmodel.layers.state_space import STATE_BYTES, ChunkedScan, chunk_matmul
from perfmodel.ops import minimum
from perfmodel.work import Matmul, Stream

__all__ = ["GatedDeltaNet"]


class GatedDeltaNet(ChunkedScan):
    """Gated delta net. Heads are split over tp.

    References
    ----------
    Yang, Kautz, Hatamizadeh (2024), Gated Delta Networks, arXiv:2412.06464, section 3.3
    """

    title = "linear attention"

    key_heads: int
    """Heads of queries and keys; each serves some heads of values [-]."""
    value_heads: int
    """Heads of values, gates and states [-]."""
    key_dim: int
    """Size of a head's queries and keys [-]."""
    value_dim: int
    """Size of a head's values [-]."""
    kernel: int = 4
    """Positions of the depthwise convolution [-]."""
    scan_chunk: int = 64
    """Positions of a chunk of the scan [-]."""

    @property
    def values(self) -> int:
        """Width of all values [-]."""
        return self.value_heads * self.value_dim

    @property
    def convolved(self) -> int:
        """Channels of the convolution: queries, keys and values [-]."""
        return 2 * self.key_heads * self.key_dim + self.values

    @property
    def projected(self) -> int:
        """Outputs of the input projections: queries, keys, values, their gate, two numbers a head [-]."""
        return self.convolved + self.values + 2 * self.value_heads

    def weights(self) -> tuple[Weight, ...]:
        """Projections, depthwise kernel, decays, and the norm behind the scan, which all heads share."""
        return (
            Weight("in", (self.hidden, self.projected)),
            Weight("kernel", (self.convolved, 1, self.kernel), "channel"),
            Weight("step bias", (self.value_heads,), "bias"),
            Weight("decays", (self.value_heads,), "channel"),
            Weight("norm", (self.value_dim,), "norm", None),
            Weight("out", (self.values, self.hidden)),
        )

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole heads on every rank."""
        return (
            ("linear attention key heads", self.key_heads),
            ("linear attention value heads", self.value_heads),
        )

    def _shapes(self, p: Pass) -> tuple[dict[str, Any], dict[str, Any]]:
        into = {"tokens": p.tokens, "inputs": self.hidden, "outputs": self.projected / p.tp}
        return into, {"tokens": p.tokens, "inputs": self.values / p.tp, "outputs": self.hidden}

    def chunk_products(self, p: Pass) -> tuple[Matmul, ...]:
        """The matrix products of the scan, once for each head of values (the small inverse of a chunk is left out).

        Parameters
        ----------
        p : the pass
        """
        length = minimum(self.scan_chunk, p.queries / p.cp)
        batch = p.tokens / length * self.value_heads / p.tp
        key, value = self.key_dim, self.value_dim
        shapes = (
            ("keys with keys", (length, length, key)),
            ("corrected keys", (length, key, length)),
            ("corrected values", (length, value, length)),
            ("read of keys", (length, value, key)),
            ("chunk scores", (length, length, key)),
            ("chunk values", (length, value, length)),
            ("read of queries", (length, value, key)),
            ("states", (key, value, length)),
        )
        return tuple(chunk_matmul(name, p, shape=shape, batch=batch) for name, shape in shapes)

    def _streams(self, p: Pass, *, backward: bool = False) -> tuple[Stream, Stream, Stream]:
        """Convolution, the hand-over of states from chunk to chunk, gate and norm."""
        end, more = (" backward", 1) if backward else ("", 0)
        length = minimum(self.scan_chunk, p.queries / p.cp)
        states = p.tokens / length * self.values / p.tp * self.key_dim * p.element_bytes
        wide, inner = p.tokens * self.convolved / p.tp, p.tokens * self.values / p.tp
        return (
            stream(f"convolution{end}", p, elements=wide, passes=2 + more, kind="activation"),
            Stream(f"hand on states{end}", (2 + more) * states, "copy"),
            stream(f"gated norm{end}", p, elements=inner, passes=3 + 2 * more, kind="norm"),
        )

    def saved(self, p: Pass) -> Any:
        """Input, its projection, the convolution's result, and the scan's result before and after the norm."""
        wide = p.tokens * (self.projected + self.convolved + 2 * self.values) / p.tp
        return (p.shard_tokens * self.hidden + wide) * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """States, and the positions that the convolution still needs."""
        return self.values * self.key_dim * STATE_BYTES + self.convolved * self.kernel * element_bytes
