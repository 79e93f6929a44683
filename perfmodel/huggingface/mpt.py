"""MPT."""

from __future__ import annotations

from typing import ClassVar

from perfmodel.decoder import Decoder
from perfmodel.huggingface.family import CLASSIC, Shape

__all__ = ["Mpt"]


class Mpt(Shape):
    """ALiBi instead of positions and no bias anywhere; transformers knows no feed-forward but the fourfold."""

    aliases: ClassVar = {
        "d_model": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
    }

    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        plain = CLASSIC | {"norm_bias": False}
        return self.describe(**plain, inner=4 * self.hidden_size, activation="gelu", rotary=False)
