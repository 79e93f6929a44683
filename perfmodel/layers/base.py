"""What every layer answers: its weights, its work forward and backward, and what it keeps for backward."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from perfmodel.layers.passes import Pass
from perfmodel.layers.products import linear_backward, linear_forward
from perfmodel.layers.results import Result
from perfmodel.layers.weight import Weight
from perfmodel.ops import certain
from perfmodel.specs import Spec
from perfmodel.work import Collective, Matmul, Overlap, Repeat, Serial, Stream, Work

__all__ = [
    "Layer",
    "Pass",
    "Weight",
    "linear_backward",
    "linear_forward",
    "region_entry",
    "region_exit",
    "stream",
]

BUFFER_PIECES = 4
"""Pieces of a reduce-scatter beside the product that it follows: Transformer Engine's num_splits [-]."""

Kinds = tuple[tuple[str, str], ...]
"""Messages as (name, kind of collective)."""


class Layer(Spec):
    """A part of a model. A new kind of layer is one file with one subclass.

    All counts are for one device and one pass, split as `Pass` says.
    """

    @property
    def label(self) -> str:
        """What tables call it: its kind in lower case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).casefold()

    @property
    def resizes(self) -> bool:
        """It changes how many positions there are, or cuts them into windows: it needs a whole image or signal."""
        return type(self).after is not Layer.after

    @property
    def sequential(self) -> bool:
        """Each position waits for the one before."""
        return False

    def weights(self) -> tuple[Weight, ...]:
        """Every parameter tensor of the layer, whole."""
        return ()

    @cached_property
    def _sizes(self) -> tuple[int, int, int]:
        found: dict[str | None, int] = {"tp": 0, "ep": 0, None: 0}
        for weight in self.weights():
            found[weight.split] += weight.size
        return found["tp"], found["ep"], found[None]

    def local_parameters(self, tp: Any, ep: Any = 1, expert_tp: Any = None) -> Any:
        """Parameters on one rank, its share of the routed experts among them; inside these, tp unless given [-]."""
        return self.local_dense(tp) + self.local_experts(ep, tp if expert_tp is None else expert_tp)

    def local_dense(self, tp: Any) -> Any:
        """Parameters on one tensor-parallel rank, without routed experts [-]."""
        split, _, whole = self._sizes
        return split / tp + whole

    def local_experts(self, ep: Any, expert_tp: Any) -> Any:
        """Parameters of the routed experts on one rank [-].

        Parameters
        ----------
        ep : expert-parallel degree [-]
        expert_tp : tensor-parallel degree inside an expert [-]
        """
        experts = self._sizes[1]
        return experts / (expert_tp * ep) if experts else 0

    @property
    def routes(self) -> bool:
        """Has experts that tokens are routed to."""
        return self._sizes[1] > 0

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Sizes that the tensor-parallel degree must divide, with their names."""
        return ()

    def expert_limits(self) -> tuple[tuple[str, int], ...]:
        """Those of `tensor_limits` that the tensor-parallel degree inside an expert must divide instead."""
        return ()

    def forward(self, p: Pass) -> Work:
        """Operators of the forward pass."""
        raise NotImplementedError

    def backward(self, p: Pass) -> Work:
        """Operators of the backward pass, without recomputation."""
        raise NotImplementedError

    def backward_to_data(self, p: Pass) -> Work:
        """The backward pass where the input is data: nobody asks for its gradient."""
        return self.backward(p)

    def saved(self, p: Pass) -> Any:
        """Bytes kept from forward to backward [B]."""
        raise NotImplementedError

    def after(self, p: Pass) -> Pass:
        """The pass that the next layer sees: the same, unless this one changes how many positions there are."""
        return p

    def saved_once(self, p: Pass, *, checkpointed: bool) -> Any:
        """Bytes kept that all layers of the kind share [B].

        Parameters
        ----------
        p : the pass
        checkpointed : whole layers are recomputed from what they were called with
        """
        return 0

    def saved_input(self, p: Pass) -> Any:
        """Part of `saved` that is the layer's input, which stays where the layer is recomputed [B]."""
        return p.shard_tokens * getattr(self, "hidden", 0) * p.element_bytes

    def parts(self, p: Pass) -> dict[str, tuple[Work, Any]]:
        """Parts of the layer that backward can compute again, by name: the work, and the bytes given up for it."""
        return {"attention core": (self.core(p), self.saved_core(p))}

    def results(self, p: Pass) -> dict[str, Result]:
        """Tensors that forward computes and a policy may keep, by name, in order; the last one leaves the layer."""
        return {}

    def saved_core(self, p: Pass) -> Any:
        """Part of `saved` that recomputing the attention core gives back [B]."""
        return 0

    def core(self, p: Pass) -> Work:
        """Work that recomputing the attention core repeats."""
        return Serial("core", ())

    def spared(self, p: Pass, *, first: bool) -> Work:
        """Products that backward spares because nobody asks for their gradient, named as their forward operators.

        Parameters
        ----------
        p : the pass
        first : the layer's input is data, which needs no gradient
        """
        return Serial("spared", ())

    def kv_bytes(self, context: Any, element_bytes: Any) -> Any:
        """Keys and values that decoding needs of one sequence [B].

        Parameters
        ----------
        context : tokens of the sequence so far [-]
        element_bytes : of a key or a value [B]
        """
        return 0

    def kv_bytes_reserved(self, context: Any, element_bytes: Any) -> Any:
        """The same where an engine keeps every position, also those that a window has passed [B]."""
        return self.kv_bytes(context, element_bytes)

    def source_bytes(self, source: Any, element_bytes: Any) -> Any:
        """Keys and values of the other sequence that cross-attention looks at, of one sequence [B].

        Parameters
        ----------
        source : its positions [-]
        element_bytes : of a key or a value [B]
        """
        return 0

    def cached_share(self, tp: Any) -> Any:
        """Part of the cache that one tensor-parallel rank holds [-]."""
        return 1 / tp

    def state_bytes(self, element_bytes: Any) -> Any:
        """Recurrent state of one sequence, whatever its length [B]."""
        return 0


