"""Qwen 1.5, 2 and 3 with experts."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.experts import Stepped
from perfmodel.huggingface.windows import FULL, SLIDING, LayerTypes

__all__ = ["Qwen2Moe", "Qwen3Moe"]


class Qwen2Moe(Stepped, LayerTypes):
    """A Qwen 2 whose layers have experts and one shared expert behind a gate."""

    num_key_value_heads: Size | None = 16
    """Key and value heads; null means as many as query heads [-]."""
    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    use_sliding_window: bool = False
    """Every other one of the layers before `max_window_layers` has the window."""
    max_window_layers: int = 28
    """Layers after which none has a window [-]."""
    moe_intermediate_size: Size = 1408
    """Inner width of one expert [-]."""
    shared_expert_intermediate_size: Size = 5632
    """Inner width of the shared expert [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        experts = self.experts(
            inner=self.moe_intermediate_size,
            shared_inner=self.shared_expert_intermediate_size,
            shared_gate=True,
        )
        return self.describe(qkv_bias=self.qkv_bias, windows=self._windows(), feeds=self.feeds(experts))

    def _windows(self) -> tuple[int | None, ...]:
        if not self.use_sliding_window:
            return (None,)
        sliding = (
            not place % 2 and place < self.max_window_layers for place in range(self.num_hidden_layers)
        )
        return self.windows(tuple(SLIDING if one else FULL for one in sliding))


class Qwen3Moe(Stepped):
    """A Qwen 3 whose layers have experts and none that are shared."""

    num_key_value_heads: Size | None = 4
    """Key and value heads; null means as many as query heads [-]."""
    attention_bias: bool = False
    """All four attention projections have a bias."""
    moe_intermediate_size: Size = 768
    """Inner width of one expert [-]."""
    use_sliding_window: bool = False
    """All layers have the window."""
    sliding_window: Size | None = 4096
    """Positions that a query sees, with `use_sliding_window` [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        window = self.sliding_window if self.use_sliding_window else None
        experts = self.experts(inner=self.moe_intermediate_size)
        return self.describe(**bias, qk_norm="shared", windows=(window,), feeds=self.feeds(experts))
