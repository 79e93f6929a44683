"""Families with state-space layers and a few of attention: Jamba, Bamba, Granite 4 hybrids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from perfmodel.decoder import Decoder, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.experts import Routed, check_places
from perfmodel.huggingface.family import Dimensions
from perfmodel.huggingface.mamba import step_rank
from perfmodel.huggingface.windows import AS_MANY
from perfmodel.layers import Mlp
from perfmodel.layers.state_space import Mamba, Mamba2

__all__ = ["Bamba", "GraniteMoeHybrid", "Jamba"]

ATTENTION = ("attention", "full_attention")
SCAN = ("mamba", "linear_attention")


class Jamba(Routed):
    """Mamba with attention in every so-manieth layer, and experts in every other one; no positions."""

    aliases: ClassVar = {"num_local_experts": "num_experts"}
    expert_keys = ("num_experts", "num_experts_per_tok")
    fewest = 2

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    num_experts: Size
    """Experts of a layer that has them; 1 is a dense model [-]."""
    num_experts_per_tok: Size | None = None
    """Experts that one token uses; needed where there are several [-]."""
    expert_layer_period: Size = 2
    """Layers from one with experts to the next [-]."""
    expert_layer_offset: int = 1
    """The first layer with experts, counted from 0 [-]."""
    attn_layer_period: Size = 8
    """Layers from one with attention to the next [-]."""
    attn_layer_offset: int = 4
    """The first layer with attention, counted from 0 [-]."""
    mamba_d_state: Size = 16
    """States of one channel [-]."""
    mamba_d_conv: Size = 4
    """Positions of the depthwise convolution [-]."""
    mamba_expand: Size = 2
    """Channels of the scan over the model's width [-]."""
    mamba_dt_rank: Size | Literal["auto"] = "auto"
    """Width from which the step sizes are projected; auto is a sixteenth of the model's [-]."""
    mamba_conv_bias: bool = True
    """The depthwise convolution has a bias."""
    mamba_proj_bias: bool = False
    """Input and output projection of the scan have a bias."""

    @model_validator(mode="after")
    def _offsets_lie_within_periods(self) -> Self:
        for kind in ("expert", "attn"):
            period, offset = (getattr(self, f"{kind}_layer_{name}") for name in ("period", "offset"))
            if not 0 <= offset < period:
                name = f"{kind}_layer_offset"
                raise InputError(
                    f"{name} = {offset} must lie between 0 and {kind}_layer_period - 1 = {period - 1}"
                )
        if self.num_experts > 1 and self.num_experts_per_tok is None:
            raise InputError(
                f"num_experts_per_tok is missing: experts that one token uses of {self.num_experts}"
            )
        return self

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        places = range(self.num_hidden_layers)
        scan, sparse = self._scan(), self.experts() if self.num_experts > 1 else None
        attends = (place % self.attn_layer_period == self.attn_layer_offset for place in places)
        routes = (place % self.expert_layer_period == self.expert_layer_offset for place in places)
        return self.describe(
            rotary=False,
            mixers=tuple(None if one else scan for one in attends),
            feeds=tuple(sparse if one else None for one in routes),
        )

    def _scan(self) -> Mamba:
        return Mamba(
            hidden=self.hidden_size,
            inner=self.mamba_expand * self.hidden_size,
            state=self.mamba_d_state,
            rank=step_rank(self.mamba_dt_rank, self.hidden_size),
            kernel=self.mamba_d_conv,
            kernel_bias=self.mamba_conv_bias,
            bias=self.mamba_proj_bias,
            norms="learned",
        )


