"""BLOOM."""

from __future__ import annotations

from typing import ClassVar

from perfmodel.decoder import Decoder
from perfmodel.huggingface.family import CLASSIC, Shape

__all__ = ["Bloom"]


class Bloom(Shape):
    """ALiBi instead of positions, a norm behind the token table, biases everywhere."""

    aliases: ClassVar = {
        "n_embed": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
    }

    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        biases = dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), True)
        return self.describe(
            **CLASSIC | biases,
            inner=4 * self.hidden_size,
            activation="gelu",
            rotary=False,
            embedding_norm=True,
        )
