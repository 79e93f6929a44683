"""Constants of one kind of operator or message each, as fitted to measurements."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from perfmodel.ops import minimum
from perfmodel.specs import Spec
from perfmodel.units import Bytes, BytesPerSecond, Seconds

__all__ = [
    "AttentionFit", "AttentionKernel", "CollectiveFit", "HostFit", "MatmulFit", "OffloadFit", "OverheadFit",
    "OverlapFit", "PackedFit", "StreamFit",
]  # fmt: skip

AttentionKernel = Literal["newest", "flash2", "flash1"]
"""Generation of a fused attention kernel: the newest of an architecture (FlashAttention-3, cuDNN 9, trtllm-gen), or one
that an older stack takes to every architecture (Dao 2023, arXiv:2307.08691; Dao et al. 2022, arXiv:2205.14135)."""

MOST_BANDWIDTH = 1.2
"""A stream may beat the memory bandwidth a little, where part of it stays in the cache [-]."""


class MatmulFit(Spec):
    """A matrix product m n k: t0 + (r^q + w^q)^(1/q), a roofline r beside the walk w of a tile along the inner length.

    r = [(F / ec P)^p + (B / em W)^p]^(1/p), w = k s / [(1 + k / K) (1 + max(m, T) n / A)]
    """

    compute: float = Field(gt=0, le=1)
    """Fraction of the dense peak that large products sustain, ec [-]."""
    memory: float = Field(gt=0, le=1.2)
    """Fraction of the memory bandwidth that long streams reach, em [-]."""
    latency: Seconds
    """Time of an empty kernel on the device, that of one which quantises before it included, t0 [s]."""
    quantise_latency: Seconds = Field(default=0.0, ge=0)
    """Part of it that is the kernel which quantises: none where what comes before writes the format [s]."""
    exponent: float = Field(gt=0)
    """Sharpness of the roofline's ridge, p [-]."""
    inner_step: Seconds = Field(ge=0, default=0.0)
    """Time that a tile takes for each element of the inner length, one after the other, s [s]."""
    inner_split: float = Field(gt=0, default=2500.0)
    """Inner length from which a tile's work is split more than it grows, K [-]."""
    wave: float = Field(gt=0, default=1e18)
    """Elements of the result whose tiles fill the device; of more of them the walk hides behind others, A [-]."""
    tile: float = Field(gt=0, default=128)
    """Rows of a tile, which fewer rows take up as well, T [-]."""
    walk_exponent: float = Field(ge=1, default=1)
    """Sharpness with which the walk joins the roofline, q: 1 adds them; more where tiles stream as they walk [-]."""
    cached: float = Field(ge=1, default=1)
    """Rate of operands that lie in the second-level cache, over that of the memory's [-]."""
    cache_share: float = Field(gt=0, le=4, default=1)
    """Share of that cache which a product measured alone fills; below 1 where copies of its operands rotate [-]."""
    core: float = Field(gt=0, le=64, default=64)
    """Bytes of a matrix that one core takes in a cycle, where a kernel of few rows has loads in flight for no more; 64
    is what the path from the second-level cache carries [B]."""
    core_exponent: float = Field(gt=0, default=4)
    """Sharpness with which that limit meets the memory's [-]."""
    sustained: float = Field(gt=0, le=1, default=1)
    """Rate once power and clocks have settled, over the rate of short bursts [-]."""
    accumulate: float = Field(gt=0, le=1, default=1)
    """Rate of products that add into their result (weight gradients), over the others [-]."""


class PackedFit(Spec):
    """Products that unpack weights of fewer bits on the way, against products in the format they compute in."""

    compute: float = Field(default=1.0, gt=0, le=1.2)
    """Rate where the arithmetic bounds them, over that of the plain product [-]."""
    memory: float = Field(default=1.0, gt=0, le=1.2)
    """Rate at which packed weights stream, over that of plain ones [-]."""


