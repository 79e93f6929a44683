"""What a layer asks for: its weights, its operators forward and backward, what it saves, and how it is split."""

from perfmodel.layers.attention import SelfAttention
from perfmodel.layers.base import Layer, Pass, Weight
from perfmodel.layers.batch_norm import Activation, BatchNorm, GroupNorm, LayerScale
from perfmodel.layers.convolution import Convolution, TransposedConvolution
from perfmodel.layers.cross_attention import AttentionPooling, CrossAttention
from perfmodel.layers.embedding import Embedding, Head, PositionTable, Projection
from perfmodel.layers.encoder_attention import EncoderAttention
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.patch import PatchEmbedding, PatchMerging
from perfmodel.layers.pooling import GlobalPooling, Pooling, Readout
from perfmodel.layers.position_bias import RelativeBias, SegmentTable
from perfmodel.layers.window_attention import WindowAttention

__all__ = [
    "Activation", "AttentionPooling", "BatchNorm", "Convolution", "CrossAttention", "Embedding", "EncoderAttention",
    "GlobalPooling", "GroupNorm", "Head", "Layer", "LayerScale", "MixtureOfExperts", "Mlp", "Norm", "Pass",
    "PatchEmbedding", "PatchMerging", "Pooling", "PositionTable", "Projection", "Readout", "RelativeBias", "Residual",
    "SegmentTable", "SelfAttention", "TransposedConvolution", "Weight", "WindowAttention",
]  # fmt: skip
