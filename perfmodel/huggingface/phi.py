"""Phi-1 to Phi-4; Phi-3 and Phi-4 share one architecture."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import CLASSIC, Dimensions

__all__ = ["Phi", "Phi3"]


class Phi(Dimensions):
    """Attention and feed-forward in parallel behind one norm, biases everywhere, in the head too."""

    hidden_act: str = "gelu_new"
    """Non-linearity of the feed-forward."""
    qk_layernorm: bool = False
    """A norm on queries and keys that all heads share."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            **CLASSIC | dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias", "head_bias"), True),
            arrangement="parallel",
            qk_norm="shared" if self.qk_layernorm else "none",
            qk_norm_bias=True,
        )


class Phi3(Dimensions):
    """A Llama with its matrices joined, and sometimes a sliding window."""

    sliding_window: Size | None = None
    """Positions that a query sees; none means all [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(windows=(self.sliding_window,))
