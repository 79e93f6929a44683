"""Dimensions of a measured decoder that the row leaves out, and the variant of one whose family nobody knows.

What a row states rules. The rest is chosen among what is usual, so that the parameters come nearest to those stated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from perfmodel.errors import UnsupportedError
from perfmodel.validation.families import FAMILIES, family_key
from perfmodel.validation.layouts import whole_number

__all__ = ["completed", "dense_variant"]

Given = Mapping[str, Any]

SIZES = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "moe_ffn", "vocab", "experts", "top_k")
SHAPES = (
    (0.125, 768), (0.35, 1024), (0.76, 1536), (1.3, 2048), (2.7, 2560), (6.7, 4096), (13.0, 5120), (30.0, 7168),
    (66.0, 9216), (175.0, 12288), (530.0, 20480), (1000.0, 25600),
)  # fmt: skip
"""Billions of parameters and usual width: Brown et al. (2020), arXiv:2005.14165, table 2.1; Zhang et al. (2022),
arXiv:2205.01068, table 1; Narayanan et al. (2021), arXiv:2104.04473, table 1 [-]."""
USUAL_VOCABULARIES = (50257, 32000, 128256, 151936, 256000)
"""GPT-2, Llama 2, Llama 3, Qwen, Gemma; the first where nothing tells [-]."""
GATED = ("swiglu", "geglu", "reglu", "glu", "silu", "swish")
"""Activations that feed-forwards have with a gate."""


class Variant(NamedTuple):
    """What may be open of a dense decoder.

    Parameters
    ----------
    gated : the feed-forward has a gate
    tied : the head shares the token table
    ffn : feed-forward width [-]
    vocab : tokens known [-]
    """

    gated: bool
    tied: bool
    ffn: int
    vocab: int


def completed(given: Given, notes: list[str]) -> dict[str, Any]:
    """A row's model with all its dimensions.

    Parameters
    ----------
    given : what the row says of its model
    notes : what had to be assumed is added to these

    Returns
    -------
    the same with layers, hidden, heads, kv_heads, ffn, vocab, and with gated and tied of the variant

    Raises
    ------
    UnsupportedError
        there is neither a shape nor a number of parameters

    Examples
    --------
    >>> shape = {"layers": 32, "hidden": 4096, "heads": 32, "vocab": 32000}
    >>> found = completed({**shape, "name": "new", "params_b": 6.74}, [])
    >>> found["gated"], found["ffn"], found["tied"]
    (True, 11008, False)
    """
    sizes = {name: whole_number(given.get(name)) for name in SIZES}
    found = {**given, **{name: size for name, size in sizes.items() if size is not None or name in given}}
    found["name"] = str(given.get("name") or given.get("family") or "decoder")
    found["family"] = str(given.get("family") or "decoder")
    _shaped(found, notes)
    _headed(found, notes)
    if found.get("experts"):
        _routed(found, notes)
    variant = dense_variant(found)
    for name in ("ffn", "vocab"):
        if not found.get(name) and not (name == "ffn" and found.get("moe_ffn")):
            found[name] = getattr(variant, name)
            notes.append(f"{name} is not stated: taken as {found[name]}")
    if family_key(found) is None and not found.get("experts") and not found.get("layer_mix"):
        notes.append(f"family {given.get('family')} is not known: taken as {_told(variant)}")
    return {**found, "gated": variant.gated, "tied": variant.tied}


def _told(variant: Variant) -> str:
    feed, head = "a gated" if variant.gated else "a plain", "tied" if variant.tied else "untied"
    return f"a decoder with {feed} feed-forward and {head} head"


def _shaped(found: dict[str, Any], notes: list[str]) -> None:
    """Layers and width: where they lack, those of a usual model of as many parameters."""
    missing = [name for name in ("layers", "hidden") if not found.get(name)]
    if not missing:
        return
    billions = _billions(found)
    if billions is None:
        raise UnsupportedError(f"{found['name']}: the row lacks {' and '.join(missing)}, and params_b")
    usual = min(SHAPES, key=lambda shape: abs(math.log(shape[0] / billions)))[1]
    if not found.get("hidden"):
        deep = found.get("layers")
        found["hidden"] = (
            max(round(math.sqrt(billions * 1e9 / (12 * deep)) / 128), 1) * 128 if deep else usual
        )
    if not found.get("layers"):
        hidden = found["hidden"]
        body = billions * 1e9 - (found.get("vocab") or USUAL_VOCABULARIES[0]) * hidden
        found["layers"] = max(round(body / (12 * hidden**2)), 1)
    notes.append(
        f"{' and '.join(missing)} not stated: taken as {found['layers']} layers of {found['hidden']}"
    )


def _headed(found: dict[str, Any], notes: list[str]) -> None:
    """Heads: 128 wide, or 64 in small models; what does not divide is taken near."""
    hidden, heads = found["hidden"], found.get("heads")
    if not heads:
        wide = 128 if hidden >= 2048 and hidden % 128 == 0 else 64
        found["heads"] = heads = max(hidden // (found.get("head_dim") or wide), 1)
        if "kv_lora_rank" not in found:
            notes.append(f"heads not stated: taken as {heads}")
    if hidden % heads and not found.get("head_dim"):
        found["head_dim"] = max(round(hidden / heads), 1)
        notes.append(f"{heads} heads do not divide a width of {hidden}: taken as {found['head_dim']} wide")
    stated = found.get("kv_heads") or FAMILIES.get(family_key(found) or "", {}).get("kv_heads") or heads
    found["kv_heads"] = next(near for near in range(min(stated, heads), 0, -1) if heads % near == 0)
    if found["kv_heads"] != stated:
        notes.append(f"{stated} key-value heads do not divide {heads}: taken as {found['kv_heads']}")


def _routed(found: dict[str, Any], notes: list[str]) -> None:
    """Experts: two for each token, as wide as the parameters ask for, where nothing is stated."""
    if not found.get("top_k"):
        found["top_k"] = min(2, found["experts"])
        notes.append(f"top_k is not stated: taken as {found['top_k']}")
    billions = _billions(found)
    if not found.get("moe_ffn") and not found.get("ffn") and billions:
        hidden, step = found["hidden"], found.get("moe_every") or 1
        rest = billions * 1e9 - 2 * hidden * (found.get("vocab") or USUAL_VOCABULARIES[1])
        rest -= found["layers"] * _attention(found)
        each = rest * step / (found["layers"] * found["experts"] * 3 * hidden)
        found["moe_ffn"] = max(round(each / 128), 1) * 128
        notes.append(f"the experts' width is not stated: taken as {found['moe_ffn']}")


def dense_variant(given: Given) -> Variant:
    """The variant of a dense decoder: what the row states, then what its family has, then what fits its parameters.

    Parameters
    ----------
    given : what the row says of its model, with layers, hidden and heads

    Returns
    -------
    the variant; of several that fit alike, the first: plain before gated where the width is four times the model's

    Examples
    --------
    >>> shape = {"layers": 24, "hidden": 2048, "heads": 16, "kv_heads": 16, "ffn": 8192, "vocab": 50304}
    >>> dense_variant({**shape, "params_b": 1.31}), dense_variant({**shape, "params_b": 1.82}).gated
    (Variant(gated=False, tied=True, ffn=8192, vocab=50304), True)
    """
    choices, billions = list(_choices(given)), _billions(given)
    if billions is None or given.get("experts") or given.get("layer_mix"):
        return choices[0]
    return min(choices, key=lambda one: abs(_parameters(given, one) / (billions * 1e9) - 1))


def _choices(given: Given) -> Iterator[Variant]:
    hidden, ffn, vocab = given["hidden"], given.get("ffn"), given.get("vocab")
    vocabularies = (vocab,) if vocab else USUAL_VOCABULARIES
    for gated, tied, tokens in product(_gates(given), _ties(given), vocabularies):
        usual = -(-hidden * 8 // 3 // 256) * 256 if gated else 4 * hidden
        widths = (ffn,) if ffn else dict.fromkeys((usual, 4 * hidden, 7 * hidden // 2))
        yield from (Variant(gated, tied, width, tokens) for width in widths)


def _gates(given: Given) -> tuple[bool, ...]:
    if isinstance(given.get("gated_mlp"), bool):
        return (given["gated_mlp"],)
    activation, family = str(given.get("activation") or "").casefold(), family_key(given)
    if family is not None:
        return (FAMILIES[family].get("gated", True) or "glu" in activation,)
    if activation:
        return (any(name in activation for name in GATED),)
    plain_first = given.get("ffn") == 4 * given["hidden"]
    return (False, True) if plain_first else (True, False)


def _ties(given: Given) -> tuple[bool, ...]:
    for field in ("tied", "tie_word_embeddings", "tied_embeddings"):
        if isinstance(given.get(field), bool):
            return (given[field],)
    family = family_key(given)
    return (False, True) if family is None else (FAMILIES[family].get("tied", False),)


def _billions(given: Given) -> float | None:
    stated: Any = given.get("params_b")
    plain = isinstance(stated, int | float) and not isinstance(stated, bool)
    return float(stated) if plain and math.isfinite(stated) and stated > 0 else None


def _attention(given: Given) -> int:
    hidden: int = given["hidden"]
    heads: int = given["heads"]
    size: int = given.get("head_dim") or hidden // heads
    kv_heads: int = given.get("kv_heads") or heads
    return 2 * hidden * size * (heads + kv_heads)


def _parameters(given: Given, variant: Variant) -> int:
    """Matrices alone: shifts and norms are a few in ten thousand."""
    feed = (3 if variant.gated else 2) * given["hidden"] * variant.ffn
    ends = (1 if variant.tied else 2) * given["hidden"] * variant.vocab
    return int(given["layers"] * (_attention(given) + feed) + ends)
