"""Mixtral and the families that have experts in every layer: Phi-3.5-MoE, OLMoE, Granite MoE, MiniMax M2, GPT-OSS."""

from __future__ import annotations

from typing import Any, ClassVar

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.experts import Routed, Sparse
from perfmodel.huggingface.windows import FULL, SLIDING, LayerTypes

__all__ = ["GptOss", "GraniteMoe", "GraniteMoeShared", "MiniMaxM2", "Mixtral", "Olmoe", "PhiMoe"]


class Mixtral(Sparse):
    """A Mistral with experts in place of its feed-forward."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    sliding_window: Size | None = None
    """Positions that a query sees; null means all [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(windows=(self.sliding_window,), feeds=(self.experts(),))


class PhiMoe(Mixtral):
    """A Mixtral with LayerNorm, and with biases in attention and head."""

    attention_bias: bool = False
    """All four attention projections have a bias."""
    lm_head_bias: bool = False
    """The head has a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias: dict[str, Any] = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        return super().decoder().replace(norm="layer", norm_bias=True, head_bias=self.lm_head_bias, **bias)


class GraniteMoe(Sparse):
    """A Granite with experts in place of its feed-forward."""

    attention_bias: bool = False
    """All four attention projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.described()

    def described(self, **variant: Any) -> Decoder:
        """The same with experts of a kind.

        Parameters
        ----------
        **variant : fields of `MixtureOfExperts`
        """
        bias = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        return self.describe(**bias, feeds=(self.experts(**variant),))


class GraniteMoeShared(GraniteMoe):
    """A Granite MoE with a shared expert."""

    shared_intermediate_size: int = 0
    """Inner width of the shared expert; 0 is none [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.described(shared_inner=max(self.shared_intermediate_size, 0))


class Olmoe(Routed):
    """An OLMo with experts, and with norms on queries and keys over their full width."""

    aliases: ClassVar = {"num_local_experts": "num_experts"}
    expert_keys = ("num_experts", "num_experts_per_tok")

    num_experts: Size
    """Experts of a layer [-]."""
    num_experts_per_tok: Size
    """Experts that one token uses [-]."""
    attention_bias: bool = False
    """All four attention projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        return self.describe(**bias, qk_norm="full", feeds=(self.experts(),))


class MiniMaxM2(Sparse):
    """A Mixtral with heads of a size of their own and norms on queries and keys over their full width."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size = 128
    """Size of one head [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(qk_norm="full", feeds=(self.experts(),))


class GptOss(Sparse, LayerTypes):
    """Biases everywhere, also in router and experts; sinks in attention; a sliding window in every other layer."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size = 64
    """Size of one head [-]."""
    sliding_window: Size | None = 128
    """Positions that a layer with a sliding window sees [-]."""
    attention_bias: bool = True
    """All four attention projections have a bias."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        bias = dict.fromkeys(("qkv_bias", "output_bias"), self.attention_bias)
        described = self.describe(**bias, feeds=(self.experts(expert_bias=True, router_bias=True),))
        windows = self.windows((SLIDING, FULL))
        return described.replace(mixers=tuple(described.attention(window, sinks=True) for window in windows))
