"""State-space layers: Mamba, whose scan runs channel by channel, and Mamba-2, whose scan is products within chunks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

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
from perfmodel.ops import minimum
from perfmodel.work import Collective, Matmul, Repeat, Serial, Stream, Work

__all__ = ["ChunkedScan", "Mamba", "Mamba2", "chunk_matmul"]

STATE_BYTES = 4
"""States are kept in 32 bits [B]."""


def chunk_matmul(name: str, p: Pass, *, shape: tuple[Any, Any, Any], batch: Any) -> Matmul:
    """One product within or between the chunks of a scan, in the format of attention.

    Parameters
    ----------
    name : what it is in the layer
    p : the pass
    shape : rows, columns, inner length [-]
    batch : such products: chunks times heads [-]
    """
    return Matmul(name, *shape, batch, p.core_dtype, p.element_bytes, p.element_bytes)


def backward_of(products: tuple[Matmul, ...]) -> Work:
    """Backward of products whose both sides need a gradient: two of the same size for each."""
    return Repeat("scan backward", 2, Serial("scan products", products))


class Mamba(Layer):
    """A selective state space of one channel at a time (Mamba-1). Channels are split over tp.

    The scan is one kernel that is bounded by the bytes it moves; it has no matrix products and counts no FLOPs. Under
    context parallelism the state that ranks hand on is small and left out.

    References
    ----------
    Gu, Dao (2023), Mamba, arXiv:2312.00752, section 3
    """

    hidden: int
    """Model width [-]."""
    inner: int
    """Channels of the scan [-]."""
    state: int
    """States of one channel [-]."""
    rank: int
    """Width from which the step sizes are projected [-]."""
    kernel: int = 4
    """Positions of the depthwise convolution [-]."""
    kernel_bias: bool = True
    """That convolution has a bias."""
    bias: bool = False
    """Input and output projection have a bias."""
    norms: Literal["none", "weightless", "learned"] = "none"
    """Norms on step sizes, inputs and outputs of the state (Falcon Mamba, Jamba)."""

    def weights(self) -> tuple[Weight, ...]:
        """Projections, depthwise kernel, decays and skips."""
        named = [
            Weight("in", (self.hidden, 2 * self.inner)),
            Weight("kernel", (self.inner, 1, self.kernel), "channel"),
            Weight("selection", (self.inner, self.rank + 2 * self.state)),
            Weight("steps", (self.rank, self.inner)),
            Weight("step bias", (self.inner,), "bias"),
            Weight("decays", (self.inner, self.state), "channel"),
            Weight("skips", (self.inner,), "channel"),
            Weight("out", (self.inner, self.hidden)),
        ]
        if self.kernel_bias:
            named.append(Weight("kernel bias", (self.inner,), "bias"))
        if self.bias:
            named += [
                Weight("in bias", (2 * self.inner,), "bias"),
                Weight("out bias", (self.hidden,), "bias", None),
            ]
        if self.norms == "learned":
            widths = (("step", self.rank), ("input", self.state), ("output", self.state))
            named += [Weight(f"{name} norm", (width,), "norm", None) for name, width in widths]
        return tuple(named)

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole channels on every rank."""
        return (("state-space channels", self.inner),)

    def _shapes(self, p: Pass) -> dict[str, dict[str, Any]]:
        inner = self.inner / p.tp
        selected = self.rank + 2 * self.state
        shapes = {
            "in": (self.hidden, 2 * inner),
            "selection": (inner, selected),
            "steps": (self.rank, inner),
            "out": (inner, self.hidden),
        }
        return {name: {"tokens": p.tokens, "inputs": i, "outputs": o} for name, (i, o) in shapes.items()}

    def _convolution(self, p: Pass, *, backward: bool = False) -> Stream:
        name, passes = ("convolution backward", 3) if backward else ("convolution", 2)
        return stream(name, p, elements=p.tokens * self.inner / p.tp, passes=passes, kind="activation")

    def _scan(self, p: Pass, *, backward: bool = False) -> Stream:
        """Input, steps, gate and selection are read, the result is written, the state goes in and out once."""
        name, wide, narrow = ("scan backward", 7, 4) if backward else ("scan", 4, 2)
        moved = p.tokens * (wide * self.inner / p.tp + narrow * self.state) * p.element_bytes
        states = 2 * p.sequences * self.inner / p.tp * self.state * STATE_BYTES
        return Stream(name, moved + states, "activation")

    def _norms(self, p: Pass, *, backward: bool = False) -> tuple[Work, ...]:
        if self.norms == "none":
            return ()
        name, passes = ("inner norms backward", 3) if backward else ("inner norms", 2)
        elements = p.tokens * (self.rank + 2 * self.state)
        return (stream(name, p, elements=elements, passes=passes, kind="norm", launches=3),)

    def _selected(self, p: Pass) -> Collective:
        """The selection is a sum over all channels."""
        payload = p.tokens * (self.rank + 2 * self.state) * p.element_bytes
        return Collective("tp all-reduce selection", "all_reduce", payload, "tp")

    def forward(self, p: Pass) -> Work:
        """Project, convolve, select, scan, project, with the messages around them."""
        into, selection, steps, out = (
            linear_forward(name, p, **shape) for name, shape in self._shapes(p).items()
        )
        parts = (
            into,
            self._convolution(p),
            selection,
            self._selected(p),
            *self._norms(p),
            steps,
            self._scan(p),
            out,
        )
        return Serial(
            "mamba", (*region_entry(p, self.hidden, into), *parts, *region_exit(p, self.hidden, out))
        )

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each linear layer has two products."""
        into, selection, steps, out = (
            linear_backward(name, p, **shape) for name, shape in self._shapes(p).items()
        )
        scan, norms = self._scan(p, backward=True), self._norms(p, backward=True)
        between = (scan, *steps, *norms, self._selected(p), *selection, self._convolution(p, backward=True))
        entry = region_entry(p, self.hidden, *into, backward=True)
        leave = region_exit(p, self.hidden, *out, backward=True)
        return Serial("mamba backward", (*leave, *out, *between, *into, *entry))

    def saved(self, p: Pass) -> Any:
        """Input, both halves of its projection, the convolution's result, selection, steps and the scan's result."""
        wide = p.tokens * (5 * self.inner / p.tp + self.rank + 2 * self.state)
        return (p.shard_tokens * self.hidden + wide) * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """States, and the positions that the convolution still needs."""
        return self.inner * (self.state * STATE_BYTES + self.kernel * element_bytes)


class ChunkedScan(Layer):
    """A scan done chunk by chunk as matrix products, between two projections: what its variants have in common."""

    title: ClassVar[str]
    """What its nodes in the tree of work are called."""
    hidden: int
    """Model width [-]."""

    def _shapes(self, p: Pass) -> tuple[dict[str, Any], dict[str, Any]]:
        raise NotImplementedError

    def chunk_products(self, p: Pass) -> tuple[Matmul, ...]:
        """Products of the scan."""
        raise NotImplementedError

    def _streams(self, p: Pass, *, backward: bool = False) -> tuple[Stream, Stream, Stream]:
        raise NotImplementedError

    def again(self, p: Pass) -> tuple[Work, ...]:
        """Work of forward that backward repeats, whatever the policy.

        Parameters
        ----------
        p : the pass
        """
        return ()

    def forward(self, p: Pass) -> Work:
        """Project, convolve, scan chunk by chunk, gate and norm, project, with the messages around them."""
        shapes = self._shapes(p)
        into, out = linear_forward("in", p, **shapes[0]), linear_forward("out", p, **shapes[1])
        convolution, states, norm = self._streams(p)
        parts: tuple[Work, ...] = (into, convolution, *self.chunk_products(p), states, norm, out)
        entry, leave = region_entry(p, self.hidden, into), region_exit(p, self.hidden, out)
        return Serial(self.title, (*entry, *parts, *leave))

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each product has two."""
        shapes = self._shapes(p)
        into, out = linear_backward("in", p, **shapes[0]), linear_backward("out", p, **shapes[1])
        convolution, states, norm = self._streams(p, backward=True)
        products = backward_of(self.chunk_products(p))
        between: tuple[Work, ...] = (norm, *self.again(p), states, products, convolution)
        entry = region_entry(p, self.hidden, *into, backward=True)
        leave = region_exit(p, self.hidden, *out, backward=True)
        return Serial(f"{self.title} backward", (*leave, *out, *between, *into, *entry))


