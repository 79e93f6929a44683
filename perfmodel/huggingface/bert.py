"""BERT and its kin: encoders of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from perfmodel.decoder import Depth, Size
from perfmodel.encoder import Encoder
from perfmodel.huggingface.headed import Labelled
from perfmodel.layers.base import Layer
from perfmodel.layers.embedding import Projection
from perfmodel.layers.norm import Norm
from perfmodel.layers.pooling import Readout
from perfmodel.model import Block, Model

__all__ = ["Albert", "Bert", "DistilBert", "Electra", "ModernBert", "Mpnet", "Roberta", "XlmRoberta"]


class TextEncoder(Labelled):
    """What these families share: a stack of blocks, and one of a few heads."""

    heads: ClassVar[tuple[str, ...]] = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification",
             "ForQuestionAnswering")  # fmt: skip
    flags: ClassVar = {"add_cross_attention": "cross-attention", "is_decoder": "an encoder as decoder"}
    pools: ClassVar[tuple[str, ...]] = ()
    """Heads behind a pooler."""

    vocab_size: Size
    """Tokens known [-]."""
    tie_word_embeddings: bool = True
    """The head of a masked language model shares the token table."""

    def described(self) -> Encoder:
        """The encoder without its head."""
        raise NotImplementedError

    def classifier(self, width: int) -> tuple[Layer, ...]:
        """What tells sequences apart.

        Parameters
        ----------
        width : of the model [-]
        """
        dense = () if self.head in self.pools else (Readout(inputs=width, outputs=width),)
        return (*dense, Readout(inputs=width, outputs=self.labels))

    def readouts(self, width: int) -> tuple[Layer, ...]:
        """What stands after the blocks besides a pooler and a language-model head.

        Parameters
        ----------
        width : of the model [-]
        """
        match self.head:
            case "ForSequenceClassification":
                return self.classifier(width)
            case "ForTokenClassification" | "ForQuestionAnswering":
                return (Projection(inputs=width, outputs=self.labels, bias=True),)
            case "ForPreTraining":
                return (Readout(inputs=width, outputs=2),)
            case _:
                return ()

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        encoder = self.described()
        masked = self.head in ("ForMaskedLM", "ForPreTraining")
        encoder = encoder.replace(
            name=name, family=family, pooler=self.head in self.pools, masked_head=masked,
            tied=self.tie_word_embeddings,
        )  # fmt: skip
        whole = encoder.model()
        return whole.replace(exit=(*whole.exit, *self.readouts(encoder.hidden)))


class Bert(TextEncoder):
    """Norms after the sub-layers, learned positions, segments, a pooler on the first token."""

    prefix = "Bert"
    heads: ClassVar[tuple[str, ...]] = (*TextEncoder.heads, "ForPreTraining")
    pools: ClassVar[tuple[str, ...]] = ("Model", "ForSequenceClassification", "ForPreTraining")
    head_keys = ("hidden_size", "num_attention_heads", "", "")

    vocab_size: Size = 30522
    """Tokens known [-]."""
    hidden_size: Size = 768
    """Model width [-]."""
    num_hidden_layers: Depth = 12
    """Layers [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    intermediate_size: Size = 3072
    """Feed-forward width [-]."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    max_position_embeddings: Size = 512
    """Rows of the positional table [-]."""
    type_vocab_size: Size = 2
    """Rows of the table of segments [-]."""

    def described(self) -> Encoder:
        """The encoder without its head."""
        return self.describe(segments=self.type_vocab_size)

    def describe(self, **variant: Any) -> Encoder:
        """An encoder of these dimensions, a BERT without segments but for what is given.

        Parameters
        ----------
        **variant : fields of `Encoder`
        """
        dimensions = {
            "layers": self.num_hidden_layers,
            "hidden": self.hidden_size,
            "heads": self.num_attention_heads,
            "inner": self.intermediate_size,
            "vocabulary": self.vocab_size,
            "positions": self.max_position_embeddings,
            "activation": self.hidden_act,
        }
        return Encoder(**dimensions | variant)


class Roberta(Bert):
    """A BERT whose classifier has a dense layer of its own in place of the pooler."""

    prefix = "Roberta"
    heads = TextEncoder.heads
    pools = ("Model",)

    vocab_size: Size = 50265
    """Tokens known [-]."""


class XlmRoberta(Roberta):
    """A RoBERTa of a hundred languages."""

    prefix = "XLMRoberta"

    vocab_size: Size = 30522
    """Tokens known [-]."""


class Electra(Bert):
    """A BERT with narrow tables and without a pooler; its own head tells replaced tokens."""

    prefix = "Electra"
    pools = ()

    embedding_size: Size = 128
    """Width of the tables [-]."""
    hidden_size: Size = 256
    """Model width [-]."""
    num_attention_heads: Size = 4
    """Heads [-]."""
    intermediate_size: Size = 1024
    """Feed-forward width [-]."""

    def described(self) -> Encoder:
        """The encoder without its head."""
        return self.describe(segments=self.type_vocab_size, embedding_width=self.embedding_size)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        if self.head != "ForPreTraining":
            return super().model(name=name, family=family)
        width = self.hidden_size
        tell = (Projection(inputs=width, outputs=n, bias=True) for n in (width, 1))
        return self.described().replace(name=name, family=family).model().replace(exit=tuple(tell))


class Mpnet(Bert):
    """A BERT without segments, with a bias by distance that all layers share."""

    prefix = "MPNet"
    heads = TextEncoder.heads
    pools = ("Model",)

    vocab_size: Size = 30527
    """Tokens known [-]."""
    relative_attention_num_buckets: Size = 32
    """Distances told apart [-]."""

    def described(self) -> Encoder:
        """The encoder without its head."""
        return self.describe(relative_bias=self.relative_attention_num_buckets)


class Albert(Bert):
    """A BERT with narrow tables, whose layers share their weights."""

    prefix = "Albert"
    heads = TextEncoder.heads
    pools = ("Model", "ForSequenceClassification")
    flags: ClassVar = {}

    vocab_size: Size = 30000
    """Tokens known [-]."""
    embedding_size: Size = 128
    """Width of the tables [-]."""
    hidden_size: Size = 4096
    """Model width [-]."""
    num_hidden_groups: int = Field(default=1, ge=1, le=1000)
    """Groups of layers with weights of their own [-]."""
    num_attention_heads: Size = 64
    """Heads [-]."""
    intermediate_size: Size = 16384
    """Feed-forward width [-]."""
    inner_group_num: int = Field(default=1, ge=1, le=1000)
    """Layers of a group that follow each other each time it runs [-]."""
    hidden_act: str = "gelu_new"
    """Non-linearity of the feed-forward."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        groups, layers = (cls._number(keys, key) for key in ("num_hidden_groups", "num_hidden_layers"))
        if groups and layers and groups > layers:
            yield f"num_hidden_groups = {groups} is more than num_hidden_layers = {layers}"

    def described(self) -> Encoder:
        """The encoder without its head."""
        return self.describe(segments=self.type_vocab_size, embedding_width=self.embedding_size)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        whole = super().model(name=name, family=family)
        (block,) = self.described().replace(layers=1).blocks()
        count = self.num_hidden_layers
        groups = [int(layer / (count / self.num_hidden_groups)) for layer in range(count)]
        inner = block.layers * self.inner_group_num
        blocks = (
            Block(layers=inner, repeat=groups.count(group), shared=True)
            for group in range(self.num_hidden_groups)
        )
        entry = whole.entry
        if self.embedding_size == self.hidden_size:
            entry = (*entry, Projection(inputs=self.embedding_size, outputs=self.hidden_size, bias=True))
        return whole.replace(entry=entry, blocks=tuple(blocks))


class DistilBert(TextEncoder):
    """A BERT without segments and pooler."""

    prefix = "DistilBert"
    aliases: ClassVar = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }
    head_keys = ("dim", "n_heads", "", "")

    vocab_size: Size = 30522
    """Tokens known [-]."""
    dim: Size = 768
    """Model width [-]."""
    n_layers: Depth = 6
    """Layers [-]."""
    n_heads: Size = 12
    """Heads [-]."""
    hidden_dim: Size = 3072
    """Feed-forward width [-]."""
    max_position_embeddings: Size = 512
    """Rows of the positional table, learned or not [-]."""
    activation: str = "gelu"
    """Non-linearity of the feed-forward."""

    def described(self) -> Encoder:
        """The encoder without its head."""
        return Encoder(
            layers=self.n_layers, hidden=self.dim, heads=self.n_heads, inner=self.hidden_dim,
            vocabulary=self.vocab_size, positions=self.max_position_embeddings, activation=self.activation,
        )  # fmt: skip


