"""The text models of Llama 4."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from perfmodel.decoder import Decoder, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.experts import Sparse, check_places
from perfmodel.huggingface.windows import AS_MANY

__all__ = ["Llama4Text"]

CHUNKED, FULL = "chunked_attention", "full_attention"


class Llama4Text(Sparse):
    """Experts and a shared one in all or some layers; attention in chunks but for every fourth layer, unrotated."""

    layer_kinds: ClassVar = (CHUNKED, FULL)

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size | None = 128
    """Size of one head; null means width over heads [-]."""
    intermediate_size_mlp: Size = 16384
    """Feed-forward width of layers without experts [-]."""
    moe_layers: tuple[int, ...] | None = None
    """Layers with experts, counted from 0; none means every `interleave_moe_layer_step`-th [-]."""
    interleave_moe_layer_step: Size = 1
    """Layers from one with experts to the next [-]."""
    use_qk_norm: bool = True
    """Queries and keys of rotated layers are normalised, with nothing to learn."""
    no_rope_layers: tuple[int, ...] | None = None
    """1 for each layer that rotates queries and keys; none means all but every so-manieth."""
    no_rope_layer_interval: Size = 4
    """Every so-manieth layer rotates nothing, where `no_rope_layers` does not say [-]."""
    attention_chunk_size: Size | None = 8192
    """Positions of a chunk [-]."""
    layer_types: tuple[str, ...] | None = None
    """Attention of each layer; none means chunks where queries and keys are rotated."""
    attention_bias: bool = False
    """All four attention projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        described = self.describe(**bias, inner=self.intermediate_size_mlp)
        rotated = self._rotated()
        kinds = self.layer_types or tuple(CHUNKED if one else FULL for one in rotated)
        chunks = (self.attention_chunk_size if kind == CHUNKED else None for kind in kinds)
        mixers = (described.attention(rotary=r, chunk=c) for r, c in zip(rotated, chunks, strict=True))
        return described.replace(mixers=tuple(mixers), feeds=self._feeds())

    def _rotated(self) -> tuple[bool, ...]:
        if self.no_rope_layers:
            return tuple(bool(one) for one in self.no_rope_layers)
        return tuple((place + 1) % self.no_rope_layer_interval > 0 for place in range(self.num_hidden_layers))

    def _feeds(self) -> tuple[object, ...]:
        step, layers = self.interleave_moe_layer_step, self.num_hidden_layers
        placed = range(step - 1, layers, step) if self.moe_layers is None else self.moe_layers
        experts, sparse = self.experts(shared_inner=self.intermediate_size), set(placed)
        return tuple(experts if place in sparse else None for place in range(layers))

    @model_validator(mode="after")
    def _one_entry_a_layer(self) -> Self:
        check_places("moe_layers", self.moe_layers or (), self.num_hidden_layers)
        for key in ("no_rope_layers", "layer_types"):
            named = len(getattr(self, key) or ())
            if named and named != self.num_hidden_layers:
                layers = f"num_hidden_layers = {self.num_hidden_layers}"
                raise InputError(f"{key} names {named} layers, {layers}; {AS_MANY}")
        return self