class Mamba2(ChunkedScan):
    """A state space whose heads share one decay (Mamba-2, SSD). Heads and groups are split over tp.

    Within a chunk the scan is a masked product as in attention; between chunks states are handed on.

    References
    ----------
    Dao, Gu (2024), Transformers are SSMs, arXiv:2405.21060, section 6
    """

    title = "mamba"

    heads: int
    """Heads of the scan [-]."""
    head_dim: int
    """Channels of a head [-]."""
    state: int
    """States of one channel [-]."""
    groups: int = 1
    """Groups of heads that share what goes in and out of the state [-]."""
    kernel: int = 4
    """Positions of the depthwise convolution [-]."""
    kernel_bias: bool = True
    """That convolution has a bias."""
    bias: bool = False
    """Input and output projection have a bias."""
    scan_chunk: int = 256
    """Positions of a chunk of the scan [-]."""

    @property
    def inner(self) -> int:
        """Channels of the scan [-]."""
        return self.heads * self.head_dim

    @property
    def convolved(self) -> int:
        """Channels of the convolution: of the scan, and what goes in and out of the state [-]."""
        return self.inner + 2 * self.groups * self.state

    @property
    def projected(self) -> int:
        """Outputs of the input projection: gate, channels of the convolution, steps [-]."""
        return self.inner + self.convolved + self.heads

    def weights(self) -> tuple[Weight, ...]:
        """Projections, depthwise kernel, decays, skips, and the norm behind the scan."""
        named = [
            Weight("in", (self.hidden, self.projected)),
            Weight("kernel", (self.convolved, 1, self.kernel), "channel"),
            Weight("step bias", (self.heads,), "bias"),
            Weight("decays", (self.heads,), "channel"),
            Weight("skips", (self.heads,), "channel"),
            Weight("norm", (self.inner,), "norm"),
            Weight("out", (self.inner, self.hidden)),
        ]
        if self.kernel_bias:
            named.append(Weight("kernel bias", (self.convolved,), "bias"))
        if self.bias:
            named += [
                Weight("in bias", (self.projected,), "bias"),
                Weight("out bias", (self.hidden,), "bias", None),
            ]
        return tuple(named)

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole heads and groups on every rank."""
        return (("state-space heads", self.heads), ("state-space groups", self.groups))

    def _shapes(self, p: Pass) -> tuple[dict[str, Any], dict[str, Any]]:
        into = {"tokens": p.tokens, "inputs": self.hidden, "outputs": self.projected / p.tp}
        return into, {"tokens": p.tokens, "inputs": self.inner / p.tp, "outputs": self.hidden}

    def chunk_products(self, p: Pass) -> tuple[Matmul, ...]:
        """The matrix products of the scan: scores and values within chunks, states from them and back.

        Parameters
        ----------
        p : the pass
        """
        length = minimum(self.scan_chunk, p.queries / p.cp)
        chunks, heads = p.tokens / length, self.heads / p.tp
        shapes = (
            ("chunk scores", (length, length, self.state), self.groups / p.tp),
            ("chunk values", (length, self.head_dim, length), heads),
            ("states", (self.state, self.head_dim, length), heads),
            ("values of states", (length, self.head_dim, self.state), heads),
        )
        return tuple(chunk_matmul(name, p, shape=shape, batch=chunks * n) for name, shape, n in shapes)

    def again(self, p: Pass) -> tuple[Work, ...]:
        """Scores and states of the chunks, the hand-over, and the convolution: its kernels keep none of them.

        References
        ----------
        state-spaces/mamba, ssd_combined.py: _mamba_chunk_scan_combined_bwd, mamba_split_conv1d_scan_combined
        """
        convolution, states, _ = self._streams(p)
        scores, _, from_chunks, _ = self.chunk_products(p)
        again = (convolution, scores, from_chunks, states)
        return (Serial("scan again", tuple(one._replace(name=f"{one.name} again") for one in again)),)

    def _streams(self, p: Pass, *, backward: bool = False) -> tuple[Stream, Stream, Stream]:
        """Convolution, the hand-over of states from chunk to chunk, gate and norm."""
        end, more = (" backward", 1) if backward else ("", 0)
        length = minimum(self.scan_chunk, p.queries / p.cp)
        states = p.tokens / length * self.inner / p.tp * self.state * STATE_BYTES
        wide, inner = p.tokens * self.convolved / p.tp, p.tokens * self.inner / p.tp
        return (
            stream(f"convolution{end}", p, elements=wide, passes=2 + more, kind="activation"),
            Stream(f"hand on states{end}", (2 + more) * states, "copy"),
            stream(f"gated norm{end}", p, elements=inner, passes=3 + 2 * more, kind="norm"),
        )

    def saved(self, p: Pass) -> Any:
        """Input, its projection, the convolution's result, and the scan's result before and after the norm."""
        wide = p.tokens * (self.projected + self.convolved + 2 * self.inner) / p.tp
        return (p.shard_tokens * self.hidden + wide) * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """States, and the positions that the convolution still needs."""
        return self.inner * self.state * STATE_BYTES + self.convolved * self.kernel * element_bytes
