"""Swin: attention within windows, and patches that merge from stage to stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Depth, HeadCounts, Size
from perfmodel.huggingface.convnet import Depths, Widths
from perfmodel.huggingface.vision import ImageModel, Side, pair
from perfmodel.layers.base import Layer
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.patch import PatchMerging
from perfmodel.layers.pooling import GlobalPooling, Readout
from perfmodel.layers.window_attention import WindowAttention
from perfmodel.model import Block, Model

__all__ = ["Swin"]


class Swin(ImageModel):
    """Stages of blocks with windowed attention, each of twice the width and half the height and width."""

    prefix = "Swin"
    heads: ClassVar[tuple[str, ...]] = ("ForImageClassification", "Model")
    head_keys = ("", "", "", "")

    patch_size: Side = 4
    """Height and width of a patch [-]."""
    embed_dim: Size = 96
    """Width of the first stage [-]."""
    depths: Depths = (2, 2, 6, 2)
    """Layers of each stage [-]."""
    num_heads: Widths = (3, 6, 12, 24)
    """Heads of each stage [-]."""
    window_size: Depth = 7
    """Patches along each side of a window [-]."""
    mlp_ratio: float = 4.0
    """Feed-forward width over that of the stage [-]."""
    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    use_absolute_embeddings: bool = False
    """Patches have a learned position too."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        ratio = keys.get("mlp_ratio", 4.0)
        if isinstance(ratio, int | float) and not 0 < ratio <= 1000:
            yield f"mlp_ratio = {ratio} must be above 0, and 1000 at most"
        depths, heads = (keys.get(key, cls.model_fields[key].default) for key in ("depths", "num_heads"))
        if not all(isinstance(each, list | tuple) for each in (depths, heads)):
            return
        if len(depths) != len(heads):
            yield f"depths names {len(depths)} stages, num_heads {len(heads)}; they must be as many"
        elif len(depths) > 8:
            yield f"depths names {len(depths)} stages; 8 are the most"
        width = cls._number(keys, "embed_dim")
        for stage, number in enumerate(heads[:8]):
            if width and isinstance(number, int) and not isinstance(number, bool) and number > 0:
                named = ("embed_dim · 2^stage", f"num_heads[{stage}]", "", "")
                yield from HeadCounts(width * 2**stage, number).faults(named)

    def layer(self, width: int, heads: int) -> tuple[Layer, ...]:
        """One block.

        Parameters
        ----------
        width : of the stage [-]
        heads : of the stage [-]
        """
        attention = WindowAttention(
            hidden=width, heads=heads, kv_heads=heads, head_dim=width // heads, qkv_bias=self.qkv_bias,
            side=self.window_size, shrinks=True, relative="pairs",
        )  # fmt: skip
        inner = max(int(self.mlp_ratio * width), 1)
        mlp = Mlp(hidden=width, inner=inner, gated=False, bias=True, activation=self.hidden_act)
        norm, add = Norm(width=width, kind="layer", bias=True), Residual(width=width)
        return (norm, attention, add, norm, mlp, add)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        width, blocks = self.embed_dim, []
        positions = self.patches if self.use_absolute_embeddings else 0
        first = (
            self.patch_embedding(width, 0, positions=positions, padded=True),
            Norm(width=width, kind="layer", bias=True),
        )
        for stage, (depth, heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            if stage:
                blocks.append(Block(layers=(PatchMerging(width=width),)))
                width *= 2
            blocks.append(Block(layers=self.layer(width, heads), repeat=depth))
        leave = (Norm(width=width, kind="layer", bias=True), GlobalPooling(width=width))
        read = (Readout(inputs=width, outputs=self.labels),) if self.head == "ForImageClassification" else ()
        return Model(
            name=name,
            family=family,
            entry=first,
            blocks=tuple(blocks),
            exit=(*leave, *read),
            input="image",
            extent=pair(self.image_size),
        )
