"""The tree of work: what has to be done, countable by hand, with no hardware and no seconds.

A leaf is an operator with its demands: `Matmul`, `Attention`, `Stream`, `Collective` or `Transfer`. A node says how its
parts follow each other: `Serial`, `Repeat`, `Overlap` or `Pipeline`. Every number in it is per device, and may be a
float, an array or a symbol. Times, breakdowns, counts and explanations are all folds of this one tree.

>>> layer = Serial("layer", (Matmul("up", 8, 4, 2), Matmul("down", 8, 2, 4)))
>>> total(Repeat("layers", 3, layer), flops)
768
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perfmodel.ops import Number, added, greater, maximum, where

__all__ = [
    "Attention", "Collective", "Leaf", "Matmul", "Overlap", "Pipeline", "Repeat", "Serial", "Stage", "Stages",
    "Stream", "Transfer", "Work", "flops", "held_bytes", "kernels", "leaves", "memory_bytes", "total",
]  # fmt: skip


class Matmul(NamedTuple):
    """A dense matrix product C[m, n] = A[m, k] · B[k, n], `batch` times over.

    Parameters
    ----------
    name : what it is in the layer
    m, n, k : rows, columns, inner length [-]
    batch : independent products of this shape, launched as one batch [-]
    dtype : number format it is computed in; names the peak
    operand_bytes, result_bytes : bytes moved per element of A and B, and of C [B]
    accumulate : C is read, added to and written back (a weight's gradient)
    quantise_bytes : moved to bring an operand into this format first, in a kernel of its own [B]
    effort : multiplications done over those counted: below 1 for minimal filtering, above it where operands are padded
        to the matrix unit [-]
    kernel : product; blocks, whose scales go by blocks of the inner length and join the sums there; convolution: the
        same arithmetic, its operand gathered on the way (implicit GEMM); vector: few rows by a kernel of its own,
        through which the matrix streams by the cores; rows: a kernel for one row, run over all of them
    weight_bytes : of an element of B, scales included, where it is stored in fewer bits than it is computed in and
        unpacked on the way (weight-only quantisation); None is as `operand_bytes` [B]
    unpacked : 1 where these weights are first written out in the format computed in, by a kernel of its own, and read
        back by a plain product [-]
    launches : kernels: the product, and those that cast or unpack around it [-]
    """

    name: str
    m: Any
    n: Any
    k: Any
    batch: Any = 1
    dtype: str = "bf16"
    operand_bytes: Any = 2
    result_bytes: Any = 2
    accumulate: bool = False
    quantise_bytes: Any = 0
    effort: Any = 1
    kernel: str = "product"
    weight_bytes: Any = None
    unpacked: Any = 0.0
    launches: Any = 1


class Attention(NamedTuple):
    """A fused (flash) attention kernel: scores, softmax and weighted values without storing the scores.

    Parameters
    ----------
    name : what it is in the layer
    sequences, heads, kv_heads, head_dim : of this device [-]
    queries, keys : positions of one sequence on each side [-]
    pairs : (query, key) pairs that are computed, per sequence and head [-]
    backward : the backward kernel (five products instead of two)
    dtype : number format of the products
    element_bytes : of q, k, v and the result [B]
    kv_bytes : of k and v, where they differ (a cache in fewer bits); None is as `element_bytes` [B]
    decode : few queries against a long cache, which streams by once
    cached_dims : elements of a cached position that serve as key and as value at once, and are read once (a latent);
        None is a key and a value of `head_dim` each [-]
    """

    name: str
    sequences: Any
    heads: Any
    kv_heads: Any
    head_dim: Any
    queries: Any
    keys: Any
    pairs: Any
    backward: bool = False
    dtype: str = "bf16"
    element_bytes: Any = 2
    kv_bytes: Any = None
    decode: bool = False
    cached_dims: Any = None

    @property
    def kv_dims(self) -> Any:
        """Elements that one key-value head reads of a position [-]."""
        return 2 * self.head_dim if self.cached_dims is None else self.cached_dims


class Stream(NamedTuple):
    """An operator bounded by memory: so many bytes read and written by one kernel (norm, activation, copy, …).

    Parameters
    ----------
    name : what it is in the layer
    bytes : read and written [B]
    kind : which streaming efficiency applies: copy, norm, activation, rotary, residual, softmax, embedding,
        permute (rows of tokens put in another order), optimizer
    launches : kernels launched [-]
    joins : axis whose all-reduce may do this on its way out, where the software has such kernels; None is none
    """

    name: str
    bytes: Any
    kind: str = "copy"
    launches: Any = 1
    joins: str | None = None


class Collective(NamedTuple):
    """A message among the devices of one parallel axis.

    Parameters
    ----------
    name : what it is for
    kind : all_reduce, all_gather, reduce_scatter, all_to_all, dispatch or send
    payload : bytes by the convention of nccl-tests: the whole buffer of an all-reduce, the gathered result of an
        all-gather, the full input of a reduce-scatter, one rank's buffer of an all-to-all, the message of a send; of a
        dispatch (tokens to their experts, or back) one rank's tokens, each counted `copies` times [B]
    axis : tp, cp, ep, dp, pp, or a group that crosses them: data, expert data, expert tp, …
    copies : experts that a token of a dispatch visits; it is sent once to each domain that holds any of them [-]
    most_domains : outermost domains that the experts of one token may lie in; None is any number [-]
    direct : an all-reduce may also be a kernel of the framework's own that reads its peers' memory, within a domain
    """

    name: str
    kind: str
    payload: Any
    axis: str
    copies: Any = 1
    most_domains: int | None = None
    direct: bool = False


class Transfer(NamedTuple):
    """Bytes that move outside the device's memory, by engines of their own that take no cores.

    Parameters
    ----------
    name : what is moved
    bytes : moved [B]
    link : which resource: host_link (between device and host), storage, or host_memory (read and written by the host)
    """

    name: str
    bytes: Any
    link: str


class Serial(NamedTuple):
    """Parts one after the other."""

    name: str
    parts: tuple[Work, ...]


class Repeat(NamedTuple):
    """The same work so many times; a fraction is a share of it."""

    name: str
    times: Any
    work: Work


class Overlap(NamedTuple):
    """Work that runs beside other work and costs only what sticks out.

    Parameters
    ----------
    name : what is hidden
    work : what runs concurrently
    behind : the work it hides behind; counted where it stands in the tree, not here
    taken : other messages that hide behind the same and come first; counted where they stand, not here
    contends : what is hidden takes cores of the device, as messages do; copies to the host do not
    cut : a product behind which it hides, and the pieces that this one is cut into for it, by rows
    """

    name: str
    work: Work
    behind: Work
    taken: Work | None = None
    contends: bool = True
    cut: tuple[Matmul, Any] | None = None


class Stage(NamedTuple):
    """What one pipeline stage holds.

    Parameters
    ----------
    name : first, middle or last
    share : of the layers [-]
    opens, closes : 1 where it holds what stands before the layers, and after them, else 0 [-]
    index : counted from 0 [-]
    """

    name: Any
    share: Any
    opens: Any
    closes: Any
    index: Any

    def of(self, entry: Any, body: Any, leave: Any) -> Any:
        """What it holds of something that is counted before, in and after the layers."""
        return self.opens * entry + self.share * body + self.closes * leave


class Stages(NamedTuple):
    """The stages of a pipeline: all between the first and the last are alike.

    Parameters
    ----------
    first, middle, last : what each holds; of one stage all three are the whole, of two the middle is the first
    """

    first: Stage
    middle: Stage
    last: Stage

    def fullest(self, entry: Any, body: Any, leave: Any) -> Stage:
        """The stage that has most of something; of those that tie, the first.

        Parameters
        ----------
        entry, body, leave : what is counted before the layers, in all of them, after them

        Examples
        --------
        >>> ends = Stage("first", 0.25, 1, 0, 0), Stage("middle", 0.25, 0, 0, 1), Stage("last", 0.25, 0, 1, 3)
        >>> Stages(*ends).fullest(1, 12, 2).name
        'last'
        """
        worst, most = self.first, self.first.of(entry, body, leave)
        for stage in (self.last, self.middle):
            amount = stage.of(entry, body, leave)
            more = greater(amount, most)
            worst = Stage(*(where(more, new, old) for new, old in zip(stage, worst, strict=True)))
            most = maximum(amount, most)
        return worst


class Pipeline(NamedTuple):
    """Micro-batches through the stages of a pipeline.

    Parameters
    ----------
    name : which pipeline
    entry, body, exit : one micro-batch, each forward and then backward: before the layers, all layers, after the layers
    send : what a stage hands to its neighbours for one micro-batch: activations on, gradients back, once a chunk
    stages, chunks : pipeline degree, model chunks a stage holds [-]
    micro_batches : passes of one step [-]
    held : what each stage holds
    schedule : name of the order in which micro-batches pass
    hides : share of the sends that may run beside compute [-]
    """

    name: str
    entry: Work
    body: Work
    exit: Work
    send: Work
    stages: Any
    chunks: Any
    micro_batches: Any
    held: Stages
    schedule: str = "1f1b"
    hides: Any = 0.0


Leaf = Matmul | Attention | Stream | Collective | Transfer
Work = Leaf | Serial | Repeat | Overlap | Pipeline
NOTHING = Serial("nothing", ())


def total(work: Work, measure: Callable[[Leaf], Number]) -> Any:
    """Sum of a measure over all leaves, hidden ones included; of a pipeline, the mean over its stages.

    Parameters
    ----------
    work : any tree
    measure : what a leaf counts (`flops`, `memory_bytes`, `kernels`, or your own)

    Returns
    -------
    the sum, in the measure's unit
    """
    node = _TOTALS.get(type(work))
    return measure(work) if node is None else node(work, measure)  # type: ignore[arg-type]  # what is left is a leaf


def _pipeline_total(work: Pipeline, measure: Callable[[Leaf], Number]) -> Any:
    through = total(work.entry, measure) + total(work.body, measure) + total(work.exit, measure)
    return work.micro_batches * (through / work.stages + total(work.send, measure))


_TOTALS: dict[type, Callable[[Any, Callable[[Leaf], Number]], Any]] = {
    Serial: lambda work, measure: added([total(part, measure) for part in work.parts]),
    Repeat: lambda work, measure: work.times * total(work.work, measure),
    Overlap: lambda work, measure: total(work.work, measure),
    Pipeline: _pipeline_total,
}


def leaves(work: Work) -> Iterator[Leaf]:
    """Every leaf of the tree once, in order, whatever its multiplicity."""
    if isinstance(work, Serial):
        for part in work.parts:
            yield from leaves(part)
    elif isinstance(work, Repeat | Overlap):
        yield from leaves(work.work)
    elif isinstance(work, Pipeline):
        for part in (work.entry, work.body, work.exit, work.send):
            yield from leaves(part)
    else:
        yield work


def flops(leaf: Leaf) -> Any:
    """Floating-point operations of a leaf, two a multiply-add [FLOP].

    Examples
    --------
    >>> flops(Matmul("up", 8, 4, 2))
    128
    """
    if isinstance(leaf, Matmul):
        return 2 * leaf.batch * leaf.m * leaf.n * leaf.k
    if isinstance(leaf, Attention):
        products = 5 if leaf.backward else 2
        return 2 * products * leaf.sequences * leaf.heads * leaf.pairs * leaf.head_dim
    return 0


def memory_bytes(leaf: Leaf) -> Any:
    """Bytes a leaf must move through device memory, each operand once [B].

    Examples
    --------
    >>> memory_bytes(Matmul("up", 8, 4, 2, weight_bytes=1)) - memory_bytes(Matmul("up", 8, 4, 2, weight_bytes=0.5))
    4.0
    >>> in_place = Matmul("up", 8, 4, 2, weight_bytes=1)
    >>> memory_bytes(in_place._replace(unpacked=1.0)) - memory_bytes(in_place)
    32.0
    """
    if isinstance(leaf, Matmul):
        weights = leaf.operand_bytes
        if leaf.weight_bytes is not None:
            weights = leaf.weight_bytes + 2 * leaf.unpacked * leaf.operand_bytes
        operands = leaf.k * (leaf.operand_bytes * leaf.m + weights * leaf.n)
        result = leaf.result_bytes * leaf.m * leaf.n * (2 if leaf.accumulate else 1)
        return leaf.batch * (operands + result) + leaf.quantise_bytes
    if isinstance(leaf, Attention):
        # q and the result, k and v; the backward pass reads them with the gradient and writes three gradients
        own = leaf.element_bytes * leaf.sequences * leaf.queries * leaf.heads * 2 * leaf.head_dim
        return (2 if leaf.backward else 1) * (own + held_bytes(leaf))
    if isinstance(leaf, Stream):
        return leaf.bytes
    return 0


def held_bytes(leaf: Leaf) -> Any:
    """Bytes of what a leaf reads that lies in memory from earlier: weights, cached keys and values [B].

    Examples
    --------
    >>> held_bytes(Matmul("up", 8, 4, 2, weight_bytes=0.5))
    4.0
    """
    if isinstance(leaf, Matmul):
        weights = leaf.operand_bytes if leaf.weight_bytes is None else leaf.weight_bytes
        return leaf.batch * leaf.k * leaf.n * weights
    if isinstance(leaf, Attention):
        kv_bytes = leaf.element_bytes if leaf.kv_bytes is None else leaf.kv_bytes
        return leaf.sequences * leaf.keys * leaf.kv_heads * leaf.kv_dims * kv_bytes
    return 0


def kernels(leaf: Leaf) -> Any:
    """Kernels the host has to launch for a leaf; copies to the host are none [-]."""
    if isinstance(leaf, Transfer):
        return 0
    if isinstance(leaf, Matmul):
        return leaf.launches + leaf.unpacked
    return leaf.launches if isinstance(leaf, Stream) else 1
