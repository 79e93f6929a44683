"""Gemma 3 with its eyes: an image tower whose pooled patches stand among the tokens of the text model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Size
from perfmodel.huggingface.clip import SiglipVision, nested_faults
from perfmodel.huggingface.gemma import Gemma3
from perfmodel.huggingface.headed import Headed
from perfmodel.huggingface.vision import pair
from perfmodel.layers.embedding import Projection
from perfmodel.layers.norm import Norm
from perfmodel.layers.pooling import Pooling
from perfmodel.model import Model

__all__ = ["Gemma3Vision"]


class Gemma3Vision(Headed):
    """A Gemma 3 text model with a SigLIP tower as its source."""

    whole = True
    prefix = "Gemma3"
    heads: ClassVar[tuple[str, ...]] = ("ForConditionalGeneration",)
    head_keys = ("", "", "", "")

    text_config: dict[str, Any]
    """Keys of the text model."""
    vision_config: dict[str, Any]
    """Keys of the image tower."""
    mm_tokens_per_image: Size = 256
    """Tokens that an image becomes, a square number [-]."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        yield from nested_faults(Gemma3, keys, "text_config")
        yield from nested_faults(SiglipVision, keys, "vision_config")
        tokens = cls._number(keys, "mm_tokens_per_image")
        if tokens and math.isqrt(tokens) ** 2 != tokens:
            yield f"mm_tokens_per_image = {tokens} must be a square number"

    def tower(self) -> Model:
        """The image tower with what brings its patches to the text model's width."""
        own = {key: value for key, value in self.vision_config.items() if key != "architectures"}
        vision = SiglipVision.model_validate(own)
        tower = vision.model(name="SiglipVision", family="siglip_vision_model")
        side = pair(vision.image_size)[0] // pair(vision.patch_size)[0]
        kernel = max(side // math.isqrt(self.mm_tokens_per_image), 1)
        width = vision.hidden_size
        bridge = (
            Pooling(width=width, kernel=kernel),
            Norm(width=width),
            Projection(inputs=width, outputs=self._text.hidden_size),
        )
        return tower.replace(exit=(*tower.exit, *bridge))

    @property
    def _text(self) -> Gemma3:
        inherited = {"tie_word_embeddings": self.tie_word_embeddings}
        return Gemma3.model_validate(inherited | self.text_config)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        return self._text.model(name=name, family=family).replace(source=self.tower())
