"""T5, its version 1.1 (Flan-T5), mT5 and umT5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Depth, Size
from perfmodel.encoder import Stack
from perfmodel.huggingface.seq2seq import Halves, Seq2Seq
from perfmodel.layers.position_bias import RelativeBias

__all__ = ["T5", "Mt5", "Umt5"]


class T5(Seq2Seq):
    """Norms before the sub-layers, no biases, positions by a bias that the layers of each half share."""

    prefix = "T5"
    heads = (*Seq2Seq.heads, "EncoderModel")
    aliases: ClassVar = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    head_keys = ("", "", "", "")
    width_keys = ("d_model",)
    bias_everywhere: ClassVar[bool] = False
    """Every layer has its own bias by distance."""

    vocab_size: Size = 32128
    """Tokens known [-]."""
    d_model: Size = 512
    """Model width [-]."""
    d_kv: Size = 64
    """Size of one head [-]."""
    d_ff: Size = 2048
    """Feed-forward width [-]."""
    num_layers: Depth = 6
    """Layers of the encoder [-]."""
    num_decoder_layers: Depth | None = None
    """Layers of the decoder; none means as many as of the encoder [-]."""
    num_heads: Size = 8
    """Heads [-]."""
    relative_attention_num_buckets: Size = 32
    """Distances told apart [-]."""
    feed_forward_proj: str = "relu"
    """Non-linearity of the feed-forward; `gated-` before it where it is gated."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    @property
    def vocabulary(self) -> int:
        """Tokens known [-]."""
        return self.vocab_size

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        named = keys.get("feed_forward_proj")
        if isinstance(named, str) and named.count("-") and not named.startswith("gated-"):
            yield f"feed_forward_proj = {named!r} must be a non-linearity, or gated- and one"

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        gated, _, activation = self.feed_forward_proj.rpartition("-")
        own = self.relative_attention_num_buckets if self.bias_everywhere else 0
        stack = Stack(
            layers=self.num_layers, hidden=self.d_model, heads=self.num_heads, head_dim=self.d_kv,
            inner=self.d_ff, gated=bool(gated), activation=activation, arrangement="pre", norm="rms",
            norm_bias=False, qkv_bias=False, output_bias=False, mlp_bias=False, relative_buckets=own,
        )  # fmt: skip
        bias = RelativeBias(buckets=self.relative_attention_num_buckets, heads=self.num_heads)
        entry = () if own else (bias,)
        decoder = stack.replace(layers=self.num_decoder_layers or self.num_layers, causal=True, reads=True)
        return Halves(stack, decoder, entry, entry, tied=self.tie_word_embeddings)


class Mt5(T5):
    """A T5 1.1 of a hundred languages: gated, with a head of its own."""

    prefix = "MT5"

    vocab_size: Size = 250112
    """Tokens known [-]."""
    d_ff: Size = 1024
    """Feed-forward width [-]."""
    num_layers: Depth = 8
    """Layers of the encoder [-]."""
    num_heads: Size = 6
    """Heads [-]."""
    feed_forward_proj: str = "gated-gelu"
    """Non-linearity of the feed-forward; `gated-` before it where it is gated."""
    tie_word_embeddings: bool = False
    """The head shares the token table."""


class Umt5(Mt5):
    """An mT5 with a bias by distance in every layer."""

    prefix = "UMT5"
    bias_everywhere = True
