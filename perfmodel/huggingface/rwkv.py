"""RWKV-4."""

from __future__ import annotations

from typing import ClassVar

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.huggingface.family import Family
from perfmodel.layers.rwkv import ChannelMix, TimeMix

__all__ = ["Rwkv"]


class Rwkv(Family):
    """Time mix and channel mix behind LayerNorms, and one more norm behind the embedding."""

    aliases: ClassVar = {"max_position_embeddings": "context_length"}
    head_keys = ("", "", "", "")

    vocab_size: Size
    """Tokens known [-]."""
    hidden_size: Size
    """Model width [-]."""
    num_hidden_layers: Depth
    """Layers [-]."""
    attention_hidden_size: Size | None = None
    """Channels of the recurrence; none means the model's width [-]."""
    intermediate_size: Size | None = None
    """Feed-forward width; none means four times the model's [-]."""
    context_length: Size = 1024
    """Longest sequence trained on; sets no size [-]."""
    tie_word_embeddings: bool = False
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        hidden = self.hidden_size
        return Decoder(
            layers=self.num_hidden_layers,
            hidden=hidden,
            vocabulary=self.vocab_size,
            tied=self.tie_word_embeddings,
            norm="layer",
            norm_bias=True,
            embedding_norm=True,
            mixers=(TimeMix(hidden=hidden, width=self.attention_hidden_size or hidden),),
            feeds=(ChannelMix(hidden=hidden, inner=self.intermediate_size or 4 * hidden),),
        )