class AttentionFit(Spec):
    """Constants of a fused attention kernel; the softmax costs like so many extra head dimensions."""

    compute: float = Field(gt=0, le=2)
    """Fraction of the dense peak, softmax counted as work; above 1 where it runs beside the products [-]."""
    backward: float = Field(gt=0, le=2, default=0.85)
    """Rate of the backward kernel over the forward one [-]."""
    memory: float = Field(gt=0, le=2)
    """Fraction of the memory bandwidth [-]."""
    latency: Seconds
    """Time of an empty kernel [s]."""
    exponent: float = Field(gt=0)
    """Sharpness of the ridge [-]."""
    softmax_dims: float = Field(ge=0)
    """Head dimensions that cost as much as one exponential [-]."""
    tile: float = Field(gt=0, default=128)
    """Positions in one tile [-]."""
    decode_memory: float | None = Field(gt=0, le=1.2, default=None)
    """Fraction of the memory bandwidth at which few queries stream a long cache; null is as `memory` [-]."""
    decode_latency: Seconds | None = None
    """Time of an empty decode kernel, the joining of its split cache included; null is as `latency` [s]."""
    block: Seconds = Field(ge=0, default=0.0)
    """Time of the device for each tile of queries of one head, whatever it sees [s]."""
    walk: Seconds = Field(ge=0, default=0.0)
    """Time that the longest tile takes for each position of its sequence, one after the other [s]."""
    walk_split: float = Field(gt=0, default=2500.0)
    """Positions from which other tiles fill this time more than it grows [-]."""
    decode_walk: Seconds = Field(ge=0, default=0.0)
    """The same of a decode kernel for each position of the cache [s]."""
    decode_split: float = Field(gt=0, default=2500.0)
    """Positions of the cache from which it is split among more blocks than it grows [-]."""
    decode_tile: float = Field(ge=0, default=0.0)
    """Positions that a block of decode costs beside those that it reads [-]."""
    decode_narrow: float = Field(gt=0, le=4, default=1)
    """What each halving of the cache's elements leaves of the rate at which decode streams it [-]."""
    older: dict[AttentionKernel, float] = Field(default_factory=dict)
    """Rate of older kernels over that of the fitted one, where they are slower here [-]."""


class StreamFit(Spec):
    """Memory-bound kernels: t0 + B / (em W), em by kind of kernel."""

    latency: Seconds
    """Time of an empty kernel [s]."""
    memory: dict[str, float]
    """Fraction of the memory bandwidth by kind; "copy" also serves kinds not listed [-]."""
    passes: float = Field(gt=0, default=1)
    """Bytes and kernels over those of fused kernels, the optimizer's update left out [-]."""

    @field_validator("memory")
    @classmethod
    def _fractions(cls, memory: dict[str, float]) -> dict[str, float]:
        wrong = {kind: value for kind, value in memory.items() if not 0 < value <= MOST_BANDWIDTH}
        if wrong or "copy" not in memory:
            told = ", ".join(f"{kind} = {value}" for kind, value in wrong.items()) or "copy is missing"
            raise ValueError(
                f"{told}; valid: above 0, up to {MOST_BANDWIDTH}, and a copy that serves other kinds"
            )
        return memory


