"""Multi-head latent attention: keys and values come out of one narrow latent, the only thing that is cached."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.attention import visible_pairs
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
from perfmodel.layers.pointwise import norm, operators, rotation
from perfmodel.layers.results import Result
from perfmodel.layers.scores import stored_core
from perfmodel.ops import added
from perfmodel.work import Attention, Matmul, Serial, Work

__all__ = ["LatentAttention"]


def _joined(shapes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Both projections down as one product, as engines that only run forward lay their weights side by side."""
    first, second = shapes["q down"], shapes["kv down"]
    both = first | {"outputs": first["outputs"] + second["outputs"]}
    others = {name: shape for name, shape in shapes.items() if not name.endswith("down")}
    return {"q and kv down": both} | others


class LatentAttention(Layer):
    """Attention whose keys and values are projected up from a latent (MLA). Heads are split over tp.

    A pass over whole sequences expands the latent to keys and values of every head. A pass against a cache reads the
    latents as they are: the projections up are absorbed into queries and results, and all heads share one wide key.
    The projections down to the latents, and the norms on them, are computed by every tensor-parallel rank.

    References
    ----------
    DeepSeek-AI (2024), DeepSeek-V2, section 2.1, arXiv:2405.04434
    """

    hidden: int
    """Model width [-]."""
    heads: int
    """Query heads [-]."""
    plain_dim: int
    """Part of a head's queries and keys without positions [-]."""
    rotary_dim: int
    """Part of a head's queries that is rotated; all heads share the key of this part [-]."""
    value_dim: int
    """Size of a head's values [-]."""
    kv_rank: int
    """Width of the latent of keys and values [-]."""
    q_rank: int | None = None
    """Width of the latent of queries; None projects them in one step [-]."""
    bias: bool = False
    """Projections to the latents and the output projection have a bias."""
    causal: bool = True
    """Later positions are masked."""

    @property
    def key_dim(self) -> int:
        """Size of a head's queries and keys [-]."""
        return self.plain_dim + self.rotary_dim

    @property
    def pair_width(self) -> float:
        """Multiply-adds of one (query, key) pair, half of score and value together [-]."""
        return self.heads * (self.key_dim + self.value_dim) / 2

    def weights(self) -> tuple[Weight, ...]:
        """Projections down, norms on the latents, projections up."""
        down = self.kv_rank + self.rotary_dim
        up = self.heads * (self.plain_dim + self.value_dim)
        named = [
            Weight("latent of keys and values", (self.hidden, down), split=None),
            Weight("norm of keys and values", (self.kv_rank,), "norm", None),
            Weight("keys and values", (self.kv_rank, up)),
            Weight("queries", (self.q_rank or self.hidden, self.heads * self.key_dim)),
            Weight("output", (self.heads * self.value_dim, self.hidden)),
        ]
        if self.q_rank:
            named.append(Weight("latent of queries", (self.hidden, self.q_rank), split=None))
            named.append(Weight("norm of queries", (self.q_rank,), "norm", None))
        if self.bias:
            named += [Weight(f"bias to {width}", (width,), "bias", None) for width in (down, self.hidden)]
            named += [Weight("query bias", (self.q_rank,), "bias", None)] if self.q_rank else []
        return tuple(named)

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole heads on every rank."""
        return (("attention heads", self.heads),)

    def _projections(self, p: Pass) -> dict[str, dict[str, Any]]:
        """Shapes of the products before the core, by name, in their order."""
        heads = self.heads / p.tp
        shapes = {"q down": (self.hidden, self.q_rank)} if self.q_rank else {}
        shapes |= {
            "q up": (self.q_rank or self.hidden, heads * self.key_dim),
            "kv down": (self.hidden, self.kv_rank + self.rotary_dim),
            "kv up": (self.kv_rank, heads * (self.plain_dim + self.value_dim)),
        }
        return {name: {"tokens": p.tokens, "inputs": i, "outputs": o} for name, (i, o) in shapes.items()}

    def _output(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.tokens, "inputs": self.heads * self.value_dim / p.tp, "outputs": self.hidden}

    def _between(self, p: Pass, *, backward: bool) -> tuple[Work, ...]:
        """Norms on the latents and the rotation; the result's parts are put together."""
        end = " backward" if backward else ""
        latents = p.tokens * (self.kv_rank + (self.q_rank or 0))
        heads = self.heads / p.tp
        rotated = p.tokens * (heads + 1) * self.rotary_dim
        joined = p.tokens * heads * self.key_dim
        norms, turn = norm(p.kernels, "rms", p.element_bytes), rotation(p.kernels, p.element_bytes)
        return (
            operators(
                f"latent norms{end}", p, norms, elements=latents, kind="norm", copies=2, backward=backward
            ),
            operators(f"rotary{end}", p, turn, elements=rotated, kind="rotary", backward=backward),
            stream(f"join keys{end}", p, elements=joined, passes=2, kind="copy"),
        )

    def forward(self, p: Pass) -> Work:
        """Down, norm, up, rotate, attend, project, with the messages around them."""
        linear = p.unquantised if p.plain_latent else p
        shapes = self._projections(p)
        if p.forward_only and self.q_rank:
            shapes = _joined(shapes)
        products = [linear_forward(name, linear, **shape) for name, shape in shapes.items()]
        if self._cached(p):
            products = [*products[:-1], *self._absorbed(p)]
        output = linear_forward("output", linear, **self._output(p))
        parts = (*products, *self._between(p, backward=False), self.core(p), output)
        return Serial("attention", (*region_entry(p, self.hidden), *parts, *region_exit(p, self.hidden)))

    def _cached(self, p: Pass) -> bool:
        """Whether an earlier pass has left latents: a structure, told by keys that are not the queries."""
        return p.keys is not p.queries

    def _absorbed(self, p: Pass) -> tuple[Matmul, Matmul]:
        """Queries into the latent, and results out of it: the projection up, head by head."""
        heads, size = self.heads / p.tp, p.element_bytes

        def product(name: str, n: int, k: int) -> Matmul:
            return Matmul(name, p.tokens, n, k, heads, p.core_dtype, size, size)

        queries = product("queries to latent", self.kv_rank, self.plain_dim)
        return queries, product("values from latent", self.value_dim, self.kv_rank)

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each linear layer has two products."""
        shapes = reversed(self._projections(p).items())
        products = [one for name, shape in shapes for one in linear_backward(name, p, **shape)]
        output = linear_backward("output", p, **self._output(p))
        entry = region_entry(p, self.hidden, backward=True)
        leave = region_exit(p, self.hidden, backward=True)
        core, between = self._core(p, backward=True), self._between(p, backward=True)
        return Serial("attention backward", (*leave, *output, core, *between, *products, *entry))

    def core(self, p: Pass) -> Work:
        """Scores, softmax and weighted values of this device's heads."""
        return self._core(p, backward=False)

    def _core(self, p: Pass, *, backward: bool) -> Work:
        heads, cached = self.heads / p.tp, self._cached(p)
        key, value = (self.key_dim, self.value_dim)
        if cached:
            key, value = self.kv_rank + self.rotary_dim, self.kv_rank
        pairs = visible_pairs(p.queries, p.keys, causal=self.causal, keys=p.keys if cached else None)
        if not p.fused_attention:
            batch = p.sequences * heads
            core = stored_core(p, batch=batch, keys=p.keys, key_dim=key, value_dim=value, backward=backward)
            return gathered_core(p, core, heads * (key + value), backward=backward)
        # backward: three products of the size of keys (scores again, their two gradients) and two of that of values
        products, width = (5, 3 * key + 2 * value) if backward else (2, key + value)
        kernel = Attention(
            "attention core",
            sequences=p.sequences,
            heads=heads,
            kv_heads=1 if cached else heads,
            head_dim=width * p.cp / (p.cp * products),  # of an exact pass an exact mean
            queries=p.queries,
            keys=p.keys,
            pairs=pairs,
            backward=backward,
            dtype=p.core_dtype,
            element_bytes=p.core_element,
            kv_bytes=p.kv_bytes,
            decode=p.decode,
            cached_dims=key if cached else None,  # the values are a part of it
        )
        if p.decode:
            return split_core(p, kernel, queries=heads * key, results=heads * value)
        return shared_core(p, kernel, queries=heads * key, keys=heads * (key + value), results=heads * value)

    def saved(self, p: Pass) -> Any:
        """Input, latents before and after their norms, queries, keys, values and the core's result."""
        latents = 2 * self.kv_rank + self.rotary_dim + 2 * (self.q_rank or 0)
        heads = self.heads / p.tp * 2 * (self.key_dim + self.value_dim)
        kept = p.shard_tokens * self.hidden + p.tokens * (latents + heads)
        return kept * p.element_bytes + self.saved_core(p)

    def results(self, p: Pass) -> dict[str, Result]:
        """Latents, queries, keys and values of every head, what the core makes of them, and the output projection."""
        products = {name: linear_forward(name, p, **shape) for name, shape in self._projections(p).items()}
        heads, size = self.heads / p.tp, p.element_bytes

        def of(product: str, width: Any, kept: Any, *nodes: str) -> Result:
            return Result(products[product]._replace(n=width), p.tokens * kept * size, (product, *nodes))

        found = {"query latent": of("q down", self.q_rank, self.q_rank)} if self.q_rank else {}
        down = self.kv_rank + self.rotary_dim
        weighed = p.tokens * heads * self.value_dim * size + self.saved_core(p)
        output = linear_forward("output", p, **self._output(p))
        leave = ("output", "tp all-reduce", "tp reduce-scatter")
        return found | {
            "query": of("q up", heads * self.key_dim, heads * self.key_dim),
            "key-value latent": of("kv down", down, down),
            "key": of("kv up", heads * self.plain_dim, heads * self.key_dim),
            "value": of("kv up", heads * self.value_dim, heads * self.value_dim),
            "attention core": Result(self.core(p), weighed, ("core",)),
            "output": Result(output, p.shard_tokens * self.hidden * size, leave, False),
        }

    def parts(self, p: Pass) -> dict[str, tuple[Work, Any]]:
        """The core gives up its scores, the projections up (rotation included) queries, keys and values."""
        results = self.results(p)
        up = [results[name] for name in ("query", "key", "value")]
        _, *expanded = self._between(p, backward=False)
        work = Serial("up projections", (*(one.work for one in up), *expanded))
        return {**super().parts(p), "mla up projection": (work, added(one.bytes for one in up))}

    def saved_core(self, p: Pass) -> Any:
        """Softmax result; fused kernels keep a number a row."""
        if p.fused_attention:
            return p.tokens * self.heads / p.tp * 4
        return p.tokens * self.heads / p.tp * p.keys * p.element_bytes

    def cached_share(self, tp: Any) -> Any:
        """Every rank holds the latent, which all heads read."""
        return 1.0

    def kv_bytes(self, context: Any, element_bytes: Any) -> Any:
        """The latent and the shared rotated key of every position."""
        return context * (self.kv_rank + self.rotary_dim) * element_bytes
