"""Qwen 1.5, 2, 2.5 and 3, the dense ones."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.windows import FULL, SLIDING, LayerTypes

__all__ = ["Qwen2", "Qwen3"]


class Qwen2(LayerTypes):
    """A Llama with a bias on queries, keys and values; the last layers may have a sliding window."""

    num_key_value_heads: Size | None = 32
    """Key and value heads; null means as many as query heads [-]."""
    use_sliding_window: bool = False
    """Layers from `max_window_layers` on have the window."""
    max_window_layers: int = 28
    """Layers before the first one with a window [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(qkv_bias=True, windows=self._windows())

    def _windows(self) -> tuple[int | None, ...]:
        full = min(max(self.max_window_layers, 0), self.num_hidden_layers)
        windows = self.windows((FULL,) * full + (SLIDING,) * (self.num_hidden_layers - full))
        return windows if self.use_sliding_window else (None,)


class Qwen3(Qwen2):
    """A Llama with a norm on queries and keys that all heads share."""

    head_dim: Size | None = 128
    """Size of one head [-]."""
    attention_bias: bool = False
    """All four attention projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = self.attention_bias
        return self.describe(qkv_bias=bias, output_bias=bias, qk_norm="shared", windows=self._windows())
