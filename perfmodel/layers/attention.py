"""Softmax attention: multi-head, multi-query and grouped-query, over the whole context, a window or a chunk."""

from __future__ import annotations

from typing import Any, Literal

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
from perfmodel.layers.context import gathered_core, shared_core, split_core
from perfmodel.layers.kept import composed, norm_bytes
from perfmodel.layers.pointwise import bias_gradient, norm, operators, repeats_keys, rotation
from perfmodel.layers.results import Result
from perfmodel.layers.scores import stored_core
from perfmodel.ops import floor, maximum, minimum
from perfmodel.work import Attention, Serial, Work

__all__ = ["QueryKeyNorm", "SelfAttention", "visible_pairs"]

QueryKeyNorm = Literal["none", "shared", "per_head", "full"]
"""What a norm on queries and keys has one learned scale for."""


def visible_pairs(
    queries: Any, window: Any, *, causal: bool, keys: Any = None, chunk: int | None = None
) -> Any:
    """(query, key) pairs of one sequence that a mask leaves.

    Parameters
    ----------
    queries : tokens of the sequence in this pass [-]
    window : a query sees itself and the window - 1 positions before it [-]
    causal : no query sees a later key
    keys : positions of the sequence, the last of them those of the queries; None is as many as queries [-]
    chunk : the sequence is cut into pieces of so many positions, and no query sees another piece; None does not [-]

    Returns
    -------
    pairs [-]

    Examples
    --------
    >>> visible_pairs(4, 4, causal=True), visible_pairs(4, 2, causal=True), visible_pairs(4, 4, causal=False)
    (10.0, 7.0, 16)
    >>> visible_pairs(1, 100, causal=True, keys=50), visible_pairs(2, 10, causal=True, keys=50)
    (50.0, 20.0)
    >>> visible_pairs(5, 5, causal=True, chunk=2)
    7.0
    """
    if not causal:
        return queries * minimum(queries if keys is None else keys, window)
    if keys is None:
        return _visible_before(queries, window, chunk)
    return _visible_before(keys, window, chunk) - _visible_before(keys - queries, window, chunk)


def _visible_before(end: Any, window: Any, chunk: int | None) -> Any:
    """Pairs of the first `end` queries of a causal sequence [-]."""
    if chunk is not None:
        whole = floor(end / chunk)
        rest = end - whole * chunk
        return whole * chunk * (chunk + 1) / 2 + rest * (rest + 1) / 2
    reach = minimum(end, window)
    return reach * (reach + 1) / 2 + maximum(end - reach, 0) * reach


