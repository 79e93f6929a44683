"""Where tokens enter and leave: the token table, learned positions, and the head with its loss."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import (
    Layer,
    Pass,
    Weight,
    linear_backward,
    linear_forward,
    region_entry,
    region_exit,
    stream,
)
from perfmodel.layers.kept import compiled, composed
from perfmodel.work import Collective, Serial, Stream, Work

__all__ = ["Embedding", "Head", "PositionTable", "Projection", "SharedEmbedding"]


class Embedding(Layer):
    """The token table. The vocabulary is split over tp."""

    vocabulary: int
    """Rows of the token table [-]."""
    width: int
    """Width of an embedding [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """The table."""
        return (Weight("token table", (self.vocabulary, self.width), "embedding"),)

    def forward(self, p: Pass) -> Work:
        """Gather rows; the tp ranks add up what each of them found."""
        look_up = stream("embedding", p, elements=p.tokens * self.width, passes=2, kind="embedding")
        return Serial("embedding", (look_up, *region_exit(p, self.width)))

    def backward(self, p: Pass) -> Work:
        """Scatter-add into the table's gradient."""
        moved = p.tokens * self.width * (p.element_bytes + 2 * p.gradient_bytes)
        scatter = Stream("embedding backward", moved, "embedding")
        return Serial("embedding backward", (*region_exit(p, self.width, backward=True), scatter))

    def saved(self, p: Pass) -> Any:
        """Token numbers, eight bytes each."""
        return p.tokens * 8


class SharedEmbedding(Embedding):
    """A look-up in a token table that stands elsewhere in the model and is counted there."""

    def weights(self) -> tuple[Weight, ...]:
        """Nothing of its own."""
        return ()


class PositionTable(Layer):
    """Learned absolute positions, added to the embedding; every rank holds the whole table."""

    positions: int
    """Rows [-]."""
    width: int
    """Model width [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """The table."""
        return (Weight("position table", (self.positions, self.width), "position", None),)

    def forward(self, p: Pass) -> Work:
        """Read the stream and the rows, write the sum."""
        return stream("positions", p, elements=p.shard_tokens * self.width, passes=3, kind="residual")

    def backward(self, p: Pass) -> Work:
        """Sum the gradient over the sequences of the micro-batch."""
        return stream(
            "positions backward", p, elements=p.shard_tokens * self.width, passes=2, kind="embedding"
        )

    def saved(self, p: Pass) -> Any:
        """Nothing, as the gradient does not depend on the input; framework code keeps the position numbers."""
        return p.queries / p.cp * 8 if composed(p.kernels) else 0


class Projection(Layer):
    """A plain linear layer that every rank computes whole (a factorised embedding, the transform before a head)."""

    inputs: int
    """Input width [-]."""
    outputs: int
    """Output width [-]."""
    bias: bool = False
    """Has a shift."""

    def weights(self) -> tuple[Weight, ...]:
        """One matrix, and the shift."""
        matrix = Weight("projection", (self.inputs, self.outputs), "matrix", None)
        return (matrix, Weight("projection bias", (self.outputs,), "bias", None)) if self.bias else (matrix,)

    def forward(self, p: Pass) -> Work:
        """One product."""
        return linear_forward(
            "projection", p, tokens=p.shard_tokens, inputs=self.inputs, outputs=self.outputs
        )

    def backward(self, p: Pass) -> Work:
        """Two products."""
        shape = {"tokens": p.shard_tokens, "inputs": self.inputs, "outputs": self.outputs}
        return Serial("projection backward", linear_backward("projection", p, **shape))

    def saved(self, p: Pass) -> Any:
        """The input."""
        return p.shard_tokens * self.inputs * p.element_bytes


class Head(Layer):
    """The output projection to the vocabulary, and the cross-entropy loss in 32 bits. Split over tp."""

    vocabulary: int
    """Classes [-]."""
    width: int
    """Width of the input [-]."""
    tied: bool = False
    """Shares its matrix with the token table."""
    bias: bool = False
    """Has a bias a class."""

    def weights(self) -> tuple[Weight, ...]:
        """Nothing of its own where tied."""
        named = [] if self.tied else [Weight("head", (self.width, self.vocabulary), "head")]
        if self.bias:
            named.append(Weight("head bias", (self.vocabulary,), "bias"))
        return tuple(named)

    def _shape(self, p: Pass) -> dict[str, Any]:
        tokens = p.sequences if p.last_logits else p.tokens
        return {"tokens": tokens, "inputs": self.width, "outputs": self.vocabulary / p.tp}

    def forward(self, p: Pass) -> Work:
        """Logits, their 32-bit copy, and the loss; tp ranks exchange the maximum, the target and the sum.

        A compiler reads the logits for the largest and for the sum, and makes no copy. Without backward the next token
        is drawn from the logits.
        """
        return self._drawn(p) if p.forward_only else self._scored(p)

    def _drawn(self, p: Pass) -> Work:
        """Logits, gathered from the tp ranks, and the next token drawn from their 32-bit likelihoods."""
        product = linear_forward("head", p.unquantised, **self._shape(p))
        logits = product.m * self.vocabulary
        gather = Collective("tp logits", "all_gather", logits * p.element_bytes, "tp")
        draw = Stream("sampling", logits * (p.element_bytes + 3 * 4), "softmax", 3)
        return Serial("head", (*region_entry(p, self.width), product, gather, draw))

    def _scored(self, p: Pass) -> Work:
        logits = p.tokens * self.vocabulary / p.tp
        moved, launches = (2 * p.element_bytes, 2) if compiled(p.kernels) else (p.element_bytes + 3 * 4, 3)
        return Serial(
            "head",
            (
                *region_entry(p, self.width),
                linear_forward("head", p.unquantised, **self._shape(p)),
                Stream("loss", logits * moved, "softmax", launches),
                Collective("tp loss", "all_reduce", 3 * 4 * p.tokens, "tp"),
            ),
        )

    def backward(self, p: Pass) -> Work:
        """Gradient of the loss in 32 bits, then the two products.

        Framework code fills the gradient of the likelihoods, that of the soft maximum reads two tensors and writes one,
        and a cast follows; a compiler reads the logits and writes their gradient.
        """
        logits, moved = p.tokens * self.vocabulary / p.tp, p.element_bytes + 2 * 4
        if composed(p.kernels):
            moved = 4 + 3 * 4 + (4 + p.element_bytes if p.element_bytes < 4 else 0)
        elif compiled(p.kernels):
            moved = 2 * p.element_bytes
        launches = 3 if composed(p.kernels) else 1
        return Serial(
            "head backward",
            (
                Stream("loss backward", logits * moved, "softmax", launches),
                *linear_backward("head", p.unquantised, **self._shape(p)),
                *region_entry(p, self.width, backward=True),
            ),
        )

    def saved(self, p: Pass) -> Any:
        """The input, and the 32-bit logits that the loss keeps; framework code shifts a copy of the labels, too."""
        labels = p.tokens * 8 if composed(p.kernels) else 0
        return p.shard_tokens * self.width * p.element_bytes + self.logits_bytes(p) + labels

    def logits_bytes(self, p: Pass) -> Any:
        """Logits in 32 bits [B]."""
        return p.tokens * self.vocabulary / p.tp * 4

    def loss_bytes(self, p: Pass) -> Any:
        """Gradients alive while the loss goes back: of the logits, and in framework code of their soft maximum [B]."""
        return self.logits_bytes(p) * (2 if composed(p.kernels) else 1)
