"""RecurrentGemma (Griffin)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import Dimensions
from perfmodel.layers.recurrent_gate import RecurrentGate

__all__ = ["RecurrentGemma"]


class RecurrentGemma(Dimensions):
    """Two recurrent blocks to one of attention with a sliding window; a gated feed-forward with biases."""

    aliases: ClassVar = {"sliding_window": "attention_window_size"}

    head_dim: None = None
    """Not a key of this family: width over heads [-]."""
    lru_width: Size | None = None
    """Channels of the recurrence; none means the model's width [-]."""
    attention_window_size: Size = 2048
    """Positions that a query sees [-]."""
    conv1d_width: Size = 4
    """Positions of the depthwise convolution [-]."""
    block_types: Annotated[tuple[Literal["recurrent", "attention"], ...], Field(min_length=1)] = (
        "recurrent",
        "recurrent",
        "attention",
    )
    """Kinds of successive layers, repeated over the depth."""
    attention_bias: bool = False
    """Query, key and value projections have a bias."""
    hidden_activation: str = "gelu_pytorch_tanh"
    """Non-linearity of the feed-forward."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        width, heads = (cls._number(keys, name) for name in ("lru_width", "num_attention_heads"))
        if width and heads and width % heads:
            yield f"num_attention_heads = {heads} must divide lru_width = {width}"

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        recurrence = RecurrentGate(
            hidden=self.hidden_size,
            width=self.lru_width or self.hidden_size,
            heads=self.num_attention_heads,
            kernel=self.conv1d_width,
        )
        return self.describe(
            inner=max(self.intermediate_size // 2, 1),
            activation=self.hidden_activation,
            qkv_bias=self.attention_bias,
            output_bias=True,
            mlp_bias=True,
            windows=(self.attention_window_size,),
            mixers=tuple(recurrence if kind == "recurrent" else None for kind in self.block_types),
        )