class SelfAttention(Layer):
    """Self-attention with its projections. Heads are split over tp, the sequence over cp."""

    hidden: int
    """Model width [-]."""
    heads: int
    """Query heads [-]."""
    kv_heads: int
    """Key and value heads; 1 is multi-query, fewer than `heads` grouped-query [-]."""
    head_dim: int
    """Size of one head [-]."""
    qkv_bias: bool = False
    """Query, key and value projections have a bias."""
    output_bias: bool = False
    """The output projection has a bias."""
    rotary: bool = True
    """Queries and keys are rotated by position."""
    qk_norm: QueryKeyNorm = "none"
    """Norm on queries and keys: none, one scale shared by all heads, one per head, or one over the full width."""
    qk_norm_bias: bool = False
    """That norm has a learned shift."""
    window: int | None = None
    """Sliding window [-]; None attends to all earlier positions."""
    causal: bool = True
    """Later positions are masked."""
    chunk: int | None = None
    """Positions of a chunk; a query sees no other chunk than its own; None attends across [-]."""
    sinks: bool = False
    """Each head has a learned logit that takes part in the softmax and has no value."""
    output_gate: bool = False
    """A gate of the width of all queries, projected beside them, scales the result."""

    @property
    def query_width(self) -> int:
        """Width of all query heads [-]."""
        return self.heads * self.head_dim

    @property
    def pair_width(self) -> int:
        """Multiply-adds of one (query, key) pair, half of them for the score and half for the value [-]."""
        return self.query_width

    @property
    def kv_width(self) -> int:
        """Width of all keys, or of all values [-]."""
        return self.kv_heads * self.head_dim

    @property
    def _projected(self) -> int:
        """Width of the queries with their gate [-]."""
        return self.query_width * (2 if self.output_gate else 1)

    def weights(self) -> tuple[Weight, ...]:
        """Fused or separate projections count the same."""
        qkv, out = self._projected + 2 * self.kv_width, self.query_width
        named = [Weight("qkv", (self.hidden, qkv)), Weight("output", (out, self.hidden))]
        if self.qkv_bias:
            named.append(Weight("qkv bias", (qkv,), "bias"))
        if self.output_bias:
            named.append(Weight("output bias", (self.hidden,), "bias", None))
        if self.sinks:
            named.append(Weight("sinks", (self.heads,), "channel"))
        return (
            *named,
            *self._norm_weights("query norm", self.heads),
            *self._norm_weights("key norm", self.kv_heads),
        )

    def _norm_weights(self, name: str, heads: int) -> tuple[Weight, ...]:
        if self.qk_norm == "none":
            return ()
        shapes = {
            "shared": (self.head_dim,),
            "per_head": (heads, self.head_dim),
            "full": (heads * self.head_dim,),
        }
        scale = Weight(name, shapes[self.qk_norm], "norm", None)
        return (scale, scale._replace(name=name + " bias")) if self.qk_norm_bias else (scale,)

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole heads on every rank."""
        return (("attention heads", self.heads),)

    def _kv_share(self, tp: Any) -> Any:
        """Key-value heads of one rank: with more ranks than heads, each keeps a whole one [-]."""
        return maximum(self.kv_heads / tp, 1)

    def local_dense(self, tp: Any) -> Any:
        """Parameters on one tensor-parallel rank, copied key-value heads included [-]."""
        copied = self._kv_share(tp) - self.kv_heads / tp
        return super().local_dense(tp) + copied * 2 * self.head_dim * (self.hidden + self.qkv_bias)

    def _qkv_shape(self, p: Pass) -> dict[str, Any]:
        kv = self._kv_share(p.tp) * self.head_dim
        return {"tokens": p.tokens, "inputs": self.hidden, "outputs": self._projected / p.tp + 2 * kv}

    def _output_shape(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.tokens, "inputs": self.query_width / p.tp, "outputs": self.hidden}

    def _rotated(self, p: Pass) -> Any:
        return p.tokens * (self.query_width / p.tp + self._kv_share(p.tp) * self.head_dim)

    def forward(self, p: Pass) -> Work:
        """Projection, rotation, attention core, projection, with the messages around them."""
        qkv = linear_forward("qkv", p, **self._qkv_shape(p), matrices=3)
        output = linear_forward("output", p, **self._output_shape(p))
        between = self._between(p, backward=False)
        entry, leave = region_entry(p, self.hidden, qkv, matrices=3), region_exit(p, self.hidden, output)
        gate = self._gate("output gate", p, passes=3)
        return Serial("attention", (*entry, qkv, *between, self.core(p), *gate, output, *leave))

    def _between(self, p: Pass, *, backward: bool) -> tuple[Work, ...]:
        """What pointwise work lies between projection and core, in the order of forward."""
        end = " backward" if backward else ""
        found: list[Work] = []
        if self.qkv_bias and backward:
            found += bias_gradient("qkv", p, self._qkv_shape(p)["outputs"])
        both: dict[str, Any] = {"elements": self._rotated(p), "backward": backward}
        if self.qk_norm != "none":
            norms = norm(p.kernels, "rms", p.element_bytes)
            found.append(operators(f"query-key norm{end}", p, norms, kind="norm", copies=2, **both))
        if self.rotary:
            turn = rotation(p.kernels, p.element_bytes)
            found.append(operators(f"rotary{end}", p, turn, kind="rotary", **both))
        if self.heads != self.kv_heads and repeats_keys(p.kernels, fused=p.fused_attention):
            moved = 2 * p.tokens * (self.query_width / p.tp + self._kv_share(p.tp) * self.head_dim)
            found.append(stream(f"repeat keys{end}", p, elements=moved, passes=1, kind="copy", launches=2))
        return tuple(found)

    def _gate(self, name: str, p: Pass, *, passes: int) -> tuple[Work, ...]:
        """The kernel that scales the result, where there is a gate."""
        elements = p.tokens * self.query_width / p.tp
        return (
            (stream(name, p, elements=elements, passes=passes, kind="activation"),)
            if self.output_gate
            else ()
        )

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each linear layer has two products."""
        qkv = linear_backward("qkv", p, **self._qkv_shape(p))
        output = linear_backward("output", p, **self._output_shape(p))
        between = reversed(self._between(p, backward=True))
        entry = region_entry(p, self.hidden, *qkv, backward=True)
        leave = region_exit(p, self.hidden, *output, backward=True)
        gate = self._gate("output gate backward", p, passes=5)
        core = self._core(p, backward=True)
        shift = bias_gradient("output", p, self.hidden) if self.output_bias else ()
        return Serial("attention backward", (*leave, *shift, *output, *gate, core, *between, *qkv, *entry))

    def core(self, p: Pass) -> Work:
        """Scores, softmax and weighted values of this device's heads."""
        return self._core(p, backward=False)

    def _core(self, p: Pass, *, backward: bool) -> Work:
        window = p.keys if self.window is None else minimum(self.window, p.keys)
        held = window if self.chunk is None else minimum(self.chunk, window)
        keys = None if p.keys is p.queries else p.keys
        pairs = visible_pairs(p.queries, window, causal=self.causal, keys=keys, chunk=self.chunk)
        heads, kv_heads = self.heads / p.tp, self._kv_share(p.tp)
        width, seen = self.query_width / p.tp, 2 * kv_heads * self.head_dim
        if not p.fused_attention:
            core = stored_core(
                p, batch=p.sequences * heads, keys=p.keys, key_dim=self.head_dim, value_dim=self.head_dim,
                wide=self._softmax_bytes(p) / p.element_bytes, backward=backward, biased=self.qkv_bias,
            )  # fmt: skip
            return gathered_core(p, core, seen, backward=backward)
        kernel = Attention(
            "attention core",
            sequences=p.sequences,
            heads=heads,
            kv_heads=heads if p.decode and p.ungrouped else kv_heads,
            head_dim=self.head_dim,
            queries=p.queries,
            keys=held if p.decode else p.keys,
            pairs=pairs,
            backward=backward,
            dtype=p.core_dtype,
            element_bytes=p.core_element,
            kv_bytes=p.kv_bytes,
            decode=p.decode,
        )
        if p.decode:
            return split_core(p, kernel, queries=width, results=width)
        return shared_core(p, kernel, queries=width, keys=seen, results=width)

    def saved(self, p: Pass) -> Any:
        """Input, q, k, v and the core's result; eager attention also keeps the scores."""
        heads = p.tokens * self.query_width / p.tp
        gate = 2 * heads if self.output_gate else 0  # and the result once more, after the gate
        kept = p.shard_tokens * self.hidden + 2 * heads + 2 * self._keys_kept(p) + gate
        tables = self._tables(p) if p.kernels == "eager" else 0
        return (kept + tables) * p.element_bytes + self._saved_norms(p) + self.saved_core(p)

    def _keys_kept(self, p: Pass) -> Any:
        """Elements of the keys, or of the values, that are kept: framework code repeats grouped ones to all heads."""
        shared = not composed(p.kernels) or (p.kernels == "transformers" and p.fused_attention)
        return p.tokens * (self._kv_share(p.tp) * self.head_dim if shared else self.query_width / p.tp)

    def results(self, p: Pass) -> dict[str, Result]:
        """Queries with their gate, keys, values, what the core makes of them, and the output projection."""
        qkv, output = (linear_forward(name, p, **shape) for name, shape in (
            ("qkv", self._qkv_shape(p)), ("output", self._output_shape(p)),
        ))  # fmt: skip
        keys = self._kv_share(p.tp) * self.head_dim
        entry, size = ("qkv", "tp all-gather"), p.element_bytes
        weighed = p.tokens * self.query_width / p.tp * size + self.saved_core(p)
        keys_or_values = Result(qkv._replace(n=keys), self._keys_kept(p) * size, entry)
        queries = self._projected / p.tp
        return {
            "query": Result(qkv._replace(n=queries), p.tokens * queries * size, entry),
            "key": keys_or_values,
            "value": keys_or_values,
            "attention core": Result(self.core(p), weighed, ("core",)),
            "output": Result(
                output,
                p.shard_tokens * self.hidden * size,
                ("output", "tp all-reduce", "tp reduce-scatter"),
                False,
            ),
        }

    def parts(self, p: Pass) -> dict[str, tuple[Work, Any]]:
        """The core gives up its scores, each projection its result."""
        results = self.results(p)
        given_up = {name: (results[name].work, results[name].bytes) for name in ("query", "key", "value")}
        return {**super().parts(p), **given_up}

    def _tables(self, p: Pass) -> Any:
        """Elements of cosine and sine, once for queries and once for keys."""
        return 4 * p.queries / p.cp * self.head_dim if self.rotary else 0

    def _saved_norms(self, p: Pass) -> Any:
        """What norms on queries and keys keep."""
        if self.qk_norm == "none":
            return 0
        heads = self.heads / p.tp + self._kv_share(p.tp)
        rows, width = p.tokens * heads, self.head_dim
        if self.qk_norm == "full":  # statistics over all heads of a token
            rows, width = 2 * p.tokens, heads * self.head_dim / 2
        return norm_bytes(p.kernels, "rms", p.element_bytes, width=width, rows=rows)

    def saved_once(self, p: Pass, *, checkpointed: bool) -> Any:
        """Rotary tables; a checkpoint also holds what layers are called with: mask and position numbers."""
        if p.kernels != "transformers":
            return 0
        mask = 0 if p.fused_attention else p.sequences * p.queries / p.cp * p.keys
        called = mask * p.element_bytes + p.queries / p.cp * 8
        return self._tables(p) / 2 * p.element_bytes + (called if checkpointed else 0)

    def saved_core(self, p: Pass) -> Any:
        """Softmax result, and with dropout its mask and its dropped copy; fused kernels keep a number a row."""
        if p.fused_attention:
            return p.tokens * self.heads / p.tp * 4
        pairs = p.queries / p.cp * p.keys
        each = (2 * p.element_bytes + 1) if p.dropout else p.element_bytes
        if self._softmax_bytes(p) != p.element_bytes:
            each = each + 4  # softmax in 32 bits, then cast
        mask = pairs if p.kernels == "eager" and self.causal else 0
        return p.sequences * self.heads / p.tp * pairs * each + mask

    def _softmax_bytes(self, p: Pass) -> Any:
        """Of an element of the softmax: transformers' Llama takes it in 32 bits; GPT-2 and its kin stay in 16 [B]."""
        return 4 if p.kernels == "transformers" and self.rotary and p.element_bytes < 4 else p.element_bytes

    def spared(self, p: Pass, *, first: bool) -> Work:
        """The gradient of an input that is data."""
        return linear_forward("qkv", p, **self._qkv_shape(p)) if first else super().spared(p, first=first)

    def cached_share(self, tp: Any) -> Any:
        """Heads are divided; with more ranks than heads, each holds a whole one."""
        return self._kv_share(tp) / self.kv_heads

    def kv_bytes(self, context: Any, element_bytes: Any) -> Any:
        """Keys and values of the positions that the window, or the chunk, still holds; an encoder keeps none."""
        if not self.causal:
            return 0
        held = context if self.window is None else minimum(context, self.window)
        held = held if self.chunk is None else minimum(held, self.chunk)
        return held * 2 * self.kv_width * element_bytes

    def kv_bytes_reserved(self, context: Any, element_bytes: Any) -> Any:
        """Keys and values of every position."""
        return context * 2 * self.kv_width * element_bytes if self.causal else 0
