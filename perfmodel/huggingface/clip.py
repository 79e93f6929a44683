"""Pairs of towers, one for text and one for images: CLIP and SigLIP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Depth, Size
from perfmodel.encoder import Encoder, Stack
from perfmodel.huggingface.family import Family
from perfmodel.huggingface.headed import Headed
from perfmodel.huggingface.vision import ImageModel, Side
from perfmodel.layers.base import Layer
from perfmodel.layers.cross_attention import AttentionPooling
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.pooling import Readout
from perfmodel.layers.similarity import Similarity
from perfmodel.model import Model

__all__ = ["Clip", "ClipText", "ClipVision", "Siglip", "SiglipText", "SiglipVision", "nested_faults"]


def nested_faults(cls: type[Family], keys: Mapping[str, Any], key: str) -> Iterator[str]:
    """What is wrong between the keys of a nested configuration, with its place.

    Parameters
    ----------
    cls : the family that reads it
    keys : of the whole config.json
    key : of the nested part
    """
    inner = keys.get(key)
    for fault in cls.contradictions(inner if isinstance(inner, Mapping) else {}):
        yield f"{key}: {fault}"


class ClipText(Headed):
    """The text tower of CLIP: causal, norms before the sub-layers, learned positions."""

    prefix = "CLIPText"
    heads: ClassVar[tuple[str, ...]] = ("Model", "ModelWithProjection")
    head_keys = ("hidden_size", "num_attention_heads", "", "")
    causal: ClassVar[bool] = True

    vocab_size: Size = 49408
    """Tokens known [-]."""
    hidden_size: Size = 512
    """Model width [-]."""
    num_hidden_layers: Depth = 12
    """Layers [-]."""
    num_attention_heads: Size = 8
    """Heads [-]."""
    intermediate_size: Size = 2048
    """Feed-forward width [-]."""
    max_position_embeddings: Size = 77
    """Rows of the positional table [-]."""
    hidden_act: str = "quick_gelu"
    """Non-linearity of the feed-forward."""
    projection_dim: Size = 512
    """Width of what leaves [-]."""

    def readouts(self) -> tuple[Layer, ...]:
        """What stands behind the last norm."""
        if self.head != "ModelWithProjection":
            return ()
        return (Readout(inputs=self.hidden_size, outputs=self.projection_dim, bias=False),)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        whole = Encoder(
            name=name, family=family, layers=self.num_hidden_layers, hidden=self.hidden_size,
            heads=self.num_attention_heads, inner=self.intermediate_size, vocabulary=self.vocab_size,
            positions=self.max_position_embeddings, arrangement="pre", embedding_norm=False, final_norm=True,
            causal=self.causal, activation=self.hidden_act,
        ).model()  # fmt: skip
        return whole.replace(exit=(*whole.exit, *self.readouts()), fixed_length=self.max_position_embeddings)


class SiglipText(ClipText):
    """The text tower of SigLIP: it looks both ways, and projects the last token."""

    prefix = "SiglipText"
    heads = ("Model",)
    causal = False

    vocab_size: Size = 32000
    """Tokens known [-]."""
    hidden_size: Size = 768
    """Model width [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    intermediate_size: Size = 3072
    """Feed-forward width [-]."""
    max_position_embeddings: Size = 64
    """Rows of the positional table [-]."""
    hidden_act: str = "gelu_pytorch_tanh"
    """Non-linearity of the feed-forward."""
    projection_size: Size | None = None
    """Width of what leaves; none means that of the model [-]."""

    def readouts(self) -> tuple[Layer, ...]:
        """What stands behind the last norm."""
        return (Readout(inputs=self.hidden_size, outputs=self.projection_size or self.hidden_size),)


class ClipVision(ImageModel):
    """The image tower of CLIP: a ViT with a norm before the blocks."""

    prefix = "CLIPVision"
    heads: ClassVar[tuple[str, ...]] = ("Model", "ModelWithProjection")

    hidden_size: Size = 768
    """Model width [-]."""
    num_hidden_layers: Depth = 12
    """Layers [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    intermediate_size: Size = 3072
    """Feed-forward width [-]."""
    patch_size: Side = 32
    """Height and width of a patch [-]."""
    hidden_act: str = "quick_gelu"
    """Non-linearity of the feed-forward."""
    projection_dim: Size = 512
    """Width of what leaves [-]."""

    def stack(self) -> Stack:
        """The blocks."""
        return Stack(
            layers=self.num_hidden_layers, hidden=self.hidden_size, heads=self.num_attention_heads,
            inner=self.intermediate_size, activation=self.hidden_act, arrangement="pre",
        )  # fmt: skip

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        stack, width = self.stack(), self.hidden_size
        first = (self.patch_embedding(width, 1, bias=False, flat_token=True), stack.normed())
        leave: tuple[Layer, ...] = (stack.normed(),)
        if self.head == "ModelWithProjection":
            leave = (*leave, Readout(inputs=width, outputs=self.projection_dim, bias=False))
        return self.image_model(first, stack, leave, name=name, family=family)


class SiglipVision(ClipVision):
    """The image tower of SigLIP: a ViT without class token, whose patches are pooled by attention."""

    prefix = "SiglipVision"
    heads = ("Model",)

    patch_size: Side = 16
    """Height and width of a patch [-]."""
    hidden_act: str = "gelu_pytorch_tanh"
    """Non-linearity of the feed-forward."""
    vision_use_head: bool = True
    """The patches are pooled."""

    def pooled(self) -> tuple[Layer, ...]:
        """A learned query looks at all patches; a norm and a feed-forward follow."""
        if not self.vision_use_head:
            return ()
        width, heads = self.hidden_size, self.num_attention_heads
        return (
            AttentionPooling(hidden=width, heads=heads, head_dim=width // heads),
            Norm(width=width, kind="layer", bias=True),
            Mlp(hidden=width, inner=self.intermediate_size, gated=False, bias=True),
            Residual(width=width),
        )

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        stack = self.stack()
        first = (self.patch_embedding(self.hidden_size, 0),)
        return self.image_model(first, stack, (stack.normed(), *self.pooled()), name=name, family=family)


class Clip(Headed):
    """Both towers with their projections, and a learned temperature."""

    whole = True
    prefix = "CLIP"
    heads: ClassVar[tuple[str, ...]] = ("Model",)
    head_keys = ("", "", "", "")
    towers: ClassVar[tuple[type[ClipText], type[ClipVision]]] = (ClipText, ClipVision)

    text_config: dict[str, Any] | None = None
    """Keys of the text tower."""
    vision_config: dict[str, Any] | None = None
    """Keys of the image tower."""
    projection_dim: Size = 512
    """Width in which the two meet [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        for tower, key in zip(cls.towers, ("text_config", "vision_config"), strict=True):
            yield from nested_faults(tower, keys, key)

    def tower(self, kind: type[ClipText | ClipVision], keys: dict[str, Any] | None) -> Model:
        """One of the two towers.

        Parameters
        ----------
        kind : the family that reads it
        keys : its part of the config.json
        """
        own = {key: value for key, value in (keys or {}).items() if key != "architectures"}
        named = {"name": kind.__name__, "family": str(own.get("model_type", ""))}
        return kind.model_validate(own).model(**named)

    def joined(self, model: Model, leave: tuple[Layer, ...]) -> Model:
        """A tower with what stands behind it.

        Parameters
        ----------
        model : the tower
        leave : further layers
        """
        return model.replace(exit=(*model.exit, *leave))

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe: the text tower, with that of images as its source.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        text, image = self.towers
        both = (self.tower(text, self.text_config), self.tower(image, self.vision_config))
        to_text, to_image = (
            Readout(inputs=tower.hidden, outputs=self.projection_dim, bias=False) for tower in both
        )
        scale = Similarity(width=self.projection_dim)
        source = self.joined(both[1], (to_image,))
        return self.joined(both[0], (to_text, scale)).replace(source=source, name=name, family=family)


class Siglip(Clip):
    """Both towers, and a learned temperature and bias."""

    prefix = "Siglip"
    towers = (SiglipText, SiglipVision)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe: the text tower, with that of images as its source.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        text = self.tower(SiglipText, self.text_config)
        source = self.tower(SiglipVision, self.vision_config)
        alike = Similarity(width=source.hidden, bias=True)
        return self.joined(text, (alike,)).replace(source=source, name=name, family=family)
