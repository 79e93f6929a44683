"""Llama 4 with its eyes: an image tower whose shuffled patches stand among the tokens of the text model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from perfmodel.decoder import Size
from perfmodel.encoder import Stack
from perfmodel.huggingface.clip import ClipVision, nested_faults
from perfmodel.huggingface.headed import Headed
from perfmodel.huggingface.llama4 import Llama4Text
from perfmodel.huggingface.vision import Side
from perfmodel.layers import Projection
from perfmodel.layers.linear import Linear
from perfmodel.layers.pixel_shuffle import PixelShuffle
from perfmodel.model import Model

__all__ = ["Llama4", "Llama4Vision"]


class Llama4Vision(ClipVision):
    """The image tower: a ViT with rotated queries and keys, and two products that widen squares of patches."""

    prefix = "Llama4Vision"
    heads: ClassVar[tuple[str, ...]] = ("Model",)

    num_hidden_layers: int = Field(default=34, ge=1, le=100_000)
    """Layers [-]."""
    num_attention_heads: Size = 16
    """Heads [-]."""
    intermediate_size: Size = 5632
    """Feed-forward width; also that of four joined patches [-]."""
    image_size: Side = 448
    """Height and width of an image [-]."""
    patch_size: Side = 14
    """Height and width of a patch [-]."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    vision_output_dim: Size = 7680
    """Width of what the projector reads [-]."""
    pixel_shuffle_ratio: float = Field(default=0.5, gt=0.0, le=1.0)
    """One over the patches along the side of a square that becomes one token [-]."""
    projector_input_dim: Size = 4096
    """Outputs of the first product behind the blocks [-]."""
    projector_output_dim: Size = 4096
    """Inputs and outputs of the second [-]."""

    def stack(self) -> Stack:
        """The blocks."""
        return super().stack().replace(rotary=True)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        stack, width = self.stack(), self.hidden_size
        shuffle = PixelShuffle(width=width, side=round(1 / self.pixel_shuffle_ratio), tokens=1)
        inner, output = self.projector_input_dim, self.projector_output_dim
        wide = Linear(inputs=self.intermediate_size, outputs=inner, bias=False, activation=self.hidden_act)
        last = Linear(inputs=output, outputs=output, bias=False, activation=self.hidden_act)
        first = (self.patch_embedding(width, 1, bias=False, flat_token=True), stack.normed())
        return self.image_model(first, stack, (stack.normed(), shuffle, wide, last), name=name, family=family)


class Llama4(Headed):
    """A Llama 4 text model with its image tower as the source."""

    whole = True
    prefix = "Llama4"
    heads: ClassVar[tuple[str, ...]] = ("ForConditionalGeneration",)
    head_keys = ("", "", "", "")

    text_config: dict[str, Any]
    """Keys of the text model."""
    vision_config: dict[str, Any]
    """Keys of the image tower."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        yield from nested_faults(Llama4Text, keys, "text_config")
        yield from nested_faults(Llama4Vision, keys, "vision_config")

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        text = Llama4Text(**self.text_config)
        own = {key: value for key, value in self.vision_config.items() if key != "architectures"}
        vision = Llama4Vision(**own)
        tower = vision.model(name="Llama4Vision", family="llama4_vision_model")
        bridge = Projection(inputs=vision.vision_output_dim, outputs=text.hidden_size)
        source = tower.replace(exit=(*tower.exit, bridge))
        return text.model(name=name, family=family).replace(source=source)
