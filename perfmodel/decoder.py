"""A dense decoder from a flat description: what most model families are, said in one call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

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

Arrangement = Literal["pre", "post", "sandwich", "parallel"]
"""Where the norms stand."""
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


class Decoder(Spec):
    """Dimensions and variants of a dense decoder-only transformer."""

    name: str = "decoder"
    """What reports call the model."""
    family: str = ""
    """Architecture family."""
    layers: Depth
    """Attention and feed-forward pairs [-]."""
    hidden: Size
    """Model width [-]."""
    heads: Size
    """Query heads [-]."""
    inner: Size
    """Feed-forward width [-]."""
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

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        faults = Faults(f"decoder {self.name!r}")
        for fault in HeadCounts(self.hidden, self.heads, self.kv_heads, self.head_dim).faults():
            faults.add(fault)
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
        counts = dict.fromkeys(self.windows, 0)
        rounds, rest = divmod(self.layers, len(self.windows))
        for place, window in enumerate(self.windows):
            counts[window] += rounds + (place < rest)
        return tuple(Block(layers=self._block(window), repeat=n) for window, n in counts.items() if n)

    def _block(self, window: int | None) -> tuple[Layer, ...]:
        norm, attention, mlp = self._norm(), self._attention(window), self._mlp()
        add = Residual(width=self.hidden)
        match self.arrangement:
            case "pre":
                return (norm, attention, add, norm, mlp, add)
            case "post":
                return (attention, norm, add, mlp, norm, add)
            case "sandwich":
                return (norm, attention, norm, add, norm, mlp, norm, add)
            case "parallel":
                return (*[norm] * self.parallel_norms, attention, mlp, Residual(width=self.hidden, inputs=3))

    def _norm(self) -> Norm:
        return Norm(width=self.hidden, kind=self.norm, weight=self.norm_weight, bias=self.norm_bias)

    def _attention(self, window: int | None) -> SelfAttention:
        return SelfAttention(
            hidden=self.hidden,
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_dim=self.head_dim or self.hidden // self.heads,
            qkv_bias=self.qkv_bias,
            output_bias=self.output_bias,
            rotary=self.rotary,
            qk_norm=self.qk_norm,
            qk_norm_bias=self.qk_norm_bias,
            window=window,
        )

    def _mlp(self) -> Mlp:
        return Mlp(
            hidden=self.hidden,
            inner=self.inner,
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
