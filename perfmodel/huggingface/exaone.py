"""EXAONE 4."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.huggingface.windows import LayerTypes, every

__all__ = ["Exaone4"]


class Exaone4(LayerTypes):
    """Norms after the sub-layers, one on queries and keys that heads share, full attention in every fourth layer."""

    num_key_value_heads: Size = 32
    """Key and value heads [-]."""
    sliding_window_pattern: Depth | None = 4
    """Layers from one with full attention to the next, also spelled "LLLG" [-]."""

    @field_validator("sliding_window_pattern", mode="before")
    @classmethod
    def _spelled(cls, pattern: Any) -> Any:
        spelled = isinstance(pattern, str) and pattern == "L" * (len(pattern) - 1) + "G"
        return len(pattern) if spelled else pattern

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        windows = self.windows(every(self.sliding_window_pattern or 1))
        return self.describe(arrangement="post", qk_norm="shared", windows=windows)
