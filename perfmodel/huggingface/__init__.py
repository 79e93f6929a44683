"""From a Hugging Face config.json to a model: one small class a family, and one table that finds it."""

from perfmodel.huggingface.family import Family
from perfmodel.huggingface.reader import read
from perfmodel.huggingface.table import FAMILIES
from perfmodel.model import register_format

__all__ = ["FAMILIES", "Family", "read"]

register_format("huggingface", read)
