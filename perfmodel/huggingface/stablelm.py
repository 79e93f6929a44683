"""StableLM."""

from __future__ import annotations

from perfmodel.decoder import Decoder, Size
from perfmodel.huggingface.family import Dimensions

__all__ = ["StableLm"]


class StableLm(Dimensions):
    """A Llama with LayerNorm and, in some sizes, biases, norms on queries and keys, or parallel sub-layers."""

    head_keys = ("hidden_size", "num_attention_heads", "num_key_value_heads", "")

    num_key_value_heads: Size = 32
    """Key and value heads [-]."""
    use_qkv_bias: bool = False
    """Query, key and value projections have a bias."""
    qk_layernorm: bool = False
    """A norm on each head of queries and keys."""
    use_parallel_residual: bool = False
    """Attention and feed-forward read the same input."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            head_dim=None,
            norm="layer",
            norm_bias=True,
            qkv_bias=self.use_qkv_bias,
            arrangement="parallel" if self.use_parallel_residual else "pre",
            qk_norm="per_head" if self.qk_layernorm else "none",
        )
