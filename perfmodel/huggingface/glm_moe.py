"""GLM-4.5 and later, with experts."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.experts import FirstDense

__all__ = ["Glm4Moe"]


class Glm4Moe(FirstDense):
    """A GLM with experts and shared ones in all layers but the first."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    attention_bias: bool = False
    """Query, key and value projections have a bias."""
    use_qk_norm: bool = False
    """A norm on queries and keys that all heads share."""
    moe_intermediate_size: Size = 1408
    """Inner width of one expert [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        norm = "shared" if self.use_qk_norm else "none"
        return self.describe(qkv_bias=self.attention_bias, qk_norm=norm, feeds=self.feeds())
