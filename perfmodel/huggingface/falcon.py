"""Falcon 7B, 40B and 180B, and Falcon-RW; Falcon 3 is a Llama."""

from __future__ import annotations

from typing import ClassVar

from perfmodel.decoder import Arrangement, Decoder, Size
from perfmodel.huggingface.family import CLASSIC, Shape

__all__ = ["Falcon"]


class Falcon(Shape):
    """Attention and feed-forward in parallel; one key-value head, or groups in the new architecture."""

    aliases: ClassVar = {"n_embed": "hidden_size"}

    new_decoder_architecture: bool | None = False
    """Grouped queries, and a norm each for attention and feed-forward (40B and 180B)."""
    multi_query: bool | None = True
    """One key-value head for all, in the old architecture."""
    num_kv_heads: Size | None = None
    """Key-value heads in the new architecture; none means as many as query heads [-]."""
    parallel_attn: bool | None = True
    """Attention and feed-forward read the same input."""
    num_ln_in_parallel_attn: int | None = None
    """Norms before them; none means 2 in the new architecture and 1 in the old [-]."""
    ffn_hidden_size: Size | None = None
    """Feed-forward width; none means four times the model's [-]."""
    bias: bool | None = False
    """All projections have a bias."""
    alibi: bool | None = False
    """ALiBi instead of rotary positions."""
    activation: str | None = "gelu"
    """Non-linearity of the feed-forward."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            **CLASSIC | dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), bool(self.bias)),
            kv_heads=self._kv_heads(),
            inner=self.ffn_hidden_size or 4 * self.hidden_size,
            activation=self.activation or "gelu",
            arrangement=self._arrangement(),
            parallel_norms=self._norms(),
            rotary=not self.alibi,
        )

    def _kv_heads(self) -> int | None:
        if self.new_decoder_architecture:
            return self.num_kv_heads
        return 1 if self.multi_query else None

    def _arrangement(self) -> Arrangement:
        return "parallel" if self.parallel_attn else "pre"

    def _norms(self) -> int:
        given = self.num_ln_in_parallel_attn
        two = self.new_decoder_architecture if given is None else given == 2
        return 2 if two else 1
