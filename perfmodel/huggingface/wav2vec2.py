"""Speech encoders: wav2vec 2.0 and HuBERT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from perfmodel.decoder import Depth, Size
from perfmodel.encoder import Stack
from perfmodel.huggingface.convnet import Widths
from perfmodel.huggingface.headed import Labelled
from perfmodel.layers.base import Layer
from perfmodel.layers.batch_norm import Activation, BatchNorm, GroupNorm
from perfmodel.layers.convolution import Convolution
from perfmodel.layers.embedding import Projection
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.pooling import Readout
from perfmodel.layers.position_bias import LearnedVectors
from perfmodel.model import Model

__all__ = ["Hubert", "Wav2Vec2"]

SECOND = 16_000
"""Samples that stand for a signal where nobody says how long it is: one second at the rate of these models [-]."""
_LISTS = ("conv_dim", "conv_kernel", "conv_stride")


class Wav2Vec2(Labelled):
    """Convolutions over samples, a convolution for positions, then a transformer."""

    prefix = "Wav2Vec2"
    heads: ClassVar[tuple[str, ...]] = ("Model", "ForCTC", "ForSequenceClassification")
    flags: ClassVar = {"add_adapter": "an adapter", "adapter_attn_dim": "an adapter in each layer"}
    head_keys = ("hidden_size", "num_attention_heads", "", "")

    vocab_size: Size = 32
    """Letters told apart [-]."""
    hidden_size: Size = 768
    """Model width [-]."""
    num_hidden_layers: Depth = 12
    """Layers [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    intermediate_size: Size = 3072
    """Feed-forward width [-]."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    feat_extract_norm: Literal["group", "layer"] = "group"
    """One norm after the first convolution, or one after each."""
    conv_dim: Widths = (512,) * 7
    """Channels of the convolutions over samples [-]."""
    conv_kernel: Widths = (10, 3, 3, 3, 3, 2, 2)
    """Their taps [-]."""
    conv_stride: Widths = (5, 2, 2, 2, 2, 2, 2)
    """Samples from one result to the next [-]."""
    conv_bias: bool = False
    """They have a bias."""
    num_conv_pos_embeddings: Size = 128
    """Taps of the convolution for positions [-]."""
    num_conv_pos_embedding_groups: Size = 16
    """Its groups [-]."""
    do_stable_layer_norm: bool = False
    """Norms before the sub-layers; else after them."""
    mask_time_prob: float = 0.05
    """Share of masked positions; where it is not 0 there is a vector for them [-]."""
    mask_feature_prob: float = 0.0
    """Share of masked channels; likewise [-]."""
    use_weighted_layer_sum: bool = False
    """A classifier reads a learned mean of all layers."""
    classifier_proj_size: Size = 256
    """Width before the classes [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        lists = [keys.get(key, cls.model_fields[key].default) for key in _LISTS]
        if all(isinstance(each, list | tuple) for each in lists) and len({len(each) for each in lists}) > 1:
            told = ", ".join(f"{key} {len(each)}" for key, each in zip(_LISTS, lists, strict=True))
            yield f"{told} convolutions; they must be as many"
        width, groups = (cls._number(keys, key) for key in ("hidden_size", "num_conv_pos_embedding_groups"))
        if width and groups and width % groups:
            yield f"num_conv_pos_embedding_groups = {groups} must divide hidden_size = {width}"

    def samples(self) -> tuple[Layer, ...]:
        """The convolutions over samples."""
        layers: list[Layer] = []
        inputs = 1
        shapes = zip(self.conv_dim, self.conv_kernel, self.conv_stride, strict=True)
        for number, (outputs, kernel, stride) in enumerate(shapes):
            layers.append(
                Convolution(
                    inputs=inputs, outputs=outputs, kernel=(kernel,), stride=(stride,), bias=self.conv_bias
                )
            )
            if self.feat_extract_norm == "layer":
                layers.append(Norm(width=outputs, kind="layer", bias=True))
            elif number == 0:
                layers.append(GroupNorm(width=outputs))
            layers.append(Activation(width=outputs, kind="gelu"))
            inputs = outputs
        return tuple(layers)

    def projected(self) -> tuple[Layer, ...]:
        """From the last convolution to the width of the model."""
        width = self.conv_dim[-1]
        norm = Norm(width=width, kind="layer", bias=True)
        return (norm, Projection(inputs=width, outputs=self.hidden_size, bias=True))

    def positions(self) -> tuple[Layer, ...]:
        """The convolution for positions, with a normalised weight."""
        taps = self.num_conv_pos_embeddings
        return (self.position_convolution(norm_scales=taps),)

    def position_convolution(self, **variant: Any) -> Convolution:
        """A convolution that leaves as many positions as came.

        Parameters
        ----------
        **variant : fields of `Convolution`
        """
        width, taps = self.hidden_size, self.num_conv_pos_embeddings
        return Convolution(
            inputs=width, outputs=width, kernel=(taps,), padding=(taps // 2,), cut=1 - taps % 2,
            groups=self.num_conv_pos_embedding_groups, **variant,
        )  # fmt: skip

    def readouts(self) -> tuple[Layer, ...]:
        """What stands behind the blocks."""
        width = self.hidden_size
        if self.head == "ForCTC":
            return (Projection(inputs=width, outputs=self.vocab_size, bias=True),)
        if self.head == "Model":
            return ()
        mean = (LearnedVectors(name="layer weights", shape=(self.num_hidden_layers + 1,)),)
        narrow = self.classifier_proj_size
        return (
            *(mean if self.use_weighted_layer_sum else ()),
            Projection(inputs=width, outputs=narrow, bias=True),
            Readout(inputs=narrow, outputs=self.labels),
        )

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        width, pre = self.hidden_size, self.do_stable_layer_norm
        stack = Stack(
            layers=self.num_hidden_layers, hidden=width, heads=self.num_attention_heads,
            inner=self.intermediate_size, activation=self.hidden_act, arrangement="pre" if pre else "post",
        )  # fmt: skip
        masks = self.mask_time_prob > 0 or self.mask_feature_prob > 0
        masked = (LearnedVectors(name="mask vector", shape=(width,)),) if masks else ()
        add = (Activation(width=width, kind="gelu"), Residual(width=width))
        entry = (*self.samples(), *self.projected(), *masked, *self.positions(), *add)
        return Model(
            name=name,
            family=family,
            entry=entry if pre else (*entry, stack.normed()),
            blocks=stack.blocks(),
            exit=(*((stack.normed(),) if pre else ()), *self.readouts()),
            input="signal",
            extent=(SECOND,),
        )


class Hubert(Wav2Vec2):
    """A wav2vec 2.0 whose norm before the model is optional."""

    prefix = "Hubert"
    flags: ClassVar = {}

    feat_proj_layer_norm: bool = True
    """A norm follows the convolutions over samples."""
    conv_pos_batch_norm: bool = False
    """A batch norm stands before the convolution for positions, whose weight is then not normalised."""

    def projected(self) -> tuple[Layer, ...]:
        """From the last convolution to the width of the model."""
        norm, project = super().projected()
        return (norm, project) if self.feat_proj_layer_norm else (project,)

    def positions(self) -> tuple[Layer, ...]:
        """The convolution for positions."""
        if not self.conv_pos_batch_norm:
            return super().positions()
        return (BatchNorm(width=self.hidden_size), self.position_convolution())
