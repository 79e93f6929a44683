"""What a config.json may ask for that is not built yet: said by name, never guessed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["LAYER_KINDS", "MODEL_TYPES", "features"]

_GROUPS = {
    "experts in attention": "jetmoe",
    "shared blocks and parallel state-space layers": "zamba zamba2 falcon_h1",
    "encoders with disentangled attention": "deberta deberta-v2",
}
MODEL_TYPES = {name: what for what, names in _GROUPS.items() for name in names.split()}
"""Well-known architectures that cannot be read yet, with what they would need."""

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_experts_per_tok")
LAYER_KINDS = ("full_attention", "sliding_attention")
"""Kinds of layers that `layer_types` may name in a dense decoder."""
_FLAGS = {"add_cross_attention": "cross-attention", "is_encoder_decoder": "an encoder beside the decoder"}
_WITH_HEAD = re.compile(r".*(ForCausalLM|LMHeadModel|ForConditionalGeneration)")


def features(
    keys: Mapping[str, Any], known: Collection[str] = (), built: Sequence[str] = LAYER_KINDS
) -> Iterator[str]:
    """One sentence for each thing that a config.json asks for and that is not built.

    Parameters
    ----------
    keys : of the config.json
    known : keys that the family which reads it knows beyond those of a dense decoder
    built : kinds of layers it knows

    Examples
    --------
    >>> print(*features({"model_type": "llama", "num_local_experts": 8}))
    num_local_experts = 8: mixture-of-experts layers are not built yet
    """
    for key in _EXPERTS:
        if key not in known and keys.get(key) not in (None, False, 0, 1):
            yield f"{key} = {keys[key]!r}: mixture-of-experts layers are not built yet"
    if "kv_lora_rank" not in known and keys.get("kv_lora_rank") is not None:
        yield f"kv_lora_rank = {keys['kv_lora_rank']!r}: latent attention is not built yet"
    for key, what in _FLAGS.items():
        if keys.get(key):
            yield f"{key} = {keys[key]!r}: {what} is not built yet"
    strange = sorted(set(_names(keys.get("layer_types"))) - {*built})
    if strange:
        yield f"layer_types: {', '.join(strange)} is not built yet; built: {', '.join(built)}"
    headless = [name for name in _names(keys.get("architectures")) if not _WITH_HEAD.fullmatch(name)]
    if headless:
        remedy = "without this key the model is read with one"
        yield f"architectures = {', '.join(headless)}: only language-model heads are built yet; {remedy}"


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []
