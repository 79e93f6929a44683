"""Vision transformers: ViT, DeiT and DINOv2."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Depth, Size
from perfmodel.encoder import Stack
from perfmodel.huggingface.headed import Labelled
from perfmodel.layers.base import Layer
from perfmodel.layers.patch import PatchEmbedding
from perfmodel.layers.pooling import Readout
from perfmodel.model import Model

__all__ = ["Deit", "Dinov2", "Dinov2WithRegisters", "ImageModel", "Side", "Vit", "pair", "patch_faults"]

Side = Size | tuple[Size, Size]
"""Side of a square, or height and width."""


def pair(side: Side) -> tuple[int, int]:
    """Height and width of what may be given as the side of a square.

    Examples
    --------
    >>> pair(224), pair((16, 8))
    ((224, 224), (16, 8))
    """
    return side if isinstance(side, tuple) else (side, side)


def patch_faults(image: Any, patch: Any) -> Iterator[str]:
    """One sentence where a patch is larger than the image.

    Parameters
    ----------
    image, patch : sides as a config.json has them, of any type
    """
    sides = [value if isinstance(value, list | tuple) else [value, value] for value in (image, patch)]
    for whole, part in zip(*sides, strict=False):
        if isinstance(whole, int) and isinstance(part, int) and 0 < whole < part:
            yield f"patch_size = {patch} is larger than image_size = {image}"
            return


class ImageModel(Labelled):
    """The keys that models over patches of an image share."""

    head_keys = ("hidden_size", "num_attention_heads", "", "")

    image_size: Side = 224
    """Height and width of an image [-]."""
    patch_size: Side = 16
    """Height and width of a patch [-]."""
    num_channels: Size = 3
    """Colours [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        sides = (keys.get(key, cls.model_fields[key].default) for key in ("image_size", "patch_size"))
        yield from patch_faults(*sides)

    @property
    def patches(self) -> int:
        """Whole patches of an image [-]."""
        sides = zip(pair(self.image_size), pair(self.patch_size), strict=True)
        return math.prod(size // side for size, side in sides)

    def patch_embedding(self, width: int, tokens: int, **variant: Any) -> PatchEmbedding:
        """What makes tokens of an image.

        Parameters
        ----------
        width : of the model [-]
        tokens : learned ones before the patches [-]
        **variant : further fields of `PatchEmbedding`
        """
        fields = {"positions": self.patches + tokens, **variant}
        return PatchEmbedding(
            width=width, channels=self.num_channels, patch=pair(self.patch_size), tokens=tokens, **fields
        )

    def image_model(
        self, first: tuple[Layer, ...], stack: Stack, leave: tuple[Layer, ...], **names: str
    ) -> Model:
        """A model over patches of images of this size.

        Parameters
        ----------
        first : layers before the blocks, a patch embedding first
        stack : the blocks
        leave : layers after them
        **names : name and family
        """
        tokens = getattr(first[0], "tokens", 0)
        return Model(
            entry=first,
            blocks=stack.blocks(),
            exit=leave,
            input="image",
            extent=pair(self.image_size),
            fixed_length=self.patches + tokens,
            **names,
        )


class Vit(ImageModel):
    """Norms before the sub-layers, a class token, learned positions."""

    prefix = "ViT"
    heads: ClassVar[tuple[str, ...]] = ("ForImageClassification", "Model")
    learned: ClassVar[int] = 1
    """Tokens before the patches."""

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
    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    pooler_output_size: Size | None = None
    """Width of the pooled vector; none means that of the model [-]."""

    def stack(self, **variant: Any) -> Stack:
        """The blocks, those of a ViT but for what is given.

        Parameters
        ----------
        **variant : fields of `Stack`
        """
        shape = {
            "layers": self.num_hidden_layers, "hidden": self.hidden_size, "heads": self.num_attention_heads,
            "inner": self.intermediate_size, "activation": self.hidden_act, "qkv_bias": self.qkv_bias,
            "arrangement": "pre",
        }  # fmt: skip
        return Stack(**shape | variant)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        stack, width = self.stack(), self.hidden_size
        classes = Readout(inputs=width, outputs=self.labels)
        read: dict[str, tuple[Layer, ...]] = {
            "Model": (Readout(inputs=width, outputs=self.pooler_output_size or width),),
            "ForImageClassification": (classes,),
            "ForImageClassificationWithTeacher": (classes, classes),
        }
        first = (self.patch_embedding(width, self.learned),)
        return self.image_model(first, stack, (stack.normed(), *read[self.head]), name=name, family=family)


class Deit(Vit):
    """A ViT with a second learned token, for distillation."""

    prefix = "DeiT"
    heads = (*Vit.heads, "ForImageClassificationWithTeacher")
    learned = 2


class Dinov2(ImageModel):
    """A ViT with a learned scale on what each sub-layer adds."""

    prefix = "Dinov2"
    heads: ClassVar[tuple[str, ...]] = ("Model", "ForImageClassification")

    hidden_size: Size = 768
    """Model width [-]."""
    num_hidden_layers: Depth = 12
    """Layers [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    mlp_ratio: Size = 4
    """Feed-forward width over the model's [-]."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    patch_size: Side = 14
    """Height and width of a patch [-]."""
    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    use_swiglu_ffn: bool = False
    """Gated feed-forward of two thirds of the width, rounded up to eights."""
    use_mask_token: bool = True
    """A learned token stands for hidden patches."""

    def before(self) -> tuple[Layer, ...]:
        """What makes tokens of an image."""
        masks = 1 if self.use_mask_token else 0
        return (self.patch_embedding(self.hidden_size, 1, mask_tokens=masks),)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        width, inner = self.hidden_size, self.hidden_size * self.mlp_ratio
        if self.use_swiglu_ffn:
            inner = (int(inner * 2 / 3) + 7) // 8 * 8
        stack = Stack(
            layers=self.num_hidden_layers, hidden=width, heads=self.num_attention_heads, inner=inner,
            activation=self.hidden_act, qkv_bias=self.qkv_bias, gated=self.use_swiglu_ffn, layer_scale=True,
            arrangement="pre",
        )  # fmt: skip
        leave: tuple[Layer, ...] = (stack.normed(),)
        if self.head == "ForImageClassification":
            leave = (*leave, Readout(inputs=2 * width, outputs=self.labels))
        return self.image_model(self.before(), stack, leave, name=name, family=family)


class Dinov2WithRegisters(Dinov2):
    """A DINOv2 with learned tokens that hold what no patch needs."""

    prefix = "Dinov2WithRegisters"

    num_register_tokens: int = 4
    """Learned tokens besides that of the class [-]."""
    patch_size: Side = 16
    """Height and width of a patch [-]."""

    def before(self) -> tuple[Layer, ...]:
        """What makes tokens of an image; registers have no position."""
        return (
            self.patch_embedding(
                self.hidden_size, 1 + self.num_register_tokens, positions=self.patches + 1, mask_tokens=1
            ),
        )
