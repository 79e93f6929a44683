"""Attention of one sequence to another, and attention that pools a sequence into a few vectors."""

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
)
from perfmodel.layers.scores import stored_core
from perfmodel.work import Attention, Serial, Work

__all__ = ["AttentionPooling", "CrossAttention", "SourceAttention"]


class CrossAttention(Layer):
    """Queries of this sequence look at all positions of the source. Heads are split over tp."""

    hidden: int
    """Model width [-]."""
    heads: int
    """Heads [-]."""
    head_dim: int
    """Size of one head [-]."""
    source_width: int | None = None
    """Width of the source; none means that of the model [-]."""
    query_bias: bool = True
    """The query projection has a bias."""
    key_bias: bool = True
    """The key projection has a bias."""
    value_bias: bool = True
    """The value projection has a bias."""
    output_bias: bool = True
    """The output projection has a bias."""

    @property
    def width(self) -> int:
        """Width of all heads [-]."""
        return self.heads * self.head_dim

    @property
    def _from(self) -> int:
        return self.source_width or self.hidden

    def weights(self) -> tuple[Weight, ...]:
        """Four projections, in any grouping."""
        named = [
            Weight("query", (self.hidden, self.width)),
            Weight("key-value", (self._from, 2 * self.width)),
            Weight("output", (self.width, self.hidden)),
        ]
        biases = {"query": self.query_bias, "key": self.key_bias, "value": self.value_bias}
        named += [Weight(f"{name} bias", (self.width,), "bias") for name, has in biases.items() if has]
        if self.output_bias:
            named.append(Weight("output bias", (self.hidden,), "bias", None))
        return tuple(named)

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole heads on every rank."""
        return (("cross-attention heads", self.heads),)

    def _linear(self, p: Pass) -> dict[str, dict[str, Any]]:
        width, seen = self.width / p.tp, p.sequences * self._keys(p) / p.cp
        return {
            "query": {"tokens": p.tokens, "inputs": self.hidden, "outputs": width},
            "key-value": {"tokens": seen, "inputs": self._from, "outputs": 2 * width},
            "output": {"tokens": p.tokens, "inputs": width, "outputs": self.hidden},
        }

    def _keys(self, p: Pass) -> Any:
        return p.source

    def forward(self, p: Pass) -> Work:
        """Projections of both sequences, attention core, projection, with the messages around them."""
        query, seen, output = (linear_forward(name, p, **shape) for name, shape in self._linear(p).items())
        entry, leave = region_entry(p, self.hidden, query), region_exit(p, self.hidden, output)
        keys = () if p.source_cached else (seen,)
        return Serial("cross-attention", (*entry, query, *keys, self.core(p), output, *leave))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each linear layer has two products."""
        query, seen, output = (linear_backward(name, p, **shape) for name, shape in self._linear(p).items())
        entry = region_entry(p, self.hidden, *query, backward=True)
        leave = region_exit(p, self.hidden, *output, backward=True)
        core = self._core(p, backward=True)
        return Serial("cross-attention backward", (*leave, *output, core, *seen, *query, *entry))

    def core(self, p: Pass) -> Work:
        """Scores, softmax and weighted values."""
        return self._core(p, backward=False)

    def _core(self, p: Pass, *, backward: bool) -> Work:
        heads, queries, keys = self.heads / p.tp, p.queries / p.cp, self._keys(p)
        if p.fused_attention:
            return Attention(
                "cross-attention core", sequences=p.sequences, heads=heads, kv_heads=heads,
                head_dim=self.head_dim, queries=queries, keys=keys, pairs=queries * keys, backward=backward,
                dtype=p.core_dtype, element_bytes=p.core_element, kv_bytes=p.kv_bytes, decode=p.decode,
            )  # fmt: skip
        return stored_core(
            p,
            batch=p.sequences * heads,
            keys=keys,
            key_dim=self.head_dim,
            value_dim=self.head_dim,
            backward=backward,
        )

    def saved(self, p: Pass) -> Any:
        """Input, queries, keys, values and the core's result; the source is kept once for all layers."""
        width, seen = self.width / p.tp, p.sequences * self._keys(p) / p.cp
        kept = p.shard_tokens * self.hidden + 2 * p.tokens * width + 2 * seen * width
        return kept * p.element_bytes + self.saved_core(p)

    def source_bytes(self, source: Any, element_bytes: Any) -> Any:
        """Keys and values of every position of the source."""
        return source * 2 * self.width * element_bytes

    def saved_once(self, p: Pass, *, checkpointed: bool) -> Any:
        """The source, which all layers read."""
        return p.sequences * self._keys(p) / p.cp * self._from * p.element_bytes

    def saved_core(self, p: Pass) -> Any:
        """Softmax result, and with dropout its mask and its dropped copy; fused kernels keep a number a row."""
        if p.fused_attention:
            return p.tokens * self.heads / p.tp * 4
        scores = p.sequences * self.heads / p.tp * p.queries / p.cp * self._keys(p)
        return scores * ((2 * p.element_bytes + 1) if p.dropout else p.element_bytes)


class SourceAttention(CrossAttention):
    """The other way round: all positions of the source look at this sequence (SAM's masks)."""

    def _seen(self, p: Pass) -> Pass:
        return p.of_length(p.source)._replace(source=p.queries)

    def forward(self, p: Pass) -> Work:
        """Cross-attention of the source."""
        return super().forward(self._seen(p))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward."""
        return super().backward(self._seen(p))

    def saved(self, p: Pass) -> Any:
        """What cross-attention of the source keeps."""
        return super().saved(self._seen(p))


class AttentionPooling(CrossAttention):
    """A few learned queries look at the whole sequence: what follows sees only what they found (SigLIP's head)."""

    probes: int = 1
    """Learned queries [-]."""

    def weights(self) -> tuple[Weight, ...]:
        """The probes, and the projections."""
        return (Weight("probe", (1, self.probes, self.hidden), "position", None), *super().weights())

    def after(self, p: Pass) -> Pass:
        """As many positions as probes."""
        return p.of_length(self.probes)._replace(extent=())

    def _seen(self, p: Pass) -> Pass:
        return self.after(p)._replace(source=p.queries)

    def forward(self, p: Pass) -> Work:
        """Cross-attention of the probes."""
        return super().forward(self._seen(p))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward."""
        return super().backward(self._seen(p))

    def saved(self, p: Pass) -> Any:
        """The sequence, and what cross-attention of the probes keeps."""
        return p.shard_tokens * self.hidden * p.element_bytes + super().saved(self._seen(p))
