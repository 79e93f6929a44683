"""OLMo 1, 2 and 3."""

from __future__ import annotations

from perfmodel.decoder import Decoder
from perfmodel.huggingface.family import Dimensions
from perfmodel.huggingface.windows import LayerTypes, every

__all__ = ["Olmo", "Olmo2", "Olmo3"]


class Olmo(Dimensions):
    """A Llama whose norms have nothing to learn."""

    attention_bias: bool = False
    """All four attention projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = self.attention_bias
        return self.describe(qkv_bias=bias, output_bias=bias, norm="layer", norm_weight=False)


class Olmo2(Olmo):
    """Norms after the sub-layers, and on queries and keys over their full width."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = self.attention_bias
        return self.describe(qkv_bias=bias, output_bias=bias, arrangement="post", qk_norm="full")


class Olmo3(Olmo2, LayerTypes):
    """An OLMo 2 with full attention in every fourth layer only."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(windows=self.windows(every(4)))
