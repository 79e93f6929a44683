"""OPT."""

from __future__ import annotations

from pydantic import Field

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import CLASSIC, Shape

__all__ = ["Opt"]

OFFSET = 2
"""Rows of the position table before the first position, kept from fairseq [-]."""


class Opt(Shape):
    """Learned positions, ReLU, biases everywhere; the smallest have a narrower token table or norms behind."""

    ffn_dim: Size
    """Feed-forward width [-]."""
    max_position_embeddings: Size = 2048
    """Positions [-]."""
    word_embed_proj_dim: Size | None = None
    """Width of the token table; none means the model's [-]."""
    do_layer_norm_before: bool = True
    """Norms stand before the sub-layers, and one after the last."""
    remove_final_layer_norm: bool = Field(default=False, validation_alias="_remove_final_layer_norm")
    """There is none after the last all the same."""
    layer_norm_elementwise_affine: bool = True
    """Norms have a learned scale and shift."""
    enable_bias: bool = True
    """Attention and feed-forward have biases."""
    activation_function: str = "relu"
    """Non-linearity of the feed-forward."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        biases = dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), self.enable_bias)
        norms = dict.fromkeys(("norm_weight", "norm_bias"), self.layer_norm_elementwise_affine)
        return self.describe(
            **CLASSIC | biases | norms,
            inner=self.ffn_dim,
            activation=self.activation_function,
            arrangement="pre" if self.do_layer_norm_before else "post",
            final_norm=self.do_layer_norm_before and not self.remove_final_layer_norm,
            rotary=False,
            positions=self.max_position_embeddings + OFFSET,
            embedding_width=self.word_embed_proj_dim,
        )
