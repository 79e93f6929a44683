"""Nemotron-4 and Minitron, the dense ones."""

from __future__ import annotations

from perfmodel.decoder import Decoder
from perfmodel.huggingface.family import CLASSIC, Dimensions

__all__ = ["Nemotron"]


class Nemotron(Dimensions):
    """Grouped queries and rotary positions with LayerNorm and a plain feed-forward with squared ReLU."""

    hidden_act: str = "relu2"
    """Non-linearity of the feed-forward."""
    attention_bias: bool = False
    """All four attention projections have a bias."""
    mlp_bias: bool = False
    """Feed-forward projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = self.attention_bias
        return self.describe(**CLASSIC, qkv_bias=bias, output_bias=bias, mlp_bias=self.mlp_bias)
