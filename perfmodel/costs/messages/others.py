"""Messages of context, expert and pipeline parallelism, by closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.costs.messages.base import Job, Message
from perfmodel.layers import SelfAttention
from perfmodel.ops import maximum, minimum
from perfmodel.work import Collective, leaves

__all__ = ["experts", "gathered_context", "pipeline", "ring_context", "ulysses"]


def _attention(job: Job) -> Iterator[tuple[SelfAttention, int, Any, Any]]:
    """Every kind of attention layer, how often it stands in the model, its queries and its keys a token and rank."""
    for layer, times in job.model.layers():
        if isinstance(layer, SelfAttention):
            heads, kv_heads = layer.heads / job.p.tp, maximum(layer.kv_heads / job.p.tp, 1)
            yield layer, times, heads * layer.head_dim, kv_heads * layer.head_dim


def ring_context(job: Job) -> Iterator[Message]:
    """Keys and values go around the ranks, each visiting all others; backward they go around again.

    Their gradients go around with them in 32 bits and one step further, home.

    References
    ----------
    Liu, Zaharia, Abbeel (2023), Ring Attention with Blockwise Transformers for Near-Infinite Context, arXiv:2310.01889,
    section 3; backward as in github.com/zhuzilin/ring-flash-attention
    """
    p, passes = job.p, job.micro_batches
    for _, times, _, keys in _attention(job):
        block, steps = 2 * p.tokens * keys, passes * times * (p.cp - 1)
        home = passes * times * p.cp * minimum(p.cp - 1, 1)
        yield Message("forward", "send", "cp", steps, steps * block * p.element_bytes)
        yield Message("backward", "send", "cp", steps, steps * block * p.element_bytes)
        yield Message("backward", "send", "cp", home, home * block * 4)


def gathered_context(job: Job) -> Iterator[Message]:
    """Keys, and values, of the whole sequence are gathered before attention, and again in backward.

    References
    ----------
    Grattafiori et al. (2024), The Llama 3 Herd of Models, arXiv:2407.21783, section 3.3.2; backward as in NVIDIA
    Transformer Engine, cp_comm_type "all_gather"
    """
    p, passes = job.p, job.micro_batches
    for _, times, _, keys in _attention(job):
        count, whole = 2 * passes * times, p.tokens * p.cp * keys * p.element_bytes
        yield Message("forward", "all_gather", "cp", count, count * whole)
        yield Message("backward", "all_gather", "cp", count, count * whole)
        yield Message("backward", "reduce_scatter", "cp", count, count * whole)


def ulysses(job: Job) -> Iterator[Message]:
    """Queries, keys, values and results change from a share of the sequence to a share of the heads, or back.

    References
    ----------
    Jacobs et al. (2023), DeepSpeed Ulysses, arXiv:2309.14509, section 3.2
    """
    p, passes = job.p, job.micro_batches
    for _, times, queries, keys in _attention(job):
        moved = passes * times * p.tokens * (2 * queries + 2 * keys) * p.element_bytes
        for phase in ("forward", "backward"):
            yield Message(phase, "all_to_all", "cp", 4 * passes * times, moved)


def experts(job: Job) -> Iterator[Message]:
    """Each token goes to its experts and comes back, forward and backward: what the layers themselves ask for.

    References
    ----------
    Lepikhin et al. (2020), GShard, arXiv:2006.16668, section 3.2
    """
    for layer, times in job.model.layers():
        for phase, work in (("forward", layer.forward(job.p)), ("backward", layer.backward(job.p))):
            for leaf in leaves(work):
                if isinstance(leaf, Collective) and leaf.axis == "ep":
                    count = job.micro_batches * times
                    yield Message(phase, leaf.kind, "ep", count, count * leaf.payload)  # type: ignore[arg-type]


def pipeline(job: Job, *, scattered: bool = False) -> Iterator[Message]:
    """What a middle stage sends: activations of each chunk to the next stage, gradients to the one before.

    Parameters
    ----------
    job : the job
    scattered : each tensor rank sends its share, and the receivers gather it

    References
    ----------
    Narayanan et al. (2021), arXiv:2104.04473, sections 2.2 and 4.1
    """
    p, model = job.p, job.model
    tokens = p.tokens / p.tp if scattered else p.shard_tokens
    count = job.micro_batches * job.chunks * minimum(job.stages - 1, 1)
    size = count * tokens * model.hidden * p.element_bytes
    yield Message("forward", "send", "pp", count, size)
    yield Message("backward", "send", "pp", count, size)
    if scattered and not p.sequence_parallel:
        yield Message("forward", "all_gather", "tp", count, size * p.tp)
        yield Message("backward", "all_gather", "tp", count, size * p.tp)
