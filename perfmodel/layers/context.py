"""Attention on a sequence that ranks share: keys go round, are gathered, or tokens change places with heads."""

from __future__ import annotations

from typing import Any, Literal

from perfmodel.layers.passes import Pass
from perfmodel.ops import maximum
from perfmodel.work import Attention, Collective, Overlap, Repeat, Serial, Stream, Work

__all__ = ["Context", "gathered_core", "shared_core", "split_core"]

Context = Literal["ring", "all_gather", "ulysses"]
"""How attention sees a sequence that is split over ranks."""


def shared_core(p: Pass, whole: Attention, *, queries: Any, keys: Any, results: Any) -> Work:
    """The attention kernel of one rank, with the messages that bring it the rest of the sequence.

    A ring works in as many steps as ranks, each on the keys that have just come by; tokens are dealt so that causal
    masks load all ranks alike (zigzag). All-gather has the keys before it begins. Ulysses gives each rank all tokens of
    some heads, and the results back.

    Parameters
    ----------
    p : the pass
    whole : the kernel on the whole sequence, for the heads of one tensor-parallel rank
    queries, keys, results : elements a token of the queries, of keys and values together, and of the results [-]

    Returns
    -------
    kernel and messages; over one rank they cost nothing

    References
    ----------
    Liu, Zaharia, Abbeel (2023), Ring Attention, arXiv:2310.01889, section 3; Grattafiori et al. (2024), The Llama 3
    Herd of Models, arXiv:2407.21783, section 3.3.2 (all-gather); Jacobs et al. (2023), DeepSpeed Ulysses,
    arXiv:2309.14509, section 3.2
    """
    if p.context == "ulysses":
        heads = whole._replace(heads=whole.heads / p.cp, kv_heads=maximum(whole.kv_heads / p.cp, 1))
        copied = heads.kv_heads * p.cp / whole.kv_heads  # ranks that share a key-value head get a copy each
        return _exchanged(p, heads, queries + keys * copied, results)
    share = whole._replace(queries=whole.queries / p.cp, pairs=whole.pairs / p.cp)
    if p.context == "all_gather":
        return gathered_core(p, share, keys, backward=whole.backward)
    step = share._replace(keys=whole.keys / p.cp, pairs=share.pairs / p.cp)
    added = results + keys if whole.backward else results
    steps = Serial("core", (Repeat("ring steps", p.cp, step), _merge(p, added)))
    ring = _gather(p, keys, backward=whole.backward)
    behind = Repeat("steps", 1 - 1 / p.cp, steps)
    return Serial("core", (Overlap("cp ring", ring, behind) if p.overlap_context else ring, steps))


def split_core(p: Pass, whole: Attention, *, queries: Any, results: Any) -> Work:
    """Decode against a cache of which each of some tensor ranks holds a part of every sequence.

    The ranks gather each other's queries, attend to their own part, and add up what they found, each for its own heads.

    Parameters
    ----------
    p : the pass
    whole : the kernel on the whole cache, for the heads of one tensor-parallel rank
    queries, results : elements a token of the queries, and of the results, of one rank [-]

    Returns
    -------
    kernel and messages; over one rank they cost nothing

    References
    ----------
    Bhatia et al. (2025), Helix Parallelism, arXiv:2507.07120, section 2
    """
    ranks = p.kv_split
    core = whole._replace(heads=whole.heads * ranks, keys=whole.keys / ranks, pairs=whole.pairs / ranks)
    size = p.tokens * ranks * p.element_bytes
    gather = Collective("kv gather queries", "all_gather", size * queries, "kv")
    add = Collective("kv add results", "reduce_scatter", size * results, "kv")
    return Serial("core", (gather, core, add))


def gathered_core(p: Pass, core: Work, keys: Any, *, backward: bool) -> Work:
    """Attention that needs all keys before it begins.

    Parameters
    ----------
    p : the pass
    core : the work on this rank's queries and all keys
    keys : elements a token of keys and values together [-]
    backward : their gradients are summed up, too

    Returns
    -------
    the messages, then the work
    """
    return Serial("core", (_gather(p, keys, backward=backward), core))


def _gather(p: Pass, keys: Any, *, backward: bool) -> Serial:
    """Keys and values of the whole sequence; backward their gradients go home."""
    payload = p.sequences * p.queries * keys * p.element_bytes
    messages = [Collective("cp keys and values", "all_gather", payload, "cp")]
    if backward:
        messages.append(Collective("cp key and value gradients", "reduce_scatter", payload, "cp"))
    return Serial("cp ring" if p.context == "ring" else "cp all-gather", tuple(messages))


def _merge(p: Pass, added: Any) -> Work:
    """Joins a step's results, or gradients, to the running ones in 32 bits."""
    moved = p.tokens * added * (p.element_bytes + 2 * 4) * (p.cp - 1)
    return Stream("merge ring steps", moved, "copy", p.cp - 1)


def _exchanged(p: Pass, core: Attention, there: Any, back: Any) -> Work:
    """Tokens change places with heads before the kernel, and again after it; backward in the other order."""
    names = ("results' gradients", "gradients") if core.backward else ("queries, keys and values", "results")
    sizes = (back, there) if core.backward else (there, back)
    first, last = (
        Collective(f"cp {name}", "all_to_all", p.tokens * size * p.element_bytes, "cp")
        for name, size in zip(names, sizes, strict=True)
    )
    return Serial("core", (first, core, last))
