"""A decoder from a flat description: what most model families are, said in one call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, SerializeAsAny, model_validator

from perfmodel.errors import Faults
from perfmodel.layers import (
    Embedding,
    Head,
    Layer,
    Mlp,
    Norm,
    PositionTable,
    Projection,
    Residual,
    SelfAttention,
)
from perfmodel.layers.attention import QueryKeyNorm
from perfmodel.model import Block, Model, register_format
from perfmodel.specs import Spec

__all__ = ["LARGEST", "Decoder", "Depth", "HeadCounts", "Size", "decoder"]

Arrangement = Literal["pre", "post", "sandwich", "parallel", "single"]
"""Where the norms stand; "single" has one sub-layer a layer, behind one norm."""
LARGEST = 10_000_000
"""More than any model has of anything, and less than many a slip of the keyboard [-]."""
Size = Annotated[int, Field(ge=1, le=LARGEST)]
"""A count or a width."""
Depth = Annotated[int, Field(ge=1, le=100_000)]
"""A number of layers."""


class HeadCounts(NamedTuple):
    """How a model's width is shared among its heads.

    Parameters
    ----------
    hidden : model width [-]
    heads : query heads [-]
    kv_heads : key and value heads, where they are given [-]
    head_dim : size of one head, where it is given [-]
    """

    hidden: int
    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None

    def faults(
        self, names: tuple[str, str, str, str] = ("hidden", "heads", "kv_heads", "head_dim")
    ) -> Iterator[str]:
        """One sentence for each rule that the numbers break.

        Parameters
        ----------
        names : what the user calls the four numbers; "" where there is no such name

        Examples
        --------
        >>> print(*HeadCounts(hidden=4096, heads=32, kv_heads=7).faults())
        kv_heads = 7 must divide heads = 32; valid: 1, 2, 4, 8, 16, 32; nearest: 8
        """
        hidden, heads, kv_heads, head_dim = names
        if self.head_dim is None and self.hidden % self.heads:
            unless = f" unless {head_dim} is given" if head_dim else ""
            rule = f"{heads} = {self.heads} must divide {hidden} = {self.hidden}{unless}"
            yield f"{rule}; {_divisors(self.hidden, near=self.heads)}"
        if self.kv_heads is not None and self.heads % self.kv_heads:
            rule = f"{kv_heads} = {self.kv_heads} must divide {heads} = {self.heads}"
            yield f"{rule}; {_divisors(self.heads, near=self.kv_heads)}"


def _divisors(number: int, *, near: int, listed: int = 12) -> str:
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    valid = sorted({*small, *(number // n for n in small)}, key=lambda n: (abs(n - near), n))
    shown = ", ".join(map(str, sorted(valid[:listed]))) + (", …" if len(valid) > listed else "")
    return f"valid: {shown}; nearest: {valid[0]}"


Parts = Annotated[tuple[SerializeAsAny[Layer] | None, ...], Field(min_length=1)]
"""Layers that stand in the place of others; None leaves the place as it is."""


class Decoder(Spec):
    """Dimensions and variants of a decoder-only model: a dense transformer, unless other layers are put in its places.

    Examples
    --------
    >>> from perfmodel.layers import MixtureOfExperts
    >>> experts = MixtureOfExperts(hidden=64, inner=128, experts=8, top_k=2)
    >>> sparse = decoder(layers=4, hidden=64, heads=4, inner=256, vocabulary=1000, feeds=(None, experts))
    >>> sparse.parameters, sparse.active_parameters
    (686656, 391744)
    """

    name: str = "decoder"
    """What reports call the model."""
    family: str = ""
    """Architecture family."""
    layers: Depth
    """Attention and feed-forward pairs [-]."""
    hidden: Size
    """Model width [-]."""
    heads: Size | None = None
    """Query heads; needed by every layer with attention [-]."""
    inner: Size | None = None
    """Feed-forward width; needed by every layer with a dense feed-forward [-]."""
    vocabulary: Size
    """Tokens known [-]."""
    kv_heads: Size | None = None
    """Key and value heads; None means as many as `heads` [-]."""
    head_dim: Size | None = None
    """Size of one head; None means hidden / heads [-]."""
    gated: bool = True
    """Gated feed-forward (SwiGLU, GeGLU); else up, activation, down."""
    activation: str = "silu"
    """Name of the feed-forward's non-linearity."""
    arrangement: Arrangement = "pre"
    """Norms before each sub-layer, after it, on both sides, or both sub-layers in parallel."""
    parallel_norms: Literal[1, 2] = 1
    """Norms before the parallel sub-layers: 1 shared or 2 [-]."""
    norm: Literal["layer", "rms"] = "rms"
    """Kind of the norms."""
    norm_weight: bool = True
    """Norms have a learned scale."""
    norm_bias: bool = False
    """Norms have a learned shift."""
    final_norm: bool = True
    """A norm follows the last layer."""
    embedding_norm: bool = False
    """A norm follows the embedding."""
    qkv_bias: bool = False
    """Query, key and value projections have a bias."""
    output_bias: bool = False
    """Attention's output projection has a bias."""
    mlp_bias: bool = False
    """Feed-forward projections have a bias."""
    head_bias: bool = False
    """The output head has a bias."""
    tied: bool = False
    """The head shares the token table."""
    qk_norm: QueryKeyNorm = "none"
    """Norm on queries and keys: none, one scale shared by all heads, one per head, or one over the full width."""
    qk_norm_bias: bool = False
    """That norm has a learned shift."""
    rotary: bool = True
    """Positions by rotation; else learned (`positions`), ALiBi or none, which cost no kernel of their own."""
    positions: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Rows of a learned positional table [-]."""
    embedding_width: Size | None = None
    """Width of the token table where it differs from the model's; projections join them [-]."""
    windows: Annotated[tuple[Size | None, ...], Field(min_length=1)] = (None,)
    """Attention windows of successive layers, repeated over the depth; None is full attention [-]."""
    mixers: Parts = (None,)
    """What stands in attention's place in successive layers, repeated over the depth; None is the attention above."""
    feeds: Parts = (None,)
    """The same for the feed-forward; None is the dense one above."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        faults = Faults(f"decoder {self.name!r}")
        if self.heads is not None:
            for fault in HeadCounts(self.hidden, self.heads, self.kv_heads, self.head_dim).faults():
                faults.add(fault)
        elif None in self.mixers:
            faults.add("heads is missing: Query heads [-]")
        if self.inner is None and None in self.feeds and self.arrangement != "single":
            faults.add("inner is missing: Feed-forward width [-]")
        faults.raise_if_any()
        return self

    def model(self) -> Model:
        """The model this describes."""
        width = self.embedding_width or self.hidden
        entry: list[Layer] = [Embedding(vocabulary=self.vocabulary, width=width)]
        leave: list[Layer] = [self._norm()] if self.final_norm else []
        if width != self.hidden:
            entry.append(Projection(inputs=width, outputs=self.hidden))
            leave.append(Projection(inputs=self.hidden, outputs=width))
        if self.positions:
            entry.append(PositionTable(positions=self.positions, width=self.hidden))
        if self.embedding_norm:
            entry.append(self._norm())
        leave.append(Head(vocabulary=self.vocabulary, width=width, tied=self.tied, bias=self.head_bias))
        ends = {"entry": tuple(entry), "exit": tuple(leave)}
        return Model(name=self.name, family=self.family, blocks=self._blocks(), **ends)

    def _blocks(self) -> tuple[Block, ...]:
        counts: dict[tuple[Layer, Layer | None], int] = {}
        for place in range(self.layers):
            kind = self._mixer(place), self._feed(place)
            counts[kind] = counts.get(kind, 0) + 1
        return tuple(Block(layers=self._block(*kind), repeat=n) for kind, n in counts.items())

    def _mixer(self, place: int) -> Layer:
        given = self.mixers[place % len(self.mixers)]
        return self.attention(window=self.windows[place % len(self.windows)]) if given is None else given

    def _feed(self, place: int) -> Layer | None:
        if self.arrangement == "single":
            return None
        return self.feeds[place % len(self.feeds)] or self._mlp

    def _block(self, mixer: Layer, feed: Layer | None) -> tuple[Layer, ...]:
        norm, add = self._norm(), Residual(width=self.hidden)
        if feed is None:
            return (norm, mixer, add)
        match self.arrangement:
            case "post":
                return (mixer, norm, add, feed, norm, add)
            case "sandwich":
                return (norm, mixer, norm, add, norm, feed, norm, add)
            case "parallel":
                return (*[norm] * self.parallel_norms, mixer, feed, Residual(width=self.hidden, inputs=3))
            case _:
                return (norm, mixer, add, norm, feed, add)

    def _norm(self) -> Norm:
        return Norm(width=self.hidden, kind=self.norm, weight=self.norm_weight, bias=self.norm_bias)

    @cached_property
    def _attended(self) -> dict[int | None, SelfAttention]:
        return {}

    def attention(self, window: int | None = None, **changes: Any) -> SelfAttention:
        """The attention that the fields describe.

        Parameters
        ----------
        window : positions that a query sees; None is all [-]
        **changes : other fields of `SelfAttention`

        Returns
        -------
        the layer
        """
        if changes:
            return self.attention(window).replace(**changes)
        if window not in self._attended:
            heads = self.heads or 1
            self._attended[window] = SelfAttention(
                hidden=self.hidden,
                heads=heads,
                kv_heads=self.kv_heads or heads,
                head_dim=self.head_dim or self.hidden // heads,
                qkv_bias=self.qkv_bias,
                output_bias=self.output_bias,
                rotary=self.rotary,
                qk_norm=self.qk_norm,
                qk_norm_bias=self.qk_norm_bias,
                window=window,
            )
        return self._attended[window]

    @cached_property
    def _mlp(self) -> Mlp:
        return Mlp(
            hidden=self.hidden,
            inner=self.inner or 1,
            gated=self.gated,
            bias=self.mlp_bias,
            activation=self.activation,
        )


def decoder(**fields: Any) -> Model:
    """A dense decoder-only model described by hand.

    Parameters
    ----------
    **fields : the fields of `Decoder`: layers, hidden, heads, inner, vocabulary, and what differs from a Llama

    Returns
    -------
    the model

    Raises
    ------
    InputError
        a field is missing, unknown or out of range

    Examples
    --------
    >>> decoder(name="gpt-22b", layers=48, hidden=6144, heads=64, inner=24576, vocabulary=51200, gated=False,
    ...         norm="layer", norm_bias=True, qkv_bias=True, output_bias=True, mlp_bias=True, tied=True,
    ...         rotary=False, positions=2048).parameters
    22074273792
    """
    return Decoder(**fields).model()


def _read(fields: Mapping[str, Any]) -> Model:
    return decoder(**fields)


register_format("decoder", _read)
