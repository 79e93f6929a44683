"""BART and its kin: mBART, M2M-100 (NLLB), Pegasus, Marian."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Depth, Size
from perfmodel.encoder import Stack
from perfmodel.huggingface.headed import Labelled
from perfmodel.huggingface.seq2seq import Halves, Seq2Seq
from perfmodel.layers.base import Layer
from perfmodel.layers.embedding import PositionTable
from perfmodel.layers.norm import Norm
from perfmodel.layers.pooling import Readout

__all__ = ["M2M100", "Bart", "Marian", "Mbart", "Pegasus"]


class BartLike(Seq2Seq):
    """The keys that they share; biases everywhere, one token table for all."""

    aliases: ClassVar = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
    }
    head_keys = ("", "", "", "")
    width_keys = ("d_model", "encoder_attention_heads", "decoder_attention_heads")

    vocab_size: Size = 50265
    """Tokens known [-]."""
    d_model: Size = 1024
    """Model width [-]."""
    encoder_layers: Depth = 12
    """Layers of the encoder [-]."""
    encoder_ffn_dim: Size = 4096
    """Feed-forward width of the encoder [-]."""
    encoder_attention_heads: Size = 16
    """Heads of the encoder [-]."""
    decoder_layers: Depth = 12
    """Layers of the decoder [-]."""
    decoder_ffn_dim: Size = 4096
    """Feed-forward width of the decoder [-]."""
    decoder_attention_heads: Size = 16
    """Heads of the decoder [-]."""
    max_position_embeddings: Size = 1024
    """Rows of each positional table [-]."""
    activation_function: str = "gelu"
    """Non-linearity of the feed-forward."""

    @property
    def vocabulary(self) -> int:
        """Tokens known [-]."""
        return self.vocab_size

    @classmethod
    def unbuilt(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each thing that a config.json asks for and that is not built.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().unbuilt(keys)
        for key in ("tie_word_embeddings", "share_encoder_decoder_embeddings"):
            if keys.get(key) is False:
                yield f"{key} = False: a token table for each half is not built yet"

    def stacks(self, **variant: Any) -> tuple[Stack, Stack]:
        """The blocks of the two halves, those of a BERT but for what is given.

        Parameters
        ----------
        **variant : fields of `Stack`
        """
        shape = {"hidden": self.d_model, "activation": self.activation_function, **variant}
        encoder = Stack(
            layers=self.encoder_layers, heads=self.encoder_attention_heads, inner=self.encoder_ffn_dim,
            **shape,
        )  # fmt: skip
        decoder = Stack(
            layers=self.decoder_layers, heads=self.decoder_attention_heads, inner=self.decoder_ffn_dim,
            causal=True, reads=True, **shape,
        )  # fmt: skip
        return encoder, decoder

    def table(self, extra: int = 0) -> PositionTable:
        """A positional table of each half.

        Parameters
        ----------
        extra : rows that no position uses [-]
        """
        return PositionTable(positions=self.max_position_embeddings + extra, width=self.d_model)


class Bart(BartLike, Labelled):
    """Norms after the sub-layers and after the embedding, learned positions."""

    prefix = "Bart"
    heads = (*Seq2Seq.heads, "ForSequenceClassification")

    @property
    def labels(self) -> int:
        """Classes, three where nothing says [-]."""
        return self.num_labels or len(self.id2label or {}) or 3

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        entry = (self.table(2), Norm(width=self.d_model, kind="layer", bias=True))
        return Halves(*self.stacks(), entry, entry, final_norm=False)

    def readouts(self, width: int) -> tuple[Layer, ...]:
        """A dense layer and the classes, where it classifies.

        Parameters
        ----------
        width : of the model [-]
        """
        if self.head != "ForSequenceClassification":
            return ()
        return (Readout(inputs=width, outputs=width), Readout(inputs=width, outputs=self.labels))


class Mbart(BartLike):
    """A BART with norms before the sub-layers and after the last block."""

    prefix = "MBart"

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        entry = (self.table(2), Norm(width=self.d_model, kind="layer", bias=True))
        return Halves(*self.stacks(arrangement="pre"), entry, entry)


class M2M100(BartLike):
    """Norms before the sub-layers, positions by sine and cosine, which are no parameters."""

    prefix = "M2M100"

    vocab_size: Size = 128112
    """Tokens known [-]."""
    activation_function: str = "relu"
    """Non-linearity of the feed-forward."""

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        return Halves(*self.stacks(arrangement="pre"))


class Pegasus(BartLike):
    """Norms before the sub-layers; positions by sine and cosine, held as a table."""

    prefix = "Pegasus"

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        entry = (self.table(),)
        return Halves(*self.stacks(arrangement="pre"), entry, entry)


class Marian(BartLike):
    """Norms after the sub-layers; positions by sine and cosine, held as a table."""

    prefix = "Marian"
    heads = ("MTModel", "Model")
    writes = "MTModel"

    vocab_size: Size = 58101
    """Tokens known [-]."""

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        entry = (self.table(),)
        return Halves(*self.stacks(), entry, entry, final_norm=False)
