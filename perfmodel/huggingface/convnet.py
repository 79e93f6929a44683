"""Convolution nets: ResNet and ConvNeXt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from perfmodel.decoder import Depth, Size
from perfmodel.huggingface.headed import Labelled
from perfmodel.huggingface.vision import Side, pair
from perfmodel.layers.base import Layer
from perfmodel.layers.batch_norm import LayerScale
from perfmodel.layers.convolution import Convolution
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.pooling import GlobalPooling, Readout
from perfmodel.model import Block, Model
from perfmodel.residual import residual_net

__all__ = ["ConvNext", "ResNet"]

Widths = Annotated[tuple[Size, ...], Field(min_length=1)]
Depths = Annotated[tuple[Depth, ...], Field(min_length=1)]


class ConvNet(Labelled):
    """The keys that they share."""

    heads: ClassVar[tuple[str, ...]] = ("ForImageClassification", "Model")
    head_keys = ("", "", "", "")

    num_channels: Size = 3
    """Colours [-]."""
    hidden_sizes: Widths = (256, 512, 1024, 2048)
    """Channels of each stage [-]."""
    depths: Depths = (3, 4, 6, 3)
    """Layers of each stage [-]."""
    image_size: Side = 224
    """Height and width of an image, which the weights don't depend on [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        sizes = (keys.get(key, cls.model_fields[key].default) for key in ("hidden_sizes", "depths"))
        widths, depths = sizes
        if all(isinstance(each, list | tuple) for each in (widths, depths)) and len(widths) != len(depths):
            yield f"hidden_sizes names {len(widths)} stages, depths {len(depths)}; they must be as many"

    def finish(
        self, blocks: list[Block], first: tuple[Layer, ...], leave: tuple[Layer, ...], **names: str
    ) -> Model:
        """The model of these blocks, with its classes where it tells them.

        Parameters
        ----------
        blocks : all stages
        first, leave : layers before and after them
        **names : name and family
        """
        width = self.hidden_sizes[-1]
        read = (Readout(inputs=width, outputs=self.labels),)
        classes = read if self.head == "ForImageClassification" else ()
        return Model(
            entry=first,
            blocks=tuple(blocks),
            exit=(GlobalPooling(width=width), *leave, *classes),
            input="image",
            extent=pair(self.image_size),
            **names,
        )


class ResNet(ConvNet):
    """Convolutions with batch norms around shortcuts."""

    prefix = "ResNet"

    embedding_size: Size = 64
    """Channels of the first convolution [-]."""
    layer_type: Literal["basic", "bottleneck"] = "bottleneck"
    """Two convolutions of a layer, or three with a narrow one between."""
    hidden_act: str = "relu"
    """Non-linearity."""
    downsample_in_first_stage: bool = False
    """The first stage halves the image too."""
    downsample_in_bottleneck: bool = False
    """The first convolution of a bottleneck halves the image, not the second."""

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        return residual_net(
            name=name, family=family, image=pair(self.image_size), inputs=self.num_channels,
            embedding=self.embedding_size, widths=self.hidden_sizes, depths=self.depths,
            bottleneck=self.layer_type == "bottleneck", early_stride=self.downsample_in_bottleneck,
            first_halves=self.downsample_in_first_stage, activation=self.hidden_act,
            classes=self.labels if self.head == "ForImageClassification" else 0,
        )  # fmt: skip

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        widths = keys.get("hidden_sizes")
        narrow = [n for n in widths if isinstance(n, int) and 0 < n < 4] if isinstance(widths, list) else []
        if narrow and keys.get("layer_type", "bottleneck") == "bottleneck":
            yield f"hidden_sizes: a bottleneck needs 4 channels at least, not {narrow[0]}"


class ConvNext(ConvNet):
    """Depthwise convolutions, each with a norm and a feed-forward."""

    prefix = "ConvNext"

    patch_size: Size = 4
    """Height and width of a patch [-]."""
    hidden_sizes: Widths = (96, 192, 384, 768)
    """Channels of each stage [-]."""
    depths: Depths = (3, 3, 9, 3)
    """Layers of each stage [-]."""
    hidden_act: str = "gelu"
    """Non-linearity."""
    layer_scale_init_value: float = 1e-6
    """Where a learned scale on what a layer adds begins; 0 is none [-]."""

    def layer(self, width: int) -> tuple[Layer, ...]:
        """One layer.

        Parameters
        ----------
        width : channels [-]
        """
        scale = (LayerScale(width=width),) if self.layer_scale_init_value > 0 else ()
        return (
            Convolution(inputs=width, outputs=width, kernel=(7, 7), padding=(3,), groups=width),
            Norm(width=width, kind="layer", bias=True),
            Mlp(hidden=width, inner=4 * width, gated=False, bias=True, activation=self.hidden_act),
            *scale,
            Residual(width=width),
        )

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        width, side = self.hidden_sizes[0], self.patch_size
        blocks: list[Block] = []
        stem = Convolution(inputs=self.num_channels, outputs=width, kernel=(side, side), stride=(side,))
        for outputs, depth in zip(self.hidden_sizes, self.depths, strict=True):
            if blocks:
                shrink = Convolution(inputs=width, outputs=outputs, kernel=(2, 2), stride=(2,))
                blocks.append(Block(layers=(Norm(width=width, kind="layer", bias=True), shrink)))
            blocks.append(Block(layers=self.layer(outputs), repeat=depth))
            width = outputs
        norm = Norm(width=width, kind="layer", bias=True)
        first = (stem, Norm(width=self.hidden_sizes[0], kind="layer", bias=True))
        return self.finish(blocks, first, (norm,), name=name, family=family)
