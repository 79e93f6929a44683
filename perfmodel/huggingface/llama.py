"""Llama and the families that differ from it by a key or two."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.family import Dimensions
from perfmodel.huggingface.windows import AS_MANY, FULL, SLIDING, LayerTypes

__all__ = ["Arcee", "Granite", "Llama", "SeedOss", "SmolLM3"]


class Llama(Dimensions):
    """RMSNorm before each sub-layer, rotary positions, SwiGLU."""

    attention_bias: bool = False
    """All four attention projections have a bias."""
    mlp_bias: bool = False
    """Feed-forward projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = self.attention_bias
        return self.describe(qkv_bias=bias, output_bias=bias, mlp_bias=self.mlp_bias)


class Granite(Llama):
    """A Llama with scaled residuals, embeddings and logits, which cost nothing."""


class Arcee(Llama):
    """A Llama with a plain feed-forward: up, squared ReLU, down."""

    hidden_act: str = "relu2"
    """Non-linearity of the feed-forward."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(gated=False)


class SeedOss(Llama):
    """A Llama with a bias on queries, keys and values."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size | None = 128
    """Size of one head; null means width over heads [-]."""
    attention_bias: bool = True
    """Query, key and value projections have a bias."""
    attention_out_bias: bool = False
    """Attention's output projection has a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(output_bias=self.attention_out_bias)


class SmolLM3(Llama, LayerTypes):
    """A Llama where every fourth layer has no positions; those may have a sliding window."""

    num_key_value_heads: Size | None = 4
    """Key and value heads; null means as many as query heads [-]."""
    sliding_window: Size | None = None
    """Positions that a layer with a sliding window sees [-]."""
    use_sliding_window: bool = False
    """Layers without positions have the window."""
    no_rope_layers: tuple[int, ...] | None = None
    """1 for each layer that rotates queries and keys."""
    no_rope_layer_interval: Depth = 4
    """Every so-manieth layer rotates nothing, where `no_rope_layers` does not say [-]."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(windows=self.windows(self._pattern()))

    def _pattern(self) -> tuple[str, ...]:
        if not self.use_sliding_window:
            return (FULL,)
        if self.no_rope_layers is None:
            return (FULL,) * (self.no_rope_layer_interval - 1) + (SLIDING,)
        return tuple(FULL if rotates else SLIDING for rotates in self.no_rope_layers)

    @model_validator(mode="after")
    def _one_rotation_a_layer(self) -> Self:
        named, layers = len(self.no_rope_layers or ()), self.num_hidden_layers
        if self.no_rope_layers is not None and named != layers:
            raise InputError(f"no_rope_layers names {named} layers, num_hidden_layers = {layers}; {AS_MANY}")
        return self
