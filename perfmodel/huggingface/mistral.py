"""Mistral and Ministral."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import Dimensions
from perfmodel.huggingface.windows import SLIDING, LayerTypes

__all__ = ["Ministral", "Ministral3", "Mistral"]


class Mistral(Dimensions):
    """A Llama with grouped queries and, at first, a sliding window in all layers."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    sliding_window: Size | None = 4096
    """Positions that a query sees; null means all [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(windows=(self.sliding_window,))


class Ministral3(Mistral):
    """A Mistral without a window and with heads of a size of their own."""

    head_dim: Size | None = 128
    """Size of one head; null means width over heads [-]."""
    sliding_window: Size | None = None
    """Positions that a query sees; null means all [-]."""


class Ministral(LayerTypes):
    """A Mistral that names the attention of each layer."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(windows=self.windows((SLIDING,)))
