"""What a layer asks for: its weights, its operators forward and backward, what it saves, and how it is split."""

from perfmodel.layers.attention import SelfAttention
from perfmodel.layers.base import Layer, Pass, Weight
from perfmodel.layers.embedding import Embedding, Head, PositionTable, Projection
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.layers.norm import Norm, Residual

__all__ = [
    "Embedding", "Head", "Layer", "MixtureOfExperts", "Mlp", "Norm", "Pass", "PositionTable", "Projection", "Residual",
    "SelfAttention", "Weight",
]  # fmt: skip
