"""DBRX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, model_validator

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.experts import too_few_experts
from perfmodel.huggingface.family import Family
from perfmodel.layers import MixtureOfExperts
from perfmodel.specs import Spec

__all__ = ["Dbrx"]


class DbrxAttention(Spec):
    """The part of the file on attention."""

    model_config = ConfigDict(extra="ignore")

    kv_n_heads: Size = 1
    """Key and value heads [-]."""


class DbrxExperts(Spec):
    """The part of the file on experts."""

    model_config = ConfigDict(extra="ignore")

    ffn_hidden_size: Size = 3584
    """Inner width of one expert [-]."""
    moe_num_experts: Size
    """Experts of a layer [-]."""
    moe_top_k: Size
    """Experts that one token uses [-]."""


class Dbrx(Family):
    """Experts in every layer, LayerNorm without a shift, grouped queries."""

    aliases: ClassVar = {
        "num_attention_heads": "n_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
    }
    head_keys = ("d_model", "n_heads", "", "")

    vocab_size: Size
    """Tokens known [-]."""
    d_model: Size
    """Model width [-]."""
    n_layers: Depth
    """Layers [-]."""
    n_heads: Size
    """Query heads [-]."""
    attn_config: DbrxAttention
    """Key-value heads."""
    ffn_config: DbrxExperts
    """Experts."""
    tie_word_embeddings: bool = False
    """Must be false: the family has a head of its own."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        inner = keys.get("ffn_config")
        names = ("moe_num_experts", "moe_top_k")
        if isinstance(inner, Mapping) and all(type(inner.get(name)) is int for name in names):
            yield from too_few_experts(names[0], inner[names[0]], names[1], inner[names[1]])

    @model_validator(mode="after")
    def _has_its_own_head(self) -> Self:
        if self.tie_word_embeddings:
            raise InputError("tie_word_embeddings = True: this family always has a head of its own")
        return self

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        experts = MixtureOfExperts(
            hidden=self.d_model,
            inner=self.ffn_config.ffn_hidden_size,
            experts=self.ffn_config.moe_num_experts,
            top_k=self.ffn_config.moe_top_k,
        )
        return Decoder(
            layers=self.n_layers,
            hidden=self.d_model,
            heads=self.n_heads,
            kv_heads=self.attn_config.kv_n_heads,
            vocabulary=self.vocab_size,
            norm="layer",
            feeds=(experts,),
        )