class Scanned(Dimensions):
    """The keys on Mamba-2 layers that Bamba and Granite share."""

    mamba_n_heads: Size = 128
    """Heads of the scan [-]."""
    mamba_d_head: Size | Literal["auto"] = "auto"
    """Channels of a head; auto shares the scan's channels among the heads [-]."""
    mamba_n_groups: Size = 1
    """Groups of heads that share what goes in and out of the state [-]."""
    mamba_d_state: Size = 256
    """States of one channel [-]."""
    mamba_d_conv: Size = 4
    """Positions of the depthwise convolution [-]."""
    mamba_expand: Size = 2
    """Channels of the scan over the model's width [-]."""
    mamba_chunk_size: Size = 256
    """Positions of a chunk of the scan [-]."""
    mamba_conv_bias: bool = True
    """The depthwise convolution has a bias."""
    mamba_proj_bias: bool = False
    """Input and output projection of the scan have a bias."""
    attention_bias: bool = False
    """All four attention projections have a bias."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        names = ("mamba_n_heads", "mamba_d_head", "mamba_expand", "hidden_size", "mamba_n_groups")
        heads, size, expand, hidden, groups = (cls._number(keys, name) for name in names)
        wide = f"mamba_expand · hidden_size = {expand} · {hidden}"
        if heads and expand and hidden and expand * hidden % heads:
            yield f"mamba_n_heads = {heads} must divide {wide} = {expand * hidden}"
        elif heads and expand and hidden and size and heads * size != expand * hidden:
            yield f"mamba_n_heads · mamba_d_head = {heads} · {size} = {heads * size} must be {wide}"
        if heads and groups and heads % groups:
            yield f"mamba_n_groups = {groups} must divide mamba_n_heads = {heads}"

    def scan(self) -> Mamba2:
        """The state-space layer."""
        return Mamba2(
            hidden=self.hidden_size,
            heads=self.mamba_n_heads,
            head_dim=self.mamba_expand * self.hidden_size // self.mamba_n_heads,
            state=self.mamba_d_state,
            groups=self.mamba_n_groups,
            kernel=self.mamba_d_conv,
            kernel_bias=self.mamba_conv_bias,
            bias=self.mamba_proj_bias,
            scan_chunk=self.mamba_chunk_size,
        )


class Bamba(Scanned):
    """Mamba-2 with attention in layers that are named."""

    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    attn_layer_indices: tuple[int, ...] | None = None
    """Layers with attention, counted from 0 [-]."""
    mlp_bias: bool = False
    """Feed-forward projections have a bias."""

    @model_validator(mode="after")
    def _layers_that_exist(self) -> Self:
        check_places("attn_layer_indices", self.attn_layer_indices or (), self.num_hidden_layers)
        return self

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        attends, scan = set(self.attn_layer_indices or ()), self.scan()
        return self.describe(
            qkv_bias=self.attention_bias,
            output_bias=self.attention_bias,
            mlp_bias=self.mlp_bias,
            mixers=tuple(None if place in attends else scan for place in range(self.num_hidden_layers)),
        )


class GraniteMoeHybrid(Scanned, Routed):
    """Mamba-2 and some attention; in every layer a shared expert, and beside it perhaps routed ones."""

    layer_kinds: ClassVar = (*SCAN, *ATTENTION)
    aliases: ClassVar = {"layers_block_type": "layer_types", "num_experts": "num_local_experts"}

    num_local_experts: int
    """Routed experts of a layer; 0 leaves the shared one alone [-]."""
    num_experts_per_tok: int | None = None
    """Routed experts that one token uses; needed where there are any [-]."""
    shared_intermediate_size: Size = 1024
    """Inner width of the shared expert [-]."""
    layer_types: tuple[str, ...] | None = None
    """Mamba or attention, for each layer; none means Mamba in all."""
    position_embedding_type: str | None = None
    """"rope" rotates queries and keys; else there are no positions."""

    @model_validator(mode="after")
    def _experts_and_layers_fit(self) -> Self:
        experts, used = self.num_local_experts, self.num_experts_per_tok
        if experts < 0:
            raise InputError(f"num_local_experts must be at least 0, not {experts}")
        if experts and not used:
            raise InputError(f"num_experts_per_tok is missing: experts that one token uses of {experts}")
        if used is not None and not 0 <= used <= experts:
            raise InputError(
                f"num_experts_per_tok = {used} must lie between 0 and num_local_experts = {experts}"
            )
        named, layers = len(self.layer_types or ()), self.num_hidden_layers
        if self.layer_types is not None and named != layers:
            raise InputError(f"layer_types names {named} layers, num_hidden_layers = {layers}; {AS_MANY}")
        return self

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        scan = self.scan()
        kinds = self.layer_types or SCAN[:1]
        return self.describe(
            qkv_bias=self.attention_bias,
            output_bias=self.attention_bias,
            rotary=self.position_embedding_type == "rope",
            mixers=tuple(None if kind in ATTENTION else scan for kind in kinds),
            feeds=(self._feed(),),
        )

    def _feed(self) -> Mlp | Any:
        if self.num_local_experts:
            return self.experts(shared_inner=self.shared_intermediate_size)
        return Mlp(hidden=self.hidden_size, inner=self.shared_intermediate_size, activation=self.hidden_act)
