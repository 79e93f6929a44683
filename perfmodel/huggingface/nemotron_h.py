"""Nemotron-H: one sub-layer a layer, in a pattern of Mamba-2, attention, feed-forward and experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.experts import too_few_experts
from perfmodel.huggingface.family import Shape
from perfmodel.huggingface.windows import AS_MANY
from perfmodel.layers import MixtureOfExperts, Mlp
from perfmodel.layers.state_space import Mamba2

__all__ = ["NemotronH"]

LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
SAME = {"linear_attention": "mamba", "full_attention": "attention"}


class NemotronH(Shape):
    """A pattern of sub-layers, each behind one norm; no positions, squared ReLU."""

    layer_kinds: ClassVar = (*LETTERS.values(), *SAME)
    aliases: ClassVar = {
        "mamba_n_groups": "n_groups",
        "mamba_d_conv": "conv_kernel",
        "mamba_conv_bias": "use_conv_bias",
        "num_local_experts": "n_routed_experts",
        "layer_types": "layers_block_type",
    }
    head_keys = ("", "num_attention_heads", "num_key_value_heads", "head_dim")

    num_hidden_layers: Depth | None = None  # type: ignore[assignment]  # the pattern says it
    """Layers; as many as the pattern has [-]."""
    hybrid_override_pattern: str | None = None
    """A letter a layer: M for Mamba, * for attention, - for feed-forward, E for experts."""
    layers_block_type: tuple[str, ...] | None = None
    """The same in words."""
    num_attention_heads: Size = 32
    """Query heads [-]."""
    num_key_value_heads: Size | None = 8
    """Key and value heads; null means as many as query heads [-]."""
    head_dim: Size = 128
    """Size of one head [-]."""
    intermediate_size: Size = 21504
    """Feed-forward width [-]."""
    mlp_hidden_act: str = "relu2"
    """Non-linearity of feed-forwards and experts."""
    mlp_bias: bool = False
    """Feed-forward projections have a bias, those of shared experts and around latents too."""
    use_bias: bool = False
    """Input and output projection of the scan have a bias."""
    ssm_state_size: Size = 128
    """States of one channel [-]."""
    mamba_num_heads: Size = 128
    """Heads of the scan [-]."""
    mamba_head_dim: Size = 64
    """Channels of a head [-]."""
    n_groups: Size = 8
    """Groups of heads that share what goes in and out of the state [-]."""
    conv_kernel: Size = 4
    """Positions of the depthwise convolution [-]."""
    use_conv_bias: bool = True
    """The depthwise convolution has a bias."""
    chunk_size: Size = 128
    """Positions of a chunk of the scan [-]."""
    n_routed_experts: Size | None = None
    """Routed experts of a layer that has them [-]."""
    num_experts_per_tok: Size | None = None
    """Experts that one token uses [-]."""
    moe_intermediate_size: Size = 7688
    """Inner width of one expert [-]."""
    moe_shared_expert_intermediate_size: Size = 7688
    """Inner width of the shared expert [-]."""
    moe_latent_size: Size | None = None
    """Width that routed experts read and write; none means the model's [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        names = ("n_routed_experts", "num_experts_per_tok", "mamba_num_heads", "n_groups")
        experts, used, heads, groups = (cls._number(keys, name) for name in names)
        yield from too_few_experts(names[0], experts, names[1], used)
        if heads and groups and heads % groups:
            yield f"n_groups = {groups} must divide mamba_num_heads = {heads}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each layer is."""
        if self.layers_block_type is not None:
            return tuple(SAME.get(kind, kind) for kind in self.layers_block_type)
        return tuple(LETTERS.get(letter, letter) for letter in self.hybrid_override_pattern or "")

    @model_validator(mode="after")
    def _pattern_is_one(self) -> Self:
        kinds = self.kinds
        if not kinds:
            raise InputError("hybrid_override_pattern is missing: a letter a layer, such as M-M-M*-")
        strange = sorted({*kinds} - {*LETTERS.values()})
        if strange:
            letters = ", ".join(f"{letter} ({kind})" for letter, kind in LETTERS.items())
            raise InputError(f"the pattern of layers names {', '.join(strange)}; valid: {letters}")
        for key, named in (("num_hidden_layers", self.num_hidden_layers), ("pattern", self._letters())):
            if named is not None and named != len(kinds):
                raise InputError(f"{key} has {named} layers, the list of layers {len(kinds)}; {AS_MANY}")
        if "moe" in kinds:
            missing = [
                name for name in ("n_routed_experts", "num_experts_per_tok") if getattr(self, name) is None
            ]
            if missing:
                raise InputError(f"{' and '.join(missing)} missing: the pattern has layers of experts")
        return self

    def _letters(self) -> int | None:
        return None if self.hybrid_override_pattern is None else len(self.hybrid_override_pattern)

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        kinds = self.kinds
        described = self.describe(
            layers=len(kinds),
            kv_heads=self.num_key_value_heads,
            head_dim=self.head_dim,
            rotary=False,
            tied=False,  # transformers 5 ties nothing in this family, whatever the file says
            arrangement="single",
        )
        makers = {"mamba": self._scan, "mlp": self._mlp, "moe": self._experts}
        made = {kind: makers[kind]() for kind in {*kinds} - {"attention"}}
        return described.replace(mixers=tuple(made.get(kind) for kind in kinds))

    def _mlp(self) -> Mlp:
        return Mlp(
            hidden=self.hidden_size,
            inner=self.intermediate_size,
            gated=False,
            bias=self.mlp_bias,
            activation=self.mlp_hidden_act,
        )

    def _experts(self) -> MixtureOfExperts:
        return MixtureOfExperts(
            hidden=self.hidden_size,
            inner=self.moe_intermediate_size,
            experts=self.n_routed_experts or 1,
            top_k=self.num_experts_per_tok or 1,
            gated=False,
            activation=self.mlp_hidden_act,
            shared_inner=self.moe_shared_expert_intermediate_size,
            shared_bias=self.mlp_bias,
            latent=self.moe_latent_size,
            latent_bias=self.mlp_bias,
        )

    def _scan(self) -> Mamba2:
        return Mamba2(
            hidden=self.hidden_size,
            heads=self.mamba_num_heads,
            head_dim=self.mamba_head_dim,
            state=self.ssm_state_size,
            groups=self.n_groups,
            kernel=self.conv_kernel,
            kernel_bias=self.use_conv_bias,
            bias=self.use_bias,
            scan_chunk=self.chunk_size,
        )