class ModernBert(TextEncoder):
    """Rotary positions, gated feed-forwards, norms before the sub-layers, and windows but in every third layer."""

    prefix = "ModernBert"
    head_keys = ("hidden_size", "num_attention_heads", "", "")

    vocab_size: Size = 50368
    """Tokens known [-]."""
    hidden_size: Size = 768
    """Model width [-]."""
    intermediate_size: Size = 1152
    """Feed-forward width [-]."""
    num_hidden_layers: Depth = 22
    """Layers [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    hidden_activation: str = "gelu"
    """Non-linearity of the feed-forward."""
    norm_bias: bool = False
    """Norms have a learned shift."""
    attention_bias: bool = False
    """Attention's projections have a bias."""
    mlp_bias: bool = False
    """Feed-forward projections have a bias."""
    decoder_bias: bool = True
    """The head of a masked language model has a bias a token."""
    classifier_bias: bool = False
    """The dense layer before a head has a bias."""
    local_attention: Size = 128
    """Window of most layers, half of it on each side [-]."""
    global_attn_every_n_layers: Depth = 3
    """Layers from one without window to the next [-]."""
    layer_types: tuple[str, ...] | None = None
    """Kind of each layer's attention; none means by the number above."""

    def described(self) -> Encoder:
        """The encoder without its head."""
        return Encoder(
            layers=self.num_hidden_layers, hidden=self.hidden_size, heads=self.num_attention_heads,
            inner=self.intermediate_size, vocabulary=self.vocab_size, positions=0, gated=True, rotary=True,
            activation=self.hidden_activation, arrangement="pre", norm_bias=self.norm_bias, final_norm=True,
            qkv_bias=self.attention_bias, output_bias=self.attention_bias, mlp_bias=self.mlp_bias,
            windows=self._windows(), transform_bias=self.classifier_bias,
            transform_norm_bias=self.norm_bias, head_bias=self.decoder_bias,
        )  # fmt: skip

    def _windows(self) -> tuple[int | None, ...]:
        every, side = self.global_attn_every_n_layers, 2 * (self.local_attention // 2) + 1
        kinds = self.layer_types or tuple(
            "sliding_attention" if number % every else "full_attention"
            for number in range(self.num_hidden_layers)
        )
        return tuple(side if kind == "sliding_attention" else None for kind in kinds)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe; the first layer has no norm before its attention.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        whole = super().model(name=name, family=family)
        first, *others = whole.blocks
        rest = (first.replace(repeat=first.repeat - 1),) if first.repeat > 1 else ()
        return whole.replace(blocks=(Block(layers=first.layers[1:]), *rest, *others))

    def readouts(self, width: int) -> tuple[Layer, ...]:
        """A dense layer and a norm, then the classes.

        Parameters
        ----------
        width : of the model [-]
        """
        norm = Norm(width=width, kind="layer", bias=self.norm_bias)
        match self.head:
            case "ForSequenceClassification":
                dense: Layer = Readout(inputs=width, outputs=width, bias=self.classifier_bias)
                return (dense, norm, Readout(inputs=width, outputs=self.labels))
            case "ForTokenClassification" | "ForQuestionAnswering":
                dense = Projection(inputs=width, outputs=width, bias=self.classifier_bias)
                return (dense, norm, Projection(inputs=width, outputs=self.labels, bias=True))
            case _:
                return ()