def region_entry(
    p: Pass, hidden: int, *beside: Matmul, backward: bool = False, matrices: int = 1
) -> tuple[Work, ...]:
    """Messages where activations enter a tensor-parallel region (Megatron's f, or g-bar with sequence parallelism).

    Parameters
    ----------
    p : the pass
    hidden : model width [-]
    *beside : products next to the messages, in their order; where the pass overlaps, each message hides behind its own
    backward : the mirrored pass: reduce the input's gradient, and with sequence parallelism gather the input again
        for the weight's gradient
    matrices : that read the input, and are products of their own where kernels are not fused [-]

    Returns
    -------
    the messages; over one rank they cost nothing
    """
    kinds: Kinds
    if p.kernels == "ggml" and not backward:
        return _row_copies(p, hidden, matrices)
    if not p.sequence_parallel:
        kinds = (("tp all-reduce", "all_reduce"),) if backward else ()
    elif backward:
        kinds = (("tp all-gather input", "all_gather"), ("tp reduce-scatter", "reduce_scatter"))
    else:
        kinds = (("tp all-gather", "all_gather"),)
    return _tensor_messages(p, hidden, kinds, beside, bulk=backward)


def region_exit(p: Pass, hidden: int, *beside: Matmul, backward: bool = False) -> tuple[Work, ...]:
    """Messages where activations leave a tensor-parallel region (Megatron's g, or its sequence-parallel form).

    Parameters
    ----------
    p : the pass
    hidden : model width [-]
    *beside : products next to the messages; see `region_entry`
    backward : the mirrored pass

    Returns
    -------
    the messages; over one rank they cost nothing
    """
    kinds: Kinds
    if p.kernels == "ggml" and not backward:
        return _row_copies(p, hidden, 1)
    if p.sequence_parallel:
        kinds = (("tp all-gather", "all_gather"),) if backward else (("tp reduce-scatter", "reduce_scatter"),)
    else:
        kinds = () if backward else (("tp all-reduce", "all_reduce"),)
    return _tensor_messages(p, hidden, kinds, beside)