class CollectiveFit(Spec):
    """Messages on one network tier: [(t0 + n alpha)^p + (V / e B)^p]^(1/p), e by kind of collective."""

    start: Seconds
    """Time of an empty collective, t0 [s]."""
    step: Seconds
    """Latency of one ring step, alpha [s]."""
    exponent: float = Field(gt=0)
    """Below 1 softer than a sum, p [-]."""
    all_reduce: float = Field(gt=0, le=1.2)
    """Fraction of the link that a ring all-reduce reaches [-]."""
    in_network: float = Field(gt=0, le=1.3)
    """The same for what goes through a reducing switch, (p + 1) / p of the payload, where the tier can [-]."""
    all_gather: float = Field(gt=0, le=1.2)
    """The same for all-gather and reduce-scatter [-]."""
    all_to_all: float = Field(gt=0, le=1.2)
    """The same for an all-to-all [-]."""
    send: float = Field(gt=0, le=1.2)
    """The same for a point-to-point message [-]."""
    tree: float | None = Field(default=None, gt=0, le=1.2)
    """The same for an all-reduce over a double binary tree; null is that of the ring [-]."""
    tree_step: Seconds | None = None
    """Latency of one level of the tree; null is that of a ring step [s]."""
    switch_latency: Seconds | None = None
    """Latency of a reduction in the switch, whatever the ranks; null is that of the ring's steps [s]."""
    dispatch: float | None = Field(default=None, gt=0, le=1.2)
    """Fraction of the link for tokens sent to their experts; null is that of an all-to-all [-]."""
    dispatch_start: Seconds | None = None
    """Time of a kernel that sends tokens to experts, empty; null is that of the library, and its soft ridge [s]."""
    pair: float = Field(gt=0, le=1, default=1)
    """What two ranks alone reach of these fractions: they have fewer channels [-]."""
    crowding: float | None = Field(default=None, gt=0, le=1)
    """What each doubling of the ranks beyond two leaves, where they meet on a host's bus; null is all of it [-]."""
    direct: float | None = Field(default=None, gt=0, le=1.2)
    """Fraction of the link of kernels that read their peers' memory (one and two shots); null is the ring's [-]."""
    direct_start: Seconds | None = None
    """Time of such a kernel in one shot, empty; null is that of the library, `start` [s]."""
    direct_barrier: Seconds = Field(ge=0, default=0.0)
    """What its second shot adds: all ranks wait for each other once more [s]."""

    def scaled(self, factor: Any, *, most: float) -> CollectiveFit:
        """The same tier with every fraction of the link so many times as large.

        Parameters
        ----------
        factor : on each of them, a number or an array [-]
        most : that any of them may come to [-]
        """
        fractions = {name: getattr(self, name) for name in FRACTIONS}
        scaled = {
            name: minimum(value * factor, max(value, most))
            for name, value in fractions.items()
            if value is not None
        }
        return self.model_copy(update=scaled)


FRACTIONS = ("all_reduce", "in_network", "all_gather", "all_to_all", "send", "tree", "dispatch", "direct")
"""Fields of `CollectiveFit` that are fractions of a link."""


class OverlapFit(Spec):
    """Communication beside compute."""

    slowdown: float = Field(ge=0, le=1)
    """Time that compute loses for each second of hidden communication: the share of its cores the messages hold [-]."""
    achieved: float = Field(ge=0, le=1, default=1)
    """Share of the messages that could hide that does [-]."""


class HostFit(Spec):
    """The host that launches kernels."""

    launch: Seconds
    """Time the host needs for each kernel it launches [s]."""
    step: Seconds = Field(ge=0, default=0.0)
    """Time of one optimizer step outside the model: fetching data, logging, synchronising [s]."""
    sequence: Seconds = Field(ge=0, default=0.0)
    """Time of one pass of an engine for each sequence in it: scheduling, sampling, text of the new token [s]."""
    request: Seconds = Field(ge=0, default=0.0)
    """Time for each request to an inference server: text to tokens and back, and its way through it [s]."""
    message: Seconds = Field(ge=0, default=0.0)
    """What a message of the library's takes longer where the host launches it than in a captured graph [s]."""
    straggling: float = Field(ge=0, le=1, default=0.0)
    """Share of a step lost to waiting for each doubling of the nodes [-]."""


class OffloadFit(Spec):
    """Copies to and from the host, and the optimizer that runs on it."""

    host_link: float = Field(gt=0, le=1.2)
    """Fraction of the link to the host that copies of pinned memory reach [-]."""
    storage: float = Field(gt=0, le=1.2)
    """Fraction of the storage's bandwidth that long reads and writes reach [-]."""
    host_memory: BytesPerSecond
    """Rate at which the processors of one node update optimizer states, read and written [B/s]."""


class OverheadFit(Spec):
    """Memory that no tensor of the model accounts for."""

    context: Bytes
    """Driver context and libraries' workspaces [B]."""
    communication: Bytes
    """Buffers of the collective library, of each axis of more than one rank [B]."""
    fragmentation: float = Field(ge=0, lt=1)
    """Share of what the caching allocator holds that no tensor uses [-]."""
