"""The tree of work: what has to be done, countable by hand, with no hardware and no seconds.

A leaf is an operator with its demands: `Matmul`, `Attention`, `Stream` or `Collective`. A node says how its parts
follow each other: `Serial`, `Repeat`, `Overlap` or `Pipeline`. Every number in it is per device, and may be a float,
an array or a symbol. Times, breakdowns, counts and explanations are all folds of this one tree.

>>> layer = Serial("layer", (Matmul("up", 8, 4, 2), Matmul("down", 8, 2, 4)))
>>> total(Repeat("layers", 3, layer), flops)
768
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perfmodel.ops import Number

__all__ = [
    "Attention", "Collective", "Leaf", "Matmul", "Overlap", "Pipeline", "Repeat", "Serial", "Stream", "Work",
    "flops", "kernels", "leaves", "memory_bytes", "total",
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
    kernel : product, or convolution: the same arithmetic, its operand gathered on the way (implicit GEMM)
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


class Stream(NamedTuple):
    """An operator bounded by memory: so many bytes read and written by one kernel (norm, activation, copy, …).

    Parameters
    ----------
    name : what it is in the layer
    bytes : read and written [B]
    kind : which streaming efficiency applies: copy, norm, activation, rotary, residual, softmax, embedding, optimizer
    launches : kernels launched [-]
    """

    name: str
    bytes: Any
    kind: str = "copy"
    launches: Any = 1


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
    """

    name: str
    kind: str
    payload: Any
    axis: str
    copies: Any = 1
    most_domains: int | None = None


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
    """

    name: str
    work: Work
    behind: Work


class Pipeline(NamedTuple):
    """Micro-batches through the stages of a pipeline (1F1B; interleaved where `chunks` > 1).

    Parameters
    ----------
    name : which pipeline
    entry, body, exit : forward and backward of one micro-batch: before the layers, all layers, after the layers
    send : handing one micro-batch to the neighbour and back
    stages, chunks : pipeline degree, model chunks a stage holds [-]
    micro_batches : passes of one step [-]
    first, middle, last : share of the body that the first, a middle and the last stage hold [-]
    """

    name: str
    entry: Work
    body: Work
    exit: Work
    send: Work
    stages: Any
    chunks: Any
    micro_batches: Any
    first: Any
    middle: Any
    last: Any


Leaf = Matmul | Attention | Stream | Collective
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
    Serial: lambda work, measure: sum([total(part, measure) for part in work.parts]),
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
    """Bytes a leaf must move through device memory, each operand once [B]."""
    if isinstance(leaf, Matmul):
        operands = leaf.operand_bytes * leaf.k * (leaf.m + leaf.n)
        result = leaf.result_bytes * leaf.m * leaf.n * (2 if leaf.accumulate else 1)
        return leaf.batch * (operands + result) + leaf.quantise_bytes
    if isinstance(leaf, Attention):
        # q and the result, k and v; the backward pass reads them with the gradient and writes three gradients
        kv_bytes = leaf.element_bytes if leaf.kv_bytes is None else leaf.kv_bytes
        once = leaf.element_bytes * leaf.queries * leaf.heads * 2 + kv_bytes * leaf.keys * leaf.kv_heads * 2
        passes = 2 if leaf.backward else 1
        return passes * leaf.sequences * leaf.head_dim * once
    if isinstance(leaf, Stream):
        return leaf.bytes
    return 0


def kernels(leaf: Leaf) -> Any:
    """Kernels the host has to launch for a leaf [-]."""
    return leaf.launches if isinstance(leaf, Stream) else 1
