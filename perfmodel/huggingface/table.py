"""Which class reads which `model_type`. It is imported when the first such model is read, so that many cost nothing."""

from __future__ import annotations

from importlib import import_module

from perfmodel.huggingface.family import Family

__all__ = ["FAMILIES", "family"]

FAMILIES: dict[str, str] = {
    "albert": "bert.Albert",
    "arcee": "llama.Arcee",
    "bart": "bart.Bart",
    "bert": "bert.Bert",
    "bamba": "hybrid.Bamba",
    "bloom": "bloom.Bloom",
    "clip": "clip.Clip",
    "clip_text_model": "clip.ClipText",
    "clip_vision_model": "clip.ClipVision",
    "codegen": "gpt.CodeGen",
    "cohere": "cohere.Cohere",
    "cohere2": "cohere.Cohere2",
    "convnext": "convnet.ConvNext",
    "dbrx": "dbrx.Dbrx",
    "deepseek_v2": "deepseek.DeepseekV2",
    "deepseek_v3": "deepseek.DeepseekV3",
    "deit": "vision.Deit",
    "dinov2": "vision.Dinov2",
    "dinov2_with_registers": "vision.Dinov2WithRegisters",
    "distilbert": "bert.DistilBert",
    "electra": "bert.Electra",
    "exaone4": "exaone.Exaone4",
    "falcon": "falcon.Falcon",
    "falcon_mamba": "mamba.FalconMamba",
    "gemma": "gemma.Gemma",
    "gemma2": "gemma.Gemma2",
    "gemma3": "gemma_vision.Gemma3Vision",
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
    "granitemoehybrid": "hybrid.GraniteMoeHybrid",
    "granitemoeshared": "mixtral.GraniteMoeShared",
    "jamba": "hybrid.Jamba",
    "hubert": "wav2vec2.Hubert",
    "kimi_k2": "deepseek.KimiK2",
    "llama": "llama.Llama",
    "llama4": "llama4_vision.Llama4",
    "llama4_text": "llama4.Llama4Text",
    "m2m_100": "bart.M2M100",
    "marian": "bart.Marian",
    "mbart": "bart.Mbart",
    "mamba": "mamba.Mamba",
    "mamba2": "mamba.Mamba2",
    "minimax_m2": "mixtral.MiniMaxM2",
    "ministral": "mistral.Ministral",
    "ministral3": "mistral.Ministral3",
    "mistral": "mistral.Mistral",
    "mixtral": "mixtral.Mixtral",
    "modernbert": "bert.ModernBert",
    "mpnet": "bert.Mpnet",
    "mpt": "mpt.Mpt",
    "mt5": "t5.Mt5",
    "nemotron": "nemotron.Nemotron",
    "nemotron_h": "nemotron_h.NemotronH",
    "olmo": "olmo.Olmo",
    "olmo2": "olmo.Olmo2",
    "olmo3": "olmo.Olmo3",
    "olmoe": "mixtral.Olmoe",
    "openai-gpt": "gpt.Gpt1",
    "opt": "opt.Opt",
    "pegasus": "bart.Pegasus",
    "phi": "phi.Phi",
    "phi3": "phi.Phi3",
    "phimoe": "mixtral.PhiMoe",
    "qwen2": "qwen.Qwen2",
    "qwen2_moe": "qwen_moe.Qwen2Moe",
    "qwen3": "qwen.Qwen3",
    "qwen3_moe": "qwen_moe.Qwen3Moe",
    "qwen3_next": "qwen_next.Qwen3Next",
    "recurrent_gemma": "recurrent_gemma.RecurrentGemma",
    "rwkv": "rwkv.Rwkv",
    "resnet": "convnet.ResNet",
    "roberta": "bert.Roberta",
    "sam": "sam.Sam",
    "sam_vision_model": "sam.SamVision",
    "seed_oss": "llama.SeedOss",
    "siglip": "clip.Siglip",
    "siglip_text_model": "clip.SiglipText",
    "siglip_vision_model": "clip.SiglipVision",
    "smollm3": "llama.SmolLM3",
    "stablelm": "stablelm.StableLm",
    "starcoder2": "starcoder.Starcoder2",
    "swin": "swin.Swin",
    "t5": "t5.T5",
    "umt5": "t5.Umt5",
    "vit": "vision.Vit",
    "wav2vec2": "wav2vec2.Wav2Vec2",
    "whisper": "whisper.Whisper",
    "xlm-roberta": "bert.XlmRoberta",
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
