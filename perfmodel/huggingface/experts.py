"""What families with routed experts have in common: how many, how many a token uses, and which layers have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from perfmodel.decoder import Size
from perfmodel.errors import InputError
from perfmodel.huggingface.family import Dimensions
from perfmodel.layers import Layer, MixtureOfExperts

__all__ = ["FirstDense", "Routed", "Sparse", "Stepped", "check_places", "too_few_experts"]


def too_few_experts(name: str, experts: int | None, top_name: str, top_k: int | None) -> Iterator[str]:
    """One sentence where a token would use more experts than there are.

    Parameters
    ----------
    name, top_name : what the file calls the two numbers
    experts, top_k : routed experts of a layer, and those that one token uses, where known [-]

    Examples
    --------
    >>> print(*too_few_experts("num_experts", 4, "num_experts_per_tok", 8))
    num_experts_per_tok = 8 is more than num_experts = 4; valid: 1 to 4; nearest: 4
    """
    if experts and top_k and top_k > experts:
        yield f"{top_name} = {top_k} is more than {name} = {experts}; valid: 1 to {experts}; nearest: {experts}"


class Routed(Dimensions):
    """A family that says how many experts there are and how many a token uses."""

    expert_keys: ClassVar[tuple[str, str]] = ("num_local_experts", "num_experts_per_tok")
    """What the family calls experts and experts a token."""
    fewest: ClassVar[int] = 1
    """With fewer experts a layer is dense, and nothing is routed [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        name, top_name = cls.expert_keys
        experts = cls._number(keys, name)
        if experts and experts >= cls.fewest:
            yield from too_few_experts(name, experts, top_name, cls._number(keys, top_name))

    def experts(self, **variant: Any) -> MixtureOfExperts:
        """The experts of a layer.

        Parameters
        ----------
        **variant : fields of `MixtureOfExperts`, where they differ from gated experts of `intermediate_size`

        Returns
        -------
        the layer
        """
        name, top_name = self.expert_keys
        fields = {
            "hidden": self.hidden_size,
            "inner": self.intermediate_size,
            "experts": getattr(self, name),
            "top_k": getattr(self, top_name),
            "activation": self.hidden_act,
        }
        return MixtureOfExperts(**fields | variant)


class Sparse(Routed):
    """One with experts in every layer, of the width that a dense feed-forward would have."""

    aliases: ClassVar = {"num_experts": "num_local_experts"}

    num_local_experts: Size
    """Experts of a layer [-]."""
    num_experts_per_tok: Size
    """Experts that one token uses [-]."""


class Stepped(Routed):
    """Experts in every so-manieth layer, but for layers that are named (Qwen)."""

    aliases: ClassVar = {"num_local_experts": "num_experts"}
    expert_keys = ("num_experts", "num_experts_per_tok")

    num_experts: Size
    """Experts of a layer [-]."""
    num_experts_per_tok: Size
    """Experts that one token uses [-]."""
    moe_intermediate_size: Size
    """Inner width of one expert [-]."""
    decoder_sparse_step: Size = 1
    """Every so-manieth layer has experts [-]."""
    mlp_only_layers: tuple[int, ...] | None = None
    """Layers without experts, counted from 0 [-]."""

    def feeds(self, experts: MixtureOfExperts) -> tuple[Layer | None, ...]:
        """The feed-forward of each layer; none is a dense one.

        Parameters
        ----------
        experts : of the layers that have them
        """
        dense = set(self.mlp_only_layers or ())
        step = self.decoder_sparse_step
        return tuple(
            None if place in dense or (place + 1) % step else experts
            for place in range(self.num_hidden_layers)
        )

    @model_validator(mode="after")
    def _layers_that_exist(self) -> Self:
        check_places("mlp_only_layers", self.mlp_only_layers or (), self.num_hidden_layers)
        return self


class FirstDense(Routed):
    """Experts in all layers but the first ones, next to shared ones (DeepSeek, GLM)."""

    aliases: ClassVar = {"num_local_experts": "n_routed_experts", "num_experts": "n_routed_experts"}
    expert_keys = ("n_routed_experts", "num_experts_per_tok")

    n_routed_experts: Size
    """Experts of a layer that are routed to [-]."""
    num_experts_per_tok: Size
    """Experts that one token uses [-]."""
    n_shared_experts: int = 1
    """Experts of a layer that every token uses [-]."""
    moe_intermediate_size: Size
    """Inner width of one expert [-]."""
    first_k_dense_replace: int = 1
    """Layers before the first one with experts [-]."""
    n_group: Size | None = 1
    """Groups that experts are dealt to; a token's experts come from `topk_group` of them [-]."""
    topk_group: Size | None = 1
    """Groups that one token may use [-]."""

    def feeds(self, **variant: Any) -> tuple[Layer | None, ...]:
        """The feed-forward of each layer; none is a dense one.

        Parameters
        ----------
        **variant : fields of `MixtureOfExperts`, where they differ
        """
        width = self.moe_intermediate_size
        experts = self.experts(inner=width, shared_inner=self.n_shared_experts * width, **variant)
        dense = min(max(self.first_k_dense_replace, 0), self.num_hidden_layers)
        return (None,) * dense + (experts,) * (self.num_hidden_layers - dense)

    @model_validator(mode="after")
    def _groups_hold_enough_experts(self) -> Self:
        groups, used = self.n_group or 1, self.topk_group or 1
        if self.n_routed_experts % groups:
            raise InputError(f"n_group = {groups} must divide n_routed_experts = {self.n_routed_experts}")
        if used > groups:
            raise InputError(f"topk_group = {used} is more than n_group = {groups}")
        if self.num_experts_per_tok > self.n_routed_experts // groups * used:
            held = f"topk_group = {used} of n_group = {groups} groups hold {self.n_routed_experts // groups * used}"
            raise InputError(f"num_experts_per_tok = {self.num_experts_per_tok} experts, but {held}")
        if self.n_shared_experts < 0:
            raise InputError(f"n_shared_experts must be at least 0, not {self.n_shared_experts}")
        return self


def check_places(key: str, places: Iterable[int], layers: int) -> None:
    """Refuse a list of layers that names one that does not exist.

    Parameters
    ----------
    key : whose list it is
    places : of layers, counted from 0 [-]
    layers : that the model has [-]
    """
    beyond = [place for place in places if not 0 <= place < layers]
    if beyond:
        raise InputError(f"{key} names layer {beyond[0]}, but layers are counted from 0 to {layers - 1}")
