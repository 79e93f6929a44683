"""Models of two sequences: an encoder reads one, a decoder that looks at it writes the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from perfmodel.decoder import HeadCounts
from perfmodel.encoder import Stack
from perfmodel.huggingface.headed import Headed
from perfmodel.layers.base import Layer
from perfmodel.layers.embedding import Embedding, Head, SharedEmbedding
from perfmodel.model import Model

__all__ = ["Halves", "Seq2Seq"]


class Halves(NamedTuple):
    """What the two halves of such a model are made of, beside the token table that they share.

    Parameters
    ----------
    encoder, decoder : their blocks
    encoder_entry, decoder_entry : what stands between the embedding and the blocks
    final_norm : a norm follows the last block of each
    tied : the head shares the token table
    """

    encoder: Stack
    decoder: Stack
    encoder_entry: tuple[Layer, ...] = ()
    decoder_entry: tuple[Layer, ...] = ()
    final_norm: bool = True
    tied: bool = True


class Seq2Seq(Headed):
    """A family of such models."""

    heads: ClassVar[tuple[str, ...]] = ("ForConditionalGeneration", "Model")
    writes: ClassVar[str] = "ForConditionalGeneration"
    """The head that predicts tokens."""
    width_keys: ClassVar[tuple[str, ...]]
    """Width of the model, then heads of encoder and decoder, each dividing it unless heads have their own size."""

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> int:
        """Tokens known [-]."""
        raise NotImplementedError

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        width, *others = cls.width_keys
        hidden = cls._number(keys, width)
        for key in others:
            heads = cls._number(keys, key)
            if hidden and heads:
                yield from HeadCounts(hidden, heads).faults((width, key, "", ""))

    def reader(self, *, name: str, family: str) -> Model:
        """The encoder, which reads.

        Parameters
        ----------
        name, family : of the whole model
        """
        halves = self.halves()
        first = SharedEmbedding(vocabulary=self.vocabulary, width=halves.encoder.hidden)
        return Model(
            name=f"{name} encoder",
            family=family,
            entry=(first, *halves.encoder_entry),
            blocks=halves.encoder.blocks(),
            exit=(halves.encoder.normed(),) if halves.final_norm else (),
        )

    def readouts(self, width: int) -> tuple[Layer, ...]:
        """What stands behind the decoder besides a language-model head.

        Parameters
        ----------
        width : of the model [-]
        """
        return ()

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        halves, reader = self.halves(), self.reader(name=name, family=family)
        width = halves.decoder.hidden
        table = Embedding(vocabulary=self.vocabulary, width=width)
        if self.head == "EncoderModel":
            return reader.replace(name=name, entry=(table, *reader.entry[1:]))
        leave: tuple[Layer, ...] = (halves.decoder.normed(),) if halves.final_norm else ()
        if self.head == self.writes:
            leave = (*leave, Head(vocabulary=self.vocabulary, width=width, tied=halves.tied))
        return Model(
            name=name,
            family=family,
            source=reader,
            entry=(table, *halves.decoder_entry),
            blocks=halves.decoder.blocks(),
            exit=(*leave, *self.readouts(width)),
        )