def _row_copies(p: Pass, hidden: int, matrices: int) -> tuple[Work, ...]:
    """What a product split by rows takes in ggml: the main device copies the input to each other, and gets its rows.

    One thread issues the copies, one after the other (ggml-org/llama.cpp, ggml_cuda_op_mul_mat, split_mode row). There
    goes all of a token, back the share of a device.
    """
    if certain(p.tp == 1):
        return ()
    payload = p.tokens * hidden * p.element_bytes * (1 + 1 / p.tp) / 2
    copy = Collective("row copy", "send", payload, "tp")
    return (Repeat("row copies", 2 * matrices * (p.tp - 1), copy),)


def _tensor_messages(
    p: Pass, hidden: int, kinds: Kinds, beside: tuple[Matmul, ...], *, bulk: bool = False
) -> tuple[Work, ...]:
    elements = p.tokens * hidden
    messages = tuple(Collective(name, kind, elements * _message_bytes(p, kind), "tp") for name, kind in kinds)
    if not p.overlap_tensor or not beside:
        return messages
    products = beside + beside[-1:] * (len(messages) - len(beside))
    hide = _in_buffers if p.tensor_buffers else _in_ring if p.tensor_ring else _in_pieces
    if p.tensor_buffers and bulk:
        hide = _in_bulk
    return tuple(hide(p, *pair) for pair in zip(messages, products, strict=False))


def _in_pieces(p: Pass, message: Collective, product: Matmul, pieces: Any = None) -> Work:
    """A message cut into tp pieces beside the product next to it: the first, or last, stands alone."""
    alone = 1 / (p.tp if pieces is None else pieces)
    others = 1 - alone
    cut = (product, 1 / alone) if p.tensor_buffers else None
    hidden = Overlap("other pieces", Repeat("pieces", others, message), product, cut=cut)
    return Serial(message.name, (Repeat("first piece", alone, message), hidden))


def _in_ring(p: Pass, message: Collective, product: Matmul) -> Work:
    """Pieces that go round by sends: the first is the rank's own, and only the others travel.

    Sums over all ranks have no such ring (NVIDIA Transformer Engine's ring exchange).
    """
    if message.kind == "all_reduce":
        return _in_pieces(p, message, product)
    hop = message._replace(kind="send", payload=message.payload / p.tp)
    hops = Repeat("hops", p.tp - 1, hop)
    behind = Repeat("pieces", 1 - 1 / p.tp, product)
    return Overlap(message.name, hops, behind, cut=(product, p.tp))


def _in_buffers(p: Pass, message: Collective, product: Matmul) -> Work:
    """Gathers in a ring, sums in a few pieces, as NeMo sets Transformer Engine's user buffers."""
    if message.kind == "all_gather":
        return _in_ring(p, message, product)
    return _in_pieces(p, message, product, BUFFER_PIECES)


def _in_bulk(p: Pass, message: Collective, product: Matmul) -> Work:
    """A message beside a product that does not wait for it: the input's gather beside dgrad, the sum beside wgrad."""
    return Overlap(message.name, message, product)


def _message_bytes(p: Pass, kind: str) -> Any:
    """Bytes of an activation on the wire: pipelined gathers carry it quantised, sums stay in 16 bits [B].

    NVIDIA Transformer Engine's user buffers quantise before they gather and gather piece by piece.
    """
    return p.operand_bytes if kind == "all_gather" and p.overlap_tensor else p.element_bytes


def stream(name: str, p: Pass, *, elements: Any, passes: float, kind: str, launches: float = 1) -> Stream:
    """A memory-bound kernel over `elements` activations, `passes` of them read or written.

    Parameters
    ----------
    name : of the operator
    p : the pass
    elements : activations in one tensor [-]
    passes : tensors read and written [-]
    kind : streaming efficiency that applies
    launches : kernels [-]

    Returns
    -------
    the operator
    """
    return Stream(name, elements * passes * p.element_bytes, kind, launches)
