"""From a Hugging Face config.json to a model: one small class a family, and one table that finds it.

A new family is one module with a class under the decorator `family`, and its import here.
"""

from perfmodel.huggingface import (  # noqa: F401  # each enters its families into the table
    bloom,
    cohere,
    exaone,
    falcon,
    gemma,
    glm,
    gpt,
    gpt_neo,
    llama,
    mistral,
    mpt,
    nemotron,
    olmo,
    opt,
    phi,
    qwen,
    stablelm,
    starcoder,
)
from perfmodel.huggingface.family import FAMILIES, Family, family
from perfmodel.huggingface.reader import read
from perfmodel.model import register_format

__all__ = ["FAMILIES", "Family", "family", "read"]

register_format("huggingface", read)
