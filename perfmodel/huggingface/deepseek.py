"""DeepSeek V2 and V3, and Kimi K2, which is a V3 of other dimensions."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from perfmodel.decoder import Decoder, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.experts import FirstDense
from perfmodel.layers.latent_attention import LatentAttention

__all__ = ["DeepseekV2", "DeepseekV3", "KimiK2"]


class DeepseekV3(FirstDense):
    """Latent attention; experts and shared ones in all layers but the first. The router's bias is no parameter."""

    head_keys = ("", "", "", "")

    head_dim: None = None
    """Not a key of this family: heads have the sizes below."""
    num_key_value_heads: Size | None = None
    """As many as query heads: all come from one latent [-]."""
    kv_lora_rank: Size = 512
    """Width of the latent of keys and values [-]."""
    q_lora_rank: Size | None = 1536
    """Width of the latent of queries; null projects them in one step [-]."""
    qk_nope_head_dim: Size = 128
    """Part of a head's queries and keys without positions [-]."""
    qk_rope_head_dim: Size = 64
    """Part of a head's queries that is rotated [-]."""
    v_head_dim: Size = 128
    """Size of a head's values [-]."""
    attention_bias: bool = False
    """Projections to the latents and the output projection have a bias."""
    moe_intermediate_size: Size = 2048
    """Inner width of one expert [-]."""
    first_k_dense_replace: int = 3
    """Layers before the first one with experts [-]."""
    n_group: Size | None = 8
    """Groups that experts are dealt to; a token's experts come from `topk_group` of them [-]."""
    topk_group: Size | None = 4
    """Groups that one token may use [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(heads=None, kv_heads=None, mixers=(self._attention(),), feeds=self.feeds())

    def _attention(self) -> LatentAttention:
        return LatentAttention(
            hidden=self.hidden_size,
            heads=self.num_attention_heads,
            plain_dim=self.qk_nope_head_dim,
            rotary_dim=self.qk_rope_head_dim,
            value_dim=self.v_head_dim,
            kv_rank=self.kv_lora_rank,
            q_rank=self.q_lora_rank,
            bias=self.attention_bias,
        )

    @model_validator(mode="after")
    def _every_head_has_its_keys(self) -> Self:
        heads, given = self.num_attention_heads, self.num_key_value_heads
        if given is not None and given != heads:
            raise InputError(
                f"num_key_value_heads = {given} must be num_attention_heads = {heads}: all heads share one latent"
            )
        return self


class KimiK2(DeepseekV3):
    """A DeepSeek V3 with more experts and fewer heads."""


class DeepseekV2(DeepseekV3):
    """The same with one group of experts by default, and perhaps biases in the feed-forward."""

    mlp_bias: bool = False
    """Projections of dense feed-forwards and of shared experts have a bias."""
    n_shared_experts: int = 2
    """Experts of a layer that every token uses [-]."""
    first_k_dense_replace: int = 0
    """Layers before the first one with experts [-]."""
    n_group: Size | None = None
    """Groups that experts are dealt to; a token's experts come from `topk_group` of them [-]."""
    topk_group: Size | None = None
    """Groups that one token may use [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        feeds = self.feeds(shared_bias=self.mlp_bias)
        return super().decoder().replace(mlp_bias=self.mlp_bias, feeds=feeds)
