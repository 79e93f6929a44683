"""GPT-1 and GPT-2, and the families that kept their keys: GPT-BigCode, GPT-J, CodeGen."""

from __future__ import annotations

from typing import Any, ClassVar

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.huggingface.family import Family

__all__ = ["CodeGen", "Gpt1", "Gpt2", "GptBigCode", "GptJ"]


class Gpt(Family):
    """The keys that these families share."""

    aliases: ClassVar = {
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "max_position_embeddings": "n_positions",
    }
    head_keys = ("n_embd", "n_head", "", "")

    vocab_size: Size
    """Tokens known [-]."""
    n_embd: Size
    """Model width [-]."""
    n_layer: Depth
    """Layers [-]."""
    n_head: Size
    """Heads [-]."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""
    activation_function: str = "gelu_new"
    """Non-linearity of the feed-forward."""

    def describe(self, **variant: Any) -> Decoder:
        """A GPT-2 of these dimensions, but for what is given.

        Parameters
        ----------
        **variant : fields of `Decoder`

        Returns
        -------
        the description
        """
        dimensions = {
            "layers": self.n_layer,
            "hidden": self.n_embd,
            "heads": self.n_head,
            "inner": 4 * self.n_embd,
            "vocabulary": self.vocab_size,
            "activation": self.activation_function,
            "tied": self.tie_word_embeddings,
        }
        biases = dict.fromkeys(("norm_bias", "qkv_bias", "output_bias", "mlp_bias"), True)
        return Decoder(**dimensions | biases | {"gated": False, "norm": "layer", "rotary": False} | variant)


class Gpt1(Gpt):
    """Norms after the sub-layers, none after the last, a feed-forward of four times the width."""

    n_positions: Size = 512
    """Rows of the position table [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(positions=self.n_positions, arrangement="post", final_norm=False)


class WithInner(Gpt):
    """Those that can set the feed-forward's width."""

    n_inner: Size | None = None
    """Feed-forward width; none means four times the model's [-]."""

    @property
    def inner(self) -> int:
        """Feed-forward width [-]."""
        return self.n_inner or 4 * self.n_embd


class Gpt2(WithInner):
    """Norms before the sub-layers, learned positions, biases everywhere."""

    n_positions: Size = 1024
    """Rows of the position table [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(positions=self.n_positions, inner=self.inner)


class GptBigCode(Gpt2):
    """A GPT-2 whose heads share one key and value (SantaCoder, StarCoder)."""

    multi_query: bool = True
    """One key-value head for all."""
    activation_function: str = "gelu_pytorch_tanh"
    """Non-linearity of the feed-forward."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return super().decoder().replace(kv_heads=1 if self.multi_query else self.n_head)


class GptJ(WithInner):
    """Attention and feed-forward in parallel behind one norm, rotary positions, a head with a bias."""

    tie_word_embeddings: bool = False
    """The head shares the token table."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            inner=self.inner,
            arrangement="parallel",
            rotary=True,
            qkv_bias=False,
            output_bias=False,
            head_bias=True,
        )


class CodeGen(GptJ):
    """A GPT-J with its query, key and value weights in one matrix."""
