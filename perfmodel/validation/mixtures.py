"""Models of measured rows whose layers are not all alike: experts, latent attention, chunks, state spaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perfmodel.decoder import Decoder
from perfmodel.errors import UnsupportedError
from perfmodel.layers import Layer, MixtureOfExperts, Mlp
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.layers.state_space import Mamba2

__all__ = ["feeds", "is_mixture", "mixers", "mixture"]

Given = Mapping[str, Any]

ALIKE = {"mamba2": "mamba-2", "ssm": "mamba-2", "ffn": "mlp", "feed-forward": "mlp", "attn": "attention",
         "self-attention": "attention", "experts": "moe"}  # fmt: skip
"""Other words for kinds of layers."""

FULL_EVERY = 4
"""Llama 4 attends in chunks but for every fourth layer, which rotates nothing (its config.json) [-]."""


def is_mixture(given: Given) -> bool:
    """Whether a row's model has experts, or layers of several kinds."""
    return bool(given.get("experts") or given.get("layer_mix"))


def mixture(given: Given, vocabulary: int) -> Decoder:
    """The decoder of such a model.

    Parameters
    ----------
    given : what the row says of its model
    vocabulary : tokens known, padding included [-]

    Returns
    -------
    the description

    Raises
    ------
    UnsupportedError
        a kind of layer that is not known
    """
    latent = bool(given.get("kv_lora_rank")) or given.get("attention_type") == "MLA"
    described = Decoder(
        name=given["name"],
        family=given["family"],
        layers=given["layers"],
        hidden=given["hidden"],
        heads=None if latent else given["heads"],
        kv_heads=None if latent else given.get("kv_heads"),
        head_dim=None if latent else given.get("head_dim"),
        inner=given.get("ffn") or given.get("moe_ffn"),
        vocabulary=vocabulary,
        qk_norm="shared" if given["family"].startswith("qwen3") else "none",
        mixers=(_latent(given),) if latent else (None,),
    )
    if given.get("layer_mix"):
        return _single(given, described)
    return described.replace(feeds=feeds(given), mixers=mixers(given, described))


def feeds(given: Given) -> tuple[Layer | None, ...]:
    """The feed-forward of each layer: dense at first, then experts in every so-manieth.

    Parameters
    ----------
    given : what the row says of its model

    Returns
    -------
    one entry a layer; none is a dense one

    Examples
    --------
    >>> given = {"hidden": 64, "experts": 8, "top_k": 2, "moe_ffn": 32, "layers": 6}
    >>> [feed is not None for feed in feeds(given | {"first_dense_layers": 2})]
    [False, False, True, True, True, True]
    >>> [feed is not None for feed in feeds(given | {"moe_every": 2})]
    [False, True, False, True, False, True]
    """
    experts, step = _experts(given), given.get("moe_every") or 1
    first = given.get("first_dense_layers") or 0
    return tuple(
        experts if place >= first and (place + 1) % step == 0 else None for place in range(given["layers"])
    )


def mixers(given: Given, described: Decoder) -> tuple[Layer | None, ...]:
    """What mixes the tokens of successive layers.

    Parameters
    ----------
    given : what the row says of its model
    described : the decoder, whose attention it may be

    Returns
    -------
    a pattern that repeats; none is the decoder's own attention
    """
    if not given.get("chunked_attention"):
        return described.mixers
    chunked = described.attention(chunk=given["chunked_attention"])
    return (*(chunked,) * (FULL_EVERY - 1), described.attention(rotary=False))


def _experts(given: Given, **variant: Any) -> MixtureOfExperts:
    inner = given.get("moe_ffn") or given["ffn"]
    if given.get("gated_mlp") is False:
        variant = {"gated": False, **variant}
    fields = {"hidden": given["hidden"], "inner": inner, "experts": given["experts"], "top_k": given["top_k"]}
    return MixtureOfExperts(**fields, shared_inner=(given.get("shared_experts") or 0) * inner, **variant)


def _latent(given: Given) -> LatentAttention:
    """Sizes that are not stated are those of DeepSeek-V2 and V3 (config.json of both)."""
    return LatentAttention(
        hidden=given["hidden"],
        heads=given["heads"],
        plain_dim=given.get("qk_nope_head_dim") or 128,
        rotary_dim=given.get("qk_rope_head_dim") or 64,
        value_dim=given.get("v_head_dim") or 128,
        kv_rank=given.get("kv_lora_rank") or 512,
        q_rank=given.get("q_lora_rank"),
    )


def _single(given: Given, described: Decoder) -> Decoder:
    """Nemotron-H: one sub-layer a layer, so many of each kind, squared ReLU, no positions.

    References
    ----------
    NVIDIA (2025), Nemotron-H, arXiv:2504.03624, section 2.1 and table 1
    """
    makers: dict[str, Any] = {
        "mamba-2": lambda: _scan(given),
        "mlp": lambda: Mlp(hidden=given["hidden"], inner=given["ffn"], gated=False, activation="relu2"),
        "moe": lambda: _experts(given, gated=False, activation="relu2"),
        "attention": lambda: None,
    }
    found: list[Layer | None] = []
    for count, kind in re.findall(r"(\d+) ([\w-]+)", str(given["layer_mix"])):
        name = ALIKE.get(kind.lower(), kind.lower())
        if name not in makers:
            raise UnsupportedError(f"layers of the kind {kind} are not built yet")
        found += [makers[name]()] * int(count)
    if not found:
        raise UnsupportedError(f"layer_mix {given['layer_mix']!r} tells no numbers of layers")
    return described.replace(arrangement="single", gated=False, rotary=False, mixers=tuple(found))


def _scan(given: Given) -> Mamba2:
    """Twice the model's width in heads of 64 and 8 groups; 128 states a channel, 256 from a width of 8192 on."""
    hidden = given["hidden"]
    return Mamba2(
        hidden=hidden, heads=2 * hidden // 64, head_dim=64, state=256 if hidden >= 8192 else 128, groups=8
    )
