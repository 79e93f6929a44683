"""Variants of a dense decoder by the family that a measured row names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["FAMILIES", "UNBUILT", "family_key", "plain_name"]

Variant = dict[str, Any]

_BIASES: Variant = dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), True)
_CLASSIC: Variant = {"gated": False, "norm": "layer", "norm_bias": True}
_GPT: Variant = {**_CLASSIC, **_BIASES, "tied": True, "rotary": False}
_LLAMA: Variant = {}
_GEMMA: Variant = {"tied": True, "activation": "gelu"}

FAMILIES: dict[str, Variant] = {
    "gpt": _GPT,
    "llama": _LLAMA,
    "nemotron": _CLASSIC,
    "gemma3": {"arrangement": "sandwich", "tied": True},
    "bloom": {**_GPT, "embedding_norm": True},
    "opt": _GPT,
    "mpt": {**_CLASSIC, "norm_bias": False, "tied": True, "rotary": False},
    "gptneo": {**_CLASSIC, "output_bias": True, "mlp_bias": True, "tied": True, "rotary": False},
    "gptneox": {**_CLASSIC, **_BIASES, "arrangement": "parallel", "parallel_norms": 2},
    "gptj": {**_CLASSIC, "mlp_bias": True, "head_bias": True, "arrangement": "parallel"},
    "falcon": {**_CLASSIC, "tied": True, "arrangement": "parallel"},
    "palm": {"norm": "layer", "tied": True, "arrangement": "parallel", "kv_heads": 1},
    "phi": {**_CLASSIC, **_BIASES, "head_bias": True, "arrangement": "parallel"},
    "starcoder": {**_GPT, "kv_heads": 1},
    "starcoder2": {**_CLASSIC, **_BIASES, "tied": True},
    "stablelm": {"norm": "layer", "norm_bias": True},
    "qwen": {"qkv_bias": True},
    "qwen3": {"qk_norm": "shared"},
    "glm": {"qkv_bias": True},
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA, "arrangement": "sandwich"},
    "olmo": {"norm": "layer", "norm_weight": False},
    "olmo2": {"arrangement": "post", "qk_norm": "full"},
    "commandr": {"norm": "layer", "tied": True, "arrangement": "parallel"},
    "granite": {"tied": True},
}
"""As their published configurations have it (config.json and model class of each in Hugging Face transformers; PaLM:
Chowdhery et al. 2022, arXiv:2204.02311, section 2)."""

ALIKE = {
    "llama": (
        "mistral", "ministral", "codestral", "yi", "deepseek", "internlm", "baichuan", "codellama", "tinyllama",
        "smollm", "openllama", "vicuna", "alpaca", "phi3", "phi4", "minicpm", "exaone", "falcon3", "aquila", "skywork",
        "solar", "nemo", "xgen", "seed", "apertus", "llemma",
    ),
    "gpt": ("turing", "mtnlg", "megatron", "cerebrasgpt", "galactica", "minigpt", "nanogpt", "santacoder", "openaigpt"),
    "gptneox": ("pythia", "dolly", "redpajama"),
    "gptj": ("codegen",),
    "qwen": ("qwq",),
    "glm": ("chatglm", "codegeex"),
    "commandr": ("cohere", "command", "aya"),
    "nemotron": ("minitron",),
    "olmo2": ("olmo3",),
    "gemma3": ("gemma4",),
}  # fmt: skip
"""Families that differ from another in sizes alone."""

NAMES = {name: name for name in FAMILIES} | {
    other: name for name, others in ALIKE.items() for other in others
}

UNBUILT = {
    "nets of images that are not residual ones": (
        "efficientnet", "mobilenet", "inception", "densenet", "yolo", "unet", "vnet", "nnunet", "deeplab",
        "pointpillars", "vgg", "alexnet",
    ),
    "detectors of objects": ("ssd", "retinanet", "maskrcnn", "fasterrcnn", "rcnn", "detr"),
    "diffusion models": ("stablediffusion", "sdxl", "sd", "diffusion", "dit", "flux", "imagen"),
    "transducers and synthesisers of speech": ("rnnt", "tacotron", "waveglow", "fastpitch", "hifigan", "conformer"),
    "nets of graphs and of games": ("gnn", "rgat", "gat", "gcn", "minigo", "alphafold", "openfold", "se3transformer"),
    "recommenders other than DLRM": ("ncf", "widedeep", "wideanddeep", "hstu", "vaecf"),
    "transformers with a memory between segments": ("transformerxl",),
    "retrieval inside the layers": ("retro",),
}  # fmt: skip
"""Families of which nothing near is built, by what they are."""


def plain_name(name: Any) -> str:
    """A name without what people write differently.

    Examples
    --------
    >>> plain_name("GPT-NeoX_20B")
    'gptneox20b'
    """
    return re.sub(r"[^a-z0-9.]", "", str(name or "").casefold())


def family_key(given: Mapping[str, Any], known: Mapping[str, str] = NAMES) -> str | None:
    """Which of some families a model is, by the family that is stated, else by its name.

    Parameters
    ----------
    given : what the row says of its model
    known : what each family is called

    Returns
    -------
    what the longest name that begins the stated one stands for, no letter following; None where none does

    Examples
    --------
    >>> family_key({"family": "GPT-NeoX"}), family_key({"name": "qwen2.5-7b"}), family_key({"family": "palmyra"})
    ('gptneox', 'qwen', None)
    """
    for field in ("family", "name"):
        stated = plain_name(given.get(field))
        fits = [name for name in known if re.match(rf"{re.escape(name)}(?![a-z])", stated)]
        if fits:
            return known[max(fits, key=len)]
    return None
