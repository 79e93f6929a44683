"""How tokens travel to routed experts and back: between the ranks that share the experts, and those that share one."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Pass, region_entry, region_exit
from perfmodel.ops import greater, where
from perfmodel.work import Collective, Repeat, Work

__all__ = ["entering", "leaving", "routed_tokens", "sent"]


def routed_tokens(p: Pass) -> Any:
    """Tokens whose copies this device's experts work on, where all experts are equally loaded [-].

    Ranks that share an expert's columns all see its tokens; other tensor-parallel ranks take each its part of them.

    Parameters
    ----------
    p : the pass

    Examples
    --------
    >>> p = Pass(1, 4096, 4096, tp=4)
    >>> [routed_tokens(p._replace(expert_tp=ranks)) for ranks in (None, 4, 2, 1)]
    [4096.0, 4096.0, 2048.0, 1024.0]
    """
    return p.tokens if p.expert_tp is None else p.tokens * p.expert_tp / p.tp


def sent(name: str, p: Pass, *, width: int, copies: int) -> Collective:
    """Tokens to the ranks of their experts, or back: what the busiest rank receives or sends.

    Parameters
    ----------
    name : dispatch or combine
    p : the pass
    width : of a token [-]
    copies : experts that one token uses [-]
    """
    tokens = p.shard_tokens if p.sequence_parallel else routed_tokens(p)
    payload = tokens * copies * p.expert_load * width * p.element_bytes
    if p.deduplicated:
        return Collective(name, "dispatch", payload, "ep", copies)
    return Collective(name, "all_to_all", payload, "ep")


def entering(p: Pass, *, width: int, copies: int, backward: bool = False) -> tuple[Work, ...]:
    """Messages of tensor parallelism before the experts compute, or after their backward.

    Parameters
    ----------
    p : the pass
    width : of a token [-]
    copies : experts that one token uses [-]
    backward : the mirrored pass

    Returns
    -------
    the messages; over one rank they cost nothing

    Notes
    -----
    With tokens split over the tensor ranks, those that share an expert gather what has come for it (Megatron-Core's
    all-to-all dispatcher). Where each holds all tokens, each sends its part of them alone, and gathers the rest in the
    end (Singh et al. 2023, A Hybrid Tensor-Expert-Data Parallelism Approach, arXiv:2303.06318, section 5).
    """
    if p.expert_tp is None or p.replicated:
        return region_entry(p, width, backward=backward)
    if p.sequence_parallel:
        return (_shared(p, "reduce_scatter" if backward else "all_gather", width, copies),)
    return (_shared(p, "all_reduce", width, copies), _whole(p, width)) if backward else ()


def leaving(p: Pass, *, width: int, copies: int, backward: bool = False) -> tuple[Work, ...]:
    """Messages of tensor parallelism after the experts have computed, or before their backward; see `entering`.

    Parameters
    ----------
    p : the pass
    width : of a token [-]
    copies : experts that one token uses [-]
    backward : the mirrored pass

    Returns
    -------
    the messages; over one rank they cost nothing
    """
    if p.expert_tp is None or p.replicated:
        return region_exit(p, width, backward=backward)
    if p.sequence_parallel:
        return (_shared(p, "all_gather" if backward else "reduce_scatter", width, copies),)
    return () if backward else (_shared(p, "all_reduce", width, copies), _whole(p, width))


def _shared(p: Pass, kind: str, width: int, copies: int) -> Collective:
    """A message among the ranks that share an expert: of every token once, or of the copies that were sent."""
    rows = routed_tokens(p) * where(greater(p.ep, 1), copies * p.expert_load, 1)
    return Collective(
        f"expert tp {kind.replace('_', '-')}", kind, rows * width * p.element_bytes, "expert tp"
    )


def _whole(p: Pass, width: int) -> Work:
    """Every tensor rank gets back the tokens that the others have taken to experts."""
    gather = Collective("tp all-gather tokens", "all_gather", p.tokens * width * p.element_bytes, "tp")
    return Repeat("tokens of other ranks", where(greater(p.tp, p.tp_in_experts), 1, 0), gather)
