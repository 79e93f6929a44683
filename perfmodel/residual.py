"""Residual nets of convolutions from a flat description: ResNet and ResNeXt."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from perfmodel.decoder import Depth, Size
from perfmodel.errors import Faults
from perfmodel.layers.base import Layer
from perfmodel.layers.batch_norm import BatchNorm
from perfmodel.layers.convolution import Convolution
from perfmodel.layers.pooling import GlobalPooling, Pooling, Readout
from perfmodel.layers.squeeze import SqueezeExcitation
from perfmodel.model import Block, Model, register_format
from perfmodel.specs import Spec

__all__ = ["ResidualNet", "residual_net"]

BASE_WIDTH = 64
"""Channels of the inner convolution of the first stage, of a bottleneck without groups [-]."""


class ResidualNet(Spec):
    """Convolutions with batch norms around shortcuts, in stages that halve the image.

    References
    ----------
    He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385; Xie et al. (2017), Aggregated
    Residual Transformations for Deep Neural Networks, arXiv:1611.05431
    """

    name: str = "resnet"
    """What reports call the model."""
    family: str = "resnet"
    """Architecture family."""
    image: Size | tuple[Size, Size] = 224
    """Side of a square image, or height and width [-]."""
    inputs: Size = 3
    """Colours [-]."""
    embedding: Size = 64
    """Channels of the first convolution [-]."""
    widths: Annotated[tuple[Size, ...], Field(min_length=1)] = (256, 512, 1024, 2048)
    """Channels of each stage [-]."""
    depths: Annotated[tuple[Depth, ...], Field(min_length=1)] = (3, 4, 6, 3)
    """Layers of each stage [-]."""
    bottleneck: bool = True
    """Three convolutions of a layer with a narrow one between; else two."""
    groups: Size = 1
    """Groups of a bottleneck's inner convolution: 32 in a ResNeXt 32x4d [-]."""
    group_width: Size = BASE_WIDTH
    """Channels of a group in the first stage: 4 in a ResNeXt 32x4d; later stages double them [-]."""
    squeeze: Annotated[int, Field(ge=0)] = 0
    """Squeeze-and-excitation at the end of each layer narrows the channels so many times; 0 has none [-]."""
    early_stride: bool = False
    """The first convolution of a bottleneck halves the image (v1), not the inner one (v1.5)."""
    first_halves: bool = False
    """The first stage halves the image too."""
    activation: str = "relu"
    """Name of the non-linearity."""
    classes: Annotated[int, Field(ge=0)] = 1000
    """What is told apart; 0 ends with the last stage's mean [-]."""

    @model_validator(mode="after")
    def _stages_match(self) -> Self:
        faults = Faults(f"resnet {self.name!r}")
        if len(self.widths) != len(self.depths):
            faults.add(
                f"widths names {len(self.widths)} stages, depths {len(self.depths)}; they must be as many"
            )
        for width in self.widths if self.bottleneck else ():
            if self._narrow(width) % self.groups or not self._narrow(width):
                faults.add(
                    f"groups = {self.groups} must divide the {self._narrow(width)} channels within a bottleneck of "
                    f"{width}"
                )
        faults.raise_if_any()
        return self

    def _narrow(self, outputs: int) -> int:
        """Channels of a bottleneck's inner convolution [-]."""
        return outputs // 4 * self.groups * self.group_width // BASE_WIDTH

    def convolved(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, acts: bool = True
    ) -> tuple[Layer, ...]:
        """A convolution, and its batch norm with the non-linearity.

        Parameters
        ----------
        inputs, outputs : channels [-]
        kernel, stride, groups : of the convolution [-]
        acts : it has them; else the norm is that of the whole layer
        """
        return (
            Convolution(
                inputs=inputs, outputs=outputs, kernel=(kernel, kernel), stride=(stride,),
                padding=(kernel // 2,), groups=groups, bias=False,
            ),
            *((BatchNorm(width=outputs, activation=self.activation),) if acts else ()),
        )  # fmt: skip

    def layer(self, inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
        """One layer with its shortcut.

        Parameters
        ----------
        inputs, outputs : channels [-]
        stride : by which it makes the image smaller [-]
        """
        beside: tuple[Layer, ...] = ()
        if inputs != outputs or stride != 1:
            beside = (
                Convolution(
                    inputs=inputs, outputs=outputs, kernel=(1, 1), stride=(stride,), bias=False, shortcut=True
                ),
            )
        parts = self._bottleneck(inputs, outputs, stride) if self.bottleneck else (
            *self.convolved(inputs, outputs, 3, stride), *self.convolved(outputs, outputs, 3, acts=False),
        )  # fmt: skip
        norm = tuple(BatchNorm(width=outputs) for _ in beside)
        joined = BatchNorm(width=outputs, activation=self.activation, adds=1)
        if not self.squeeze:
            return (*beside, *parts, *norm, joined)
        squeezed = SqueezeExcitation(width=outputs, squeezed=outputs // self.squeeze)
        return (
            *beside,
            *parts,
            *norm,
            joined,
            squeezed,
        )  # the scales go in before the shortcut, which costs the same

    def _bottleneck(self, inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
        narrow, early = self._narrow(outputs), self.early_stride
        return (
            *self.convolved(inputs, narrow, 1, stride if early else 1),
            *self.convolved(narrow, narrow, 3, 1 if early else stride, groups=self.groups),
            *self.convolved(narrow, outputs, 1, acts=False),
        )

    def model(self) -> Model:
        """The model this describes."""
        width, blocks = self.embedding, []
        first = (
            *self.convolved(self.inputs, width, 7, 2),
            Pooling(width=width, kernel=3, stride=2, padding=1),
        )
        for number, (outputs, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            stride = 2 if number or self.first_halves else 1
            blocks.append(Block(layers=self.layer(width, outputs, stride)))
            if depth > 1:
                blocks.append(Block(layers=self.layer(outputs, outputs, 1), repeat=depth - 1))
            width = outputs
        read = (Readout(inputs=width, outputs=self.classes),) if self.classes else ()
        return Model(
            name=self.name,
            family=self.family,
            entry=first,
            blocks=tuple(blocks),
            exit=(GlobalPooling(width=width), *read),
            input="image",
            extent=self.image if isinstance(self.image, tuple) else (self.image, self.image),
        )


def residual_net(**fields: Any) -> Model:
    """A residual net.

    Parameters
    ----------
    **fields : the fields of `ResidualNet`: what differs from a ResNet-50 v1.5

    Returns
    -------
    the model

    Examples
    --------
    >>> residual_net().parameters, residual_net(groups=32, group_width=4).parameters
    (25557032, 25028904)
    >>> residual_net(depths=(3, 4, 23, 3), groups=32, group_width=4, squeeze=16).parameters
    48955416
    """
    return ResidualNet(**fields).model()


register_format("resnet", lambda fields: residual_net(**fields))
