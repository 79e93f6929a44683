"""Stacks of transformer blocks that look both ways or at another sequence, and encoders from a flat description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from perfmodel.decoder import HeadCounts, Size
from perfmodel.errors import Faults
from perfmodel.layers.base import Layer
from perfmodel.layers.batch_norm import LayerScale
from perfmodel.layers.cross_attention import CrossAttention
from perfmodel.layers.embedding import Embedding, Head, PositionTable, Projection
from perfmodel.layers.encoder_attention import EncoderAttention
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.pooling import Readout
from perfmodel.layers.position_bias import RelativeBias, SegmentTable
from perfmodel.model import Block, Model, register_format
from perfmodel.specs import Spec

__all__ = ["Encoder", "Stack", "encoder"]


class Stack(Spec):
    """Dimensions and variants of the repeated blocks of an encoder, or of a decoder that reads a source."""

    layers: Annotated[int, Field(ge=0, le=100_000)]
    """Attention and feed-forward pairs [-]."""
    hidden: Size
    """Model width [-]."""
    heads: Size
    """Heads [-]."""
    inner: Size
    """Feed-forward width [-]."""
    head_dim: Size | None = None
    """Size of one head; none means hidden / heads [-]."""
    gated: bool = False
    """Gated feed-forward; else up, activation, down."""
    activation: str = "gelu"
    """Name of the feed-forward's non-linearity."""
    arrangement: Literal["pre", "post"] = "post"
    """Norms before each sub-layer or after it."""
    norm: Literal["layer", "rms"] = "layer"
    """Kind of the norms."""
    norm_bias: bool = True
    """Norms have a learned shift."""
    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    key_bias: bool = True
    """The key projection is one of them."""
    output_bias: bool = True
    """Attention's output projection has a bias."""
    mlp_bias: bool = True
    """Feed-forward projections have a bias."""
    layer_scale: bool = False
    """A learned factor a channel on what each sub-layer adds."""
    rotary: bool = False
    """Positions by rotation."""
    windows: Annotated[tuple[Size | None, ...], Field(min_length=1)] = (None,)
    """Attention windows of successive layers, repeated over the depth; none is full attention [-]."""
    causal: bool = False
    """Later positions are masked."""
    reads: bool = False
    """Each block has an attention to the source after that to its own sequence."""
    source_width: Size | None = None
    """Width of the source; none means that of the model [-]."""
    relative_buckets: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Rows of a table of relative positions in every layer [-]."""
    shared: bool = False
    """All layers use the same weights."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        faults = Faults("encoder")
        for fault in HeadCounts(self.hidden, self.heads, None, self.head_dim).faults():
            faults.add(fault)
        faults.raise_if_any()
        return self

    def normed(self, width: int | None = None) -> Norm:
        """A norm as the stack has them.

        Parameters
        ----------
        width : what it runs over; none is the model's width [-]
        """
        return Norm(width=width or self.hidden, kind=self.norm, bias=self.norm_bias)

    def blocks(self) -> tuple[Block, ...]:
        """The repeated part of a model: one block for each kind of layer."""
        counts = dict.fromkeys(self.windows, 0)
        for number in range(self.layers):
            counts[self.windows[number % len(self.windows)]] += 1
        return tuple(
            Block(layers=self._block(window), repeat=n, shared=self.shared)
            for window, n in counts.items()
            if n
        )

    def _block(self, window: int | None) -> tuple[Layer, ...]:
        parts: list[Layer] = [self._attention(window), self._mlp()]
        if self.reads:
            parts.insert(1, self._cross_attention())
        joined: list[Layer] = []
        for part in parts:
            scaled = (LayerScale(width=self.hidden),) if self.layer_scale else ()
            add, norm = Residual(width=self.hidden), self.normed()
            joined += (norm, part, *scaled, add) if self.arrangement == "pre" else (part, *scaled, add, norm)
        if self.relative_buckets:
            joined.insert(0, RelativeBias(buckets=self.relative_buckets, heads=self.heads))
        return tuple(joined)

    @property
    def _head(self) -> int:
        return self.head_dim or self.hidden // self.heads

    def _attention(self, window: int | None) -> Layer:
        return EncoderAttention(
            hidden=self.hidden, heads=self.heads, kv_heads=self.heads, head_dim=self._head,
            qkv_bias=self.qkv_bias, key_bias=self.key_bias, output_bias=self.output_bias, rotary=self.rotary,
            window=window, causal=self.causal,
        )  # fmt: skip

    def _cross_attention(self) -> Layer:
        return CrossAttention(
            hidden=self.hidden, heads=self.heads, head_dim=self._head, source_width=self.source_width,
            query_bias=self.qkv_bias, key_bias=self.qkv_bias and self.key_bias, value_bias=self.qkv_bias,
            output_bias=self.output_bias,
        )  # fmt: skip

    def _mlp(self) -> Layer:
        return Mlp(
            hidden=self.hidden, inner=self.inner, gated=self.gated, bias=self.mlp_bias,
            activation=self.activation,
        )  # fmt: skip


