"""GLM-4, the dense ones."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import Dimensions

__all__ = ["Glm", "Glm4"]


class Glm(Dimensions):
    """A Llama with a bias on queries, keys and values."""

    num_key_value_heads: Size | None = 2
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size | None = 128
    """Size of one head; null means width over heads [-]."""
    attention_bias: bool = True
    """Query, key and value projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(qkv_bias=self.attention_bias)


class Glm4(Glm):
    """A GLM with norms before and after each sub-layer."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(arrangement="sandwich")
