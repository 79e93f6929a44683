"""Gemma 1, 2 and the text models of Gemma 3."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.huggingface.family import Dimensions
from perfmodel.huggingface.windows import LayerTypes, every

__all__ = ["Gemma", "Gemma2", "Gemma3"]


class Gemma(Dimensions):
    """A Llama with GeGLU and with heads of a size of their own."""

    num_key_value_heads: Size = 16
    """Key and value heads [-]."""
    head_dim: Size = 256
    """Size of one head [-]."""
    hidden_act: str = "gelu_pytorch_tanh"
    """Non-linearity of the feed-forward."""
    attention_bias: bool = False
    """All four attention projections have a bias."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(qkv_bias=self.attention_bias, output_bias=self.attention_bias)


class Gemma2(Gemma, LayerTypes):
    """Norms before and after each sub-layer; a sliding window in every other layer."""

    num_key_value_heads: Size = 4
    """Key and value heads [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(arrangement="sandwich", windows=self.windows(every(2)))


class Gemma3(Gemma2):
    """A Gemma 2 with a norm on queries and keys, and full attention in every sixth layer."""

    vocab_size: Size = 262208
    """Tokens known [-]."""
    num_attention_heads: Size = 8
    """Query heads [-]."""
    sliding_window_pattern: Depth = 6
    """Layers from one with full attention to the next [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        windows = self.windows(every(self.sliding_window_pattern))
        return super().decoder().replace(qk_norm="shared", windows=windows)
