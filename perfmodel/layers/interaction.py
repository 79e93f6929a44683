"""What recommendation models are made of: bags of embeddings, dot products of their pairs, and crosses."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from perfmodel.errors import InputError
from perfmodel.layers.base import Layer, Pass, Weight, linear_backward, linear_forward, stream
from perfmodel.work import Matmul, Repeat, Serial, Stream, Work

__all__ = ["DotInteraction", "EmbeddingBags", "LowRankCross"]

Rows = Annotated[int, Field(ge=1)]


class EmbeddingBags(Layer):
    """Embedding tables of one width; of each, the rows that a sample names are added up.

    Every rank holds all tables: how they are dealt out to devices is no part of a `Parallel` yet.
    """

    rows: Annotated[tuple[Rows, ...], Field(min_length=1)]
    """Rows of each table [-]."""
    width: Rows
    """Width of an embedding [-]."""
    lookups: tuple[Rows, ...] = (1,)
    """Rows that a sample names in each table; one number stands for all tables [-]."""

    @model_validator(mode="after")
    def _look_ups_match(self) -> Self:
        if len(self.lookups) not in (1, len(self.rows)):
            raise InputError(
                f"lookups has {len(self.lookups)} numbers for {len(self.rows)} tables; give one, or all"
            )
        return self

    @property
    def tables(self) -> int:
        """How many tables there are [-]."""
        return len(self.rows)

    @property
    def looked_up(self) -> int:
        """Rows that a sample names in all tables together [-]."""
        return sum(self.lookups) if len(self.lookups) > 1 else self.lookups[0] * self.tables

    def weights(self) -> tuple[Weight, ...]:
        """The tables."""
        return tuple(
            Weight(f"table {i}", (rows, self.width), "embedding", None) for i, rows in enumerate(self.rows)
        )

    def forward(self, p: Pass) -> Work:
        """Read the named rows, write one sum a table: additions are not counted, bytes are."""
        elements = p.tokens * (self.looked_up + self.tables) * self.width
        return stream("embedding bags", p, elements=elements, passes=1, kind="embedding")

    def backward(self, p: Pass) -> Work:
        """Read the sums' gradients, add them to the named rows' gradients."""
        read = p.tokens * self.tables * self.width * p.element_bytes
        added = p.tokens * self.looked_up * self.width * 2 * p.gradient_bytes
        return Stream("embedding bags backward", read + added, "embedding")

    def saved(self, p: Pass) -> Any:
        """Row numbers, and where each bag begins, eight bytes each."""
        return p.tokens * (self.looked_up + self.tables) * 8


class DotInteraction(Layer):
    """Dot products of every pair of a sample's vectors, joined to the first of them (DLRM).

    Software multiplies the matrix of vectors with its transpose and keeps one triangle; that product is counted.

    References
    ----------
    Naumov et al. (2019), Deep Learning Recommendation Model for Personalization and Recommendation Systems,
    arXiv:1906.00091
    """

    vectors: Rows
    """Vectors of a sample: the dense features' and one a table [-]."""
    width: Rows
    """Width of a vector [-]."""
    itself: bool = False
    """A vector is paired with itself, too."""

    @property
    def pairs(self) -> int:
        """Dot products that are kept [-]."""
        n = self.vectors
        return n * (n + 1) // 2 if self.itself else n * (n - 1) // 2

    @property
    def outputs(self) -> int:
        """Width of the result [-]."""
        return self.width + self.pairs

    def _product(self, name: str, p: Pass, n: int, k: int) -> Matmul:
        return Matmul(name, self.vectors, n, k, p.tokens, p.core_dtype, p.element_bytes, p.element_bytes)

    def forward(self, p: Pass) -> Work:
        """Join the vectors, multiply, pick the triangle."""
        joined = stream("join", p, elements=p.tokens * self.vectors * self.width, passes=2, kind="copy")
        picked = stream("pick pairs", p, elements=p.tokens * self.outputs, passes=2, kind="copy")
        return Serial("interaction", (joined, self._product("pairs", p, self.vectors, self.width), picked))

    def backward(self, p: Pass) -> Work:
        """The gradients of both factors."""
        product = self._product("pairs dgrad", p, self.width, self.vectors)
        spread = stream("spread pairs", p, elements=p.tokens * self.vectors**2, passes=2, kind="copy")
        return Serial("interaction backward", (spread, Repeat("factors", 2, product)))

    def saved(self, p: Pass) -> Any:
        """The joined vectors."""
        return p.tokens * self.vectors * self.width * p.element_bytes


class LowRankCross(Layer):
    """Crosses of explicit order: x ← x₀ ∘ (W V x + b) + x, a few times over, W V of low rank (DCN v2).

    References
    ----------
    Wang et al. (2021), DCN V2, arXiv:2008.13535, section 3.3
    """

    width: Rows
    """Width of the joined features [-]."""
    rank: Rows
    """Rank of W V [-]."""
    layers: Rows = 3
    """How many crosses follow each other [-]."""

    @property
    def outputs(self) -> int:
        """Width of the result [-]."""
        return self.width

    def weights(self) -> tuple[Weight, ...]:
        """Two thin matrices and a shift a cross."""
        return tuple(
            weight
            for i in range(self.layers)
            for weight in (
                Weight(f"V {i}", (self.rank, self.width), "matrix", None),
                Weight(f"W {i}", (self.width, self.rank), "matrix", None),
                Weight(f"bias {i}", (self.width,), "bias", None),
            )
        )

    def _shapes(self, p: Pass) -> tuple[dict[str, Any], dict[str, Any]]:
        down = {"tokens": p.tokens, "inputs": self.width, "outputs": self.rank}
        return down, {"tokens": p.tokens, "inputs": self.rank, "outputs": self.width}

    def forward(self, p: Pass) -> Work:
        """Down, up, and the pointwise cross."""
        down, up = self._shapes(p)
        cross = stream("cross", p, elements=p.tokens * self.width, passes=4, kind="activation")
        one = Serial("cross", (linear_forward("V", p, **down), linear_forward("W", p, **up), cross))
        return Repeat("crosses", self.layers, one)

    def backward(self, p: Pass) -> Work:
        """The mirror of forward."""
        down, up = self._shapes(p)
        cross = stream("cross backward", p, elements=p.tokens * self.width, passes=6, kind="activation")
        products = (*linear_backward("W", p, **up), *linear_backward("V", p, **down))
        return Repeat("crosses backward", self.layers, Serial("cross backward", (cross, *products)))

    def saved(self, p: Pass) -> Any:
        """Of each cross its input, the thin product and what is multiplied with x₀."""
        return p.tokens * self.layers * (2 * self.width + self.rank) * p.element_bytes
