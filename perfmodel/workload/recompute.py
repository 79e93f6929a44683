"""Recomputation policies as data: what forward keeps, and so what backward computes again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from perfmodel.errors import unknown

__all__ = ["FRAMEWORK_NAMES", "LAYER_INPUT", "POLICIES", "Policy", "plain_names", "policy_of"]

LAYER_INPUT = "layer input"
"""The residual stream where a layer begins, which every policy keeps."""


class Policy(NamedTuple):
    """What forward keeps for backward.

    Parameters
    ----------
    modules : whole kinds of layer, or parts of one, that are computed again while all else is kept
    keep : results that are kept while all else is computed again; None is the other way round, by `modules`
    spare : a result that no gradient needs (that of the block's last product) is not computed again: compilers drop it,
        and torch's checkpoints stop before it; Megatron-LM's run to the end
    """

    modules: tuple[str, ...] = ()
    keep: tuple[str, ...] | None = None
    spare: bool = True


PROJECTIONS = ("query", "key", "value", "output", "gate", "up")
LATENTS = ("query latent", "key-value latent")
EXPERTS = ("expert gate", "expert up")
INTO = ("query", "key", "value")

POLICIES = {
    "nothing_saveable": Policy(keep=()),
    "torchtitan_op": Policy(keep=("query", "value", "attention core", "gate")),
    "minimal": Policy(keep=(*PROJECTIONS, *LATENTS, *EXPERTS)),
    "minimal_flash": Policy(keep=(*PROJECTIONS, *LATENTS, *EXPERTS, "attention core")),
    "save_dot_except_mlp": Policy(keep=(*INTO, *LATENTS, "output")),
    "save_qkv_proj": Policy(keep=INTO),
    "save_out_proj": Policy(keep=("output",)),
}
"""Policies by name. nothing_saveable is full recomputation where a compiler, or torch's checkpoint without re-entrance,
leaves out what no gradient needs (the default of jax.checkpoint, MaxText's `remat_policy: full`).

torchtitan_op: its per-operator policy keeps attention and of the products every second one, in the order queries, keys,
values, output, gate, up, down (pytorch/torchtitan, parallelize_llama.py of 2024: `_save_list` and the counter of `mm`);
the seventh is kept in name only, as nobody asks for it.

The others are MaxText's `remat_policy` (AI-Hypercomputer/maxtext, layers/decoders.py, get_remat_policy): minimal keeps
the results of all products with weights (checkpoint_dots_with_no_batch_dims), minimal_flash also what flash attention
gives (`context`)."""

FRAMEWORK_NAMES: dict[str, tuple[str, ...]] = {
    "core_attn": ("attention core",),
    "layernorm": ("norm",),
    "mla_up_proj": ("mla up projection",),
    "moe": ("mixture of experts",),
    "moe_act": ("expert activation",),
    "shared_experts": ("shared experts",),
    "decoder_layer_input": (LAYER_INPUT,),
    "qkv_proj": INTO,
    "query_proj": ("query",),
    "key_proj": ("key",),
    "value_proj": ("value",),
    "out_proj": ("output",),
    "context": ("attention core",),
    "mlpwi": ("gate", "up"),
    "mlpwi_0": ("gate",),
    "mlpwi_1": ("up",),
    "mlpwo": ("down",),
}
"""Modules and tensors as Megatron-Core (`recompute_modules`) and MaxText (custom `remat_policy`) call them."""


def plain_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names of modules or tensors, those of frameworks in the house's own words.

    Parameters
    ----------
    names : of either kind

    Returns
    -------
    the house's own names

    Examples
    --------
    >>> plain_names(["core_attn", "norm", "qkv_proj"])
    ('attention core', 'norm', 'query', 'key', 'value')
    """
    return tuple(plain for name in names for plain in FRAMEWORK_NAMES.get(name, (name,)))


def policy_of(recompute: str, name: str | None, modules: Iterable[str], keep: Iterable[str]) -> Policy:
    """The policy that a job's fields describe.

    Parameters
    ----------
    recompute : none, selective or full
    name : of `POLICIES`, which then says it all
    modules : that selective computes again
    keep : results kept beside those of the named policy, or of full recomputation

    Returns
    -------
    the policy

    Raises
    ------
    UnknownNameError
        no such policy

    Examples
    --------
    >>> policy_of("full", None, (), ("out_proj",))
    Policy(modules=(), keep=('output',), spare=True)
    """
    if name is not None and name not in POLICIES:
        raise unknown("recompute policy", name, POLICIES)
    if recompute == "none":
        return Policy()
    if name is None and recompute == "selective":
        return Policy(modules=plain_names(modules))
    policy, added = POLICIES[name] if name else Policy(keep=(), spare=False), plain_names(keep)
    if policy.keep is None or not added:
        return policy
    return policy._replace(keep=tuple(dict.fromkeys((*policy.keep, *added))), spare=True)
