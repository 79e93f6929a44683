"""StarCoder 2; StarCoder is a `gpt_bigcode`."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import CLASSIC, Dimensions

__all__ = ["Starcoder2"]


class Starcoder2(Dimensions):
    """Grouped queries and rotary positions with LayerNorm, a plain feed-forward and biases."""

    num_key_value_heads: Size = 2
    """Key and value heads [-]."""
    hidden_act: str = "gelu_pytorch_tanh"
    """Non-linearity of the feed-forward."""
    sliding_window: Size | None = None
    """Positions that a query sees; none means all [-]."""
    use_bias: bool = True
    """All projections have a bias."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        biases = dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), self.use_bias)
        return self.describe(**CLASSIC | biases, windows=(self.sliding_window,))
