"""Cohere's Command R, Aya and Command A."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Depth
from perfmodel.huggingface.family import Dimensions
from perfmodel.huggingface.windows import LayerTypes, every

__all__ = ["Cohere", "Cohere2"]


class Cohere(Dimensions):
    """Attention and feed-forward in parallel behind one LayerNorm without a shift."""

    attention_bias: bool = False
    """All four attention projections have a bias."""
    use_qk_norm: bool | None = False
    """A norm on each head of queries and keys."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            norm="layer",
            arrangement="parallel",
            qkv_bias=self.attention_bias,
            output_bias=self.attention_bias,
            qk_norm="per_head" if self.use_qk_norm else "none",
        )


class Cohere2(Cohere, LayerTypes):
    """The same with full attention in every fourth layer only, and no norm on queries and keys."""

    sliding_window_pattern: Depth = 4
    """Layers from one with full attention to the next [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        windows = self.windows(every(self.sliding_window_pattern))
        return super().decoder().replace(qk_norm="none", windows=windows)
