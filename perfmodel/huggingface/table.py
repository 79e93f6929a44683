"""Which class reads which `model_type`. It is imported when the first such model is read, so that many cost nothing."""

from __future__ import annotations

from importlib import import_module

from perfmodel.huggingface.family import Family

__all__ = ["FAMILIES", "family"]

FAMILIES: dict[str, str] = {
    "arcee": "llama.Arcee",
    "bloom": "bloom.Bloom",
    "codegen": "gpt.CodeGen",
    "cohere": "cohere.Cohere",
    "cohere2": "cohere.Cohere2",
    "dbrx": "dbrx.Dbrx",
    "exaone4": "exaone.Exaone4",
    "falcon": "falcon.Falcon",
    "gemma": "gemma.Gemma",
    "gemma2": "gemma.Gemma2",
    "gemma3_text": "gemma.Gemma3",
    "glm": "glm.Glm",
    "glm4": "glm.Glm4",
    "glm4_moe": "glm_moe.Glm4Moe",
    "gpt2": "gpt.Gpt2",
    "gpt_bigcode": "gpt.GptBigCode",
    "gpt_neo": "gpt_neo.GptNeo",
    "gpt_neox": "gpt_neo.GptNeoX",
    "gpt_oss": "mixtral.GptOss",
    "gptj": "gpt.GptJ",
    "granite": "llama.Granite",
    "granitemoe": "mixtral.GraniteMoe",
    "granitemoeshared": "mixtral.GraniteMoeShared",
    "llama": "llama.Llama",
    "minimax_m2": "mixtral.MiniMaxM2",
    "ministral": "mistral.Ministral",
    "ministral3": "mistral.Ministral3",
    "mistral": "mistral.Mistral",
    "mixtral": "mixtral.Mixtral",
    "mpt": "mpt.Mpt",
    "nemotron": "nemotron.Nemotron",
    "olmo": "olmo.Olmo",
    "olmo2": "olmo.Olmo2",
    "olmo3": "olmo.Olmo3",
    "olmoe": "mixtral.Olmoe",
    "openai-gpt": "gpt.Gpt1",
    "opt": "opt.Opt",
    "phi": "phi.Phi",
    "phi3": "phi.Phi3",
    "phimoe": "mixtral.PhiMoe",
    "qwen2": "qwen.Qwen2",
    "qwen2_moe": "qwen_moe.Qwen2Moe",
    "qwen3": "qwen.Qwen3",
    "qwen3_moe": "qwen_moe.Qwen3Moe",
    "seed_oss": "llama.SeedOss",
    "smollm3": "llama.SmolLM3",
    "stablelm": "stablelm.StableLm",
    "starcoder2": "starcoder.Starcoder2",
}
"""Module and class in this package, by `model_type`; a new family is one class and one line here."""


def family(model_type: str) -> type[Family]:
    """The class that reads the config.json of a family.

    Parameters
    ----------
    model_type : as config.json has it, one of `FAMILIES`

    Returns
    -------
    the class

    Examples
    --------
    >>> family("qwen3").__name__
    'Qwen3'
    """
    module, name = FAMILIES[model_type].split(".")
    cls: type[Family] = getattr(import_module(f"{__package__}.{module}"), name)
    return cls
