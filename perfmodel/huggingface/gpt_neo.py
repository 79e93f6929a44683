"""GPT-Neo, and GPT-NeoX with Pythia."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from perfmodel.decoder import Decoder, Size
from perfmodel.errors import InputError
from perfmodel.huggingface.family import CLASSIC, Shape
from perfmodel.huggingface.windows import AS_MANY

__all__ = ["GptNeo", "GptNeoX"]

Attention = Literal["global", "local"]
Times = Annotated[int, Field(ge=0, le=100_000)]


class GptNeo(Shape):
    """A GPT-2 whose layers alternate between full attention and a window."""

    aliases: ClassVar = {"num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}

    intermediate_size: Size | None = None
    """Feed-forward width; none means four times the model's [-]."""
    max_position_embeddings: Size = 2048
    """Rows of the position table [-]."""
    attention_types: tuple[tuple[tuple[Attention, ...], Times], ...] | None = None
    """Sequences of layers, global or local, each with how often it comes; none means in turn."""
    window_size: Size = 256
    """Positions that a local layer sees [-]."""
    activation_function: str = "gelu_new"
    """Non-linearity of the feed-forward."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    @model_validator(mode="after")
    def _one_type_a_layer(self) -> Self:
        named = sum(len(kinds) * times for kinds, times in self.attention_types or ())
        if self.attention_types is not None and named != self.num_hidden_layers:
            layers = self.num_hidden_layers
            raise InputError(f"attention_types names {named} layers, num_layers = {layers}; {AS_MANY}")
        return self

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        types = self.attention_types or ((("global", "local"), 1),)
        layers = (kind for kinds, times in types for kind in kinds * times)
        return self.describe(
            **CLASSIC,
            inner=self.intermediate_size or 4 * self.hidden_size,
            activation=self.activation_function,
            output_bias=True,
            mlp_bias=True,
            rotary=False,
            positions=self.max_position_embeddings,
            windows=tuple(self.window_size if kind == "local" else None for kind in layers),
        )


class GptNeoX(Shape):
    """Attention and feed-forward in parallel behind a norm each, or one after the other."""

    intermediate_size: Size
    """Feed-forward width [-]."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    attention_bias: bool = True
    """All four attention projections have a bias."""
    use_parallel_residual: bool = True
    """Attention and feed-forward read the same input."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            **CLASSIC,
            inner=self.intermediate_size,
            activation=self.hidden_act,
            qkv_bias=self.attention_bias,
            output_bias=self.attention_bias,
            mlp_bias=True,
            arrangement="parallel" if self.use_parallel_residual else "pre",
            parallel_norms=2,
        )
