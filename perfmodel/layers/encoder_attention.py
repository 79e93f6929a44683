"""Self-attention as encoders have it: in both directions, with biases."""

from __future__ import annotations

from perfmodel.layers.attention import SelfAttention
from perfmodel.layers.base import Weight

__all__ = ["EncoderAttention"]


class EncoderAttention(SelfAttention):
    """Self-attention that sees later positions too, unless it is told not to."""

    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    key_bias: bool = True
    """The key projection is one of them."""
    output_bias: bool = True
    """The output projection has a bias."""
    rotary: bool = False
    """Queries and keys are rotated by position."""
    causal: bool = False
    """Later positions are masked."""

    def weights(self) -> tuple[Weight, ...]:
        """Fused or separate projections count the same."""
        named = super().weights()
        if self.key_bias or not self.qkv_bias:
            return named
        biases = (self.query_width + self.kv_width,)
        return tuple(w._replace(shape=biases) if w.name == "qkv bias" else w for w in named)