class Encoder(Stack):
    """Dimensions and variants of an encoder of text."""

    name: str = "encoder"
    """What reports call the model."""
    family: str = ""
    """Architecture family."""
    vocabulary: Size
    """Tokens known [-]."""
    positions: Annotated[int, Field(ge=0, le=10_000_000)] = 512
    """Rows of the learned positional table [-]."""
    segments: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Rows of the table of segments [-]."""
    embedding_width: Size | None = None
    """Width of the tables where it differs from the model's; a projection joins them [-]."""
    embedding_norm: bool = True
    """A norm follows the embedding."""
    relative_bias: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Buckets of a bias by distance that all layers share [-]."""
    final_norm: bool = False
    """A norm follows the last layer."""
    pooler: bool = False
    """A dense layer reads the first token."""
    masked_head: bool = False
    """Every position predicts its token: a dense transform, a norm, and the token table transposed."""
    tied: bool = True
    """That head shares the token table."""
    head_bias: bool = True
    """That head has a bias a token."""
    transform_bias: bool = True
    """The dense transform before it has a bias."""
    transform_norm_bias: bool = True
    """The norm after that has a shift."""

    @property
    def _table_width(self) -> int:
        return self.embedding_width or self.hidden

    def _entry(self) -> tuple[Layer, ...]:
        width = self._table_width
        parts: list[Layer] = [Embedding(vocabulary=self.vocabulary, width=width)]
        if self.positions:
            parts.append(PositionTable(positions=self.positions, width=width))
        if self.segments:
            parts.append(SegmentTable(positions=self.segments, width=width))
        if self.embedding_norm:
            parts.append(self.normed(width))
        if width != self.hidden:
            parts.append(Projection(inputs=width, outputs=self.hidden, bias=True))
        if self.relative_bias:
            parts.append(RelativeBias(buckets=self.relative_bias, heads=self.heads))
        return tuple(parts)

    def _exit(self) -> tuple[Layer, ...]:
        width = self._table_width
        parts: list[Layer] = [self.normed()] if self.final_norm else []
        if self.pooler:
            parts.append(Readout(inputs=self.hidden, outputs=self.hidden))
        if self.masked_head:
            parts += (
                Projection(inputs=self.hidden, outputs=width, bias=self.transform_bias),
                Norm(width=width, kind=self.norm, bias=self.transform_norm_bias),
                Head(vocabulary=self.vocabulary, width=width, tied=self.tied, bias=self.head_bias),
            )
        return tuple(parts)

    def model(self) -> Model:
        """The model this describes."""
        return Model(
            name=self.name,
            family=self.family,
            entry=self._entry(),
            blocks=self.blocks(),
            exit=self._exit(),
        )


def encoder(**fields: Any) -> Model:
    """An encoder of text described by hand.

    Parameters
    ----------
    **fields : the fields of `Encoder`: layers, hidden, heads, inner, vocabulary, and what differs from a BERT

    Returns
    -------
    the model

    Raises
    ------
    InputError
        a field is missing, unknown or out of range

    Examples
    --------
    >>> encoder(name="bert", layers=12, hidden=768, heads=12, inner=3072, vocabulary=30522, segments=2,
    ...         pooler=True).parameters
    109482240
    """
    return Encoder(**fields).model()


def _read(fields: Mapping[str, Any]) -> Model:
    return encoder(**fields)


register_format("encoder", _read)
