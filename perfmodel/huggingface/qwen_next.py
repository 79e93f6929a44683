"""Qwen3 Next: gated delta nets, with gated attention in every fourth layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from perfmodel.decoder import Decoder, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.experts import Stepped
from perfmodel.huggingface.windows import AS_MANY, FULL
from perfmodel.layers.linear_attention import GatedDeltaNet

__all__ = ["Qwen3Next"]

LINEAR = "linear_attention"


class Qwen3Next(Stepped):
    """Experts and a gated shared one in every layer; linear attention in most."""

    layer_kinds: ClassVar = (LINEAR, FULL)

    num_key_value_heads: Size | None = 2
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size | None = 256
    """Size of one head; null means width over heads [-]."""
    attention_bias: bool = False
    """All four attention projections have a bias."""
    moe_intermediate_size: Size = 512
    """Inner width of one expert [-]."""
    shared_expert_intermediate_size: Size = 512
    """Inner width of the shared expert [-]."""
    linear_conv_kernel_dim: Size = 4
    """Positions of the depthwise convolution [-]."""
    linear_key_head_dim: Size = 128
    """Size of a head's queries and keys in linear attention [-]."""
    linear_value_head_dim: Size = 128
    """Size of a head's values in linear attention [-]."""
    linear_num_key_heads: Size = 16
    """Heads of queries and keys in linear attention [-]."""
    linear_num_value_heads: Size = 32
    """Heads of values in linear attention [-]."""
    layer_types: tuple[str, ...] | None = None
    """Linear or full attention, for each layer; none means full in every `full_attention_interval`-th."""
    full_attention_interval: Size = 4
    """Layers from one with full attention to the next, where `layer_types` does not say [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        names = ("linear_num_key_heads", "linear_num_value_heads")
        key_heads, value_heads = (cls._number(keys, name) for name in names)
        if key_heads and value_heads and value_heads % key_heads:
            yield f"{names[0]} = {key_heads} must divide {names[1]} = {value_heads}"

    @model_validator(mode="after")
    def _one_type_a_layer(self) -> Self:
        named, layers = len(self.layer_types or ()), self.num_hidden_layers
        if self.layer_types is not None and named != layers:
            raise InputError(f"layer_types names {named} layers, num_hidden_layers = {layers}; {AS_MANY}")
        return self

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        experts = self.experts(
            inner=self.moe_intermediate_size,
            shared_inner=self.shared_expert_intermediate_size,
            shared_gate=True,
        )
        described = self.describe(**bias, qk_norm="shared", feeds=self.feeds(experts))
        linear, full = self._linear(), described.attention(output_gate=True)
        kinds = self.layer_types or (LINEAR,) * (self.full_attention_interval - 1) + (FULL,)
        return described.replace(mixers=tuple(linear if kind == LINEAR else full for kind in kinds))

    def _linear(self) -> GatedDeltaNet:
        return GatedDeltaNet(
            hidden=self.hidden_size,
            key_heads=self.linear_num_key_heads,
            value_heads=self.linear_num_value_heads,
            key_dim=self.linear_key_head_dim,
            value_dim=self.linear_value_head_dim,
            kernel=self.linear_conv_kernel_dim,
        )
