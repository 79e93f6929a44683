"""What an architecture family is: the keys of its config.json, their defaults, and the decoder they describe.

A family is one class with the keys that set sizes, in the spelling and with the defaults of the family's
configuration class in transformers 5. A key with no default has to be there; all others of the file are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, model_validator

from perfmodel.decoder import LARGEST, Decoder, Depth, HeadCounts, Size
from perfmodel.huggingface.unbuilt import LAYER_KINDS, features
from perfmodel.model import Model
from perfmodel.specs import Spec

__all__ = ["CLASSIC", "Dimensions", "Family", "Shape"]


class Family(Spec):
    """The keys of a config.json that set sizes, and what they mean."""

    model_config = ConfigDict(extra="ignore")

    aliases: ClassVar[Mapping[str, str]] = {}
    """Other spellings of a key that the family accepts, each with the key."""
    layer_kinds: ClassVar[tuple[str, ...]] = LAYER_KINDS
    """Kinds of layers that `layer_types` may name."""
    head_keys: ClassVar[tuple[str, str, str, str]]
    """What the family calls width, heads, key-value heads and size of a head; "" where it has no such key."""

    whole: ClassVar[bool] = False
    """It reads the nested configurations of images, sound and text itself."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        raise NotImplementedError

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        return self.decoder().replace(name=name, family=family).model()

    @classmethod
    def unbuilt(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each thing that a config.json asks for and that is not built.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        return features(keys, {*cls.model_fields, *cls.aliases}, cls.layer_kinds)

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        for other, key in cls.aliases.items():
            if keys.get(other) is not None and keys.get(key) not in (None, keys[other]):
                same = f"{key} = {keys[key]!r} and {other} = {keys[other]!r} are the same key"
                yield f"{same} and contradict each other"
        hidden, heads, kv_heads, head_dim = (cls._number(keys, key) for key in cls.head_keys)
        if hidden and heads:
            yield from HeadCounts(hidden, heads, kv_heads, head_dim).faults(cls._told(keys))

    @classmethod
    def _number(cls, keys: Mapping[str, Any], key: str) -> int | None:
        field = cls.model_fields.get(key)
        if field is None:
            return None
        value = cls._spelled(keys).get(key, field.default)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole and 0 < value <= LARGEST else None

    @classmethod
    def _told(cls, keys: Mapping[str, Any]) -> tuple[str, str, str, str]:
        hidden, heads, kv_heads, head_dim = cls.head_keys
        return hidden, heads, kv_heads if kv_heads in keys else f"{kv_heads} (by default)", head_dim

    @model_validator(mode="before")
    @classmethod
    def _read_aliases(cls, keys: Any) -> Any:
        return cls._spelled(keys)

    @classmethod
    def _spelled(cls, keys: Mapping[str, Any]) -> dict[str, Any]:
        others = {key: keys[other] for other, key in cls.aliases.items() if keys.get(other) is not None}
        return {**keys, **others}


class Shape(Family):
    """The keys that most families share."""

    vocab_size: Size
    """Tokens known [-]."""
    hidden_size: Size
    """Model width [-]."""
    num_hidden_layers: Depth
    """Layers [-]."""
    num_attention_heads: Size
    """Query heads [-]."""
    tie_word_embeddings: bool = False
    """The head shares the token table."""

    head_keys = ("hidden_size", "num_attention_heads", "", "")

    def describe(self, **variant: Any) -> Decoder:
        """A decoder of these dimensions, a Llama but for what is given.

        Parameters
        ----------
        **variant : fields of `Decoder`

        Returns
        -------
        the description
        """
        dimensions = {
            "layers": self.num_hidden_layers,
            "hidden": self.hidden_size,
            "heads": self.num_attention_heads,
            "vocabulary": self.vocab_size,
            "tied": self.tie_word_embeddings,
        }
        return Decoder(**dimensions | variant)


class Dimensions(Shape):
    """The keys that the Llamas and their kin share."""

    intermediate_size: Size
    """Feed-forward width [-]."""
    num_key_value_heads: Size | None = None
    """Key and value heads; none means as many as query heads [-]."""
    head_dim: Size | None = None
    """Size of one head; none means width over heads [-]."""
    hidden_act: str = "silu"
    """Non-linearity of the feed-forward."""

    head_keys = ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")

    def describe(self, **variant: Any) -> Decoder:
        """A decoder of these dimensions, a Llama but for what is given.

        Parameters
        ----------
        **variant : fields of `Decoder`

        Returns
        -------
        the description
        """
        dimensions = {
            "kv_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "inner": self.intermediate_size,
            "activation": self.hidden_act,
        }
        return super().describe(**dimensions | variant)


CLASSIC: dict[str, Any] = {"gated": False, "norm": "layer", "norm_bias": True}
"""What decoders were before Llama: up, activation, down, and LayerNorm with a shift."""
