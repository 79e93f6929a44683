"""Models that no config.json describes: perceptrons, recurrent and convolutional classifiers, recommenders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from perfmodel.decoder import Depth, Size
from perfmodel.errors import Faults
from perfmodel.layers import Embedding, Layer
from perfmodel.layers.convolution import Convolution
from perfmodel.layers.interaction import DotInteraction, EmbeddingBags, LowRankCross
from perfmodel.layers.linear import Linear
from perfmodel.layers.pooling import Pooling, Readout
from perfmodel.layers.recurrent import Recurrent
from perfmodel.model import Block, Model, register_format
from perfmodel.residual import residual_net
from perfmodel.specs import Spec

__all__ = [
    "ConvolutionalClassifier", "Perceptron", "Recommender", "SequenceClassifier",
    "cnn", "dlrm", "lstm_classifier", "mlp", "resnet50",
]  # fmt: skip

Sizes = Annotated[tuple[Size, ...], Field(min_length=1)]
"""Widths of successive layers."""
Rows = Annotated[int, Field(ge=1, le=10**12)]
"""Rows of an embedding table."""


def linears(
    widths: Sequence[int], *, bias: bool = True, activation: str = "relu", last: str = ""
) -> tuple[Layer, ...]:
    """Linear layers from each width to the next.

    Parameters
    ----------
    widths : of the input, of what lies between, of the output [-]
    bias : each has a shift
    activation : follows all layers but the last
    last : activation that follows the last

    Returns
    -------
    the layers
    """
    follows = [activation] * (len(widths) - 2) + [last]
    return tuple(
        Linear(inputs=inputs, outputs=outputs, bias=bias, activation=name)
        for (inputs, outputs), name in zip(pairwise(widths), follows, strict=True)
    )


def blocks(layers: Iterable[Layer]) -> tuple[Block, ...]:
    """One block for each run of equal layers.

    Parameters
    ----------
    layers : in order

    Returns
    -------
    the blocks
    """
    runs: list[tuple[Layer, int]] = []
    for layer in layers:
        if runs and runs[-1][0] == layer:
            runs[-1] = (layer, runs[-1][1] + 1)
        else:
            runs.append((layer, 1))
    return tuple(Block(layers=(layer,), repeat=repeat) for layer, repeat in runs)


class Perceptron(Spec):
    """A multi-layer perceptron."""

    name: str = "mlp"
    """What reports call the model."""
    inputs: Size
    """Features of a sample [-]."""
    hidden: Sizes
    """Widths of the layers between [-]."""
    outputs: Size
    """Classes, or numbers predicted [-]."""
    bias: bool = True
    """Layers have a shift."""
    activation: str = "relu"
    """Name of the non-linearity between the layers."""

    def model(self) -> Model:
        """The model this describes."""
        layers = linears(
            (self.inputs, *self.hidden, self.outputs), bias=self.bias, activation=self.activation
        )
        return Model(name=self.name, family="mlp", entry=(), blocks=blocks(layers), exit=(), fixed_length=1)


class SequenceClassifier(Spec):
    """A token table, a recurrent stack, and a linear layer on its last state."""

    name: str = "lstm-classifier"
    """What reports call the model."""
    vocabulary: Size
    """Tokens known [-]."""
    embedding: Size
    """Width of the token table [-]."""
    state: Size
    """Width of a cell's state [-]."""
    layers: Depth = 1
    """Cells on top of each other [-]."""
    classes: Size
    """What is told apart [-]."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Kind of the cells."""
    bidirectional: bool = False
    """A second stack reads the sequence backwards; the classifier sees both."""
    projection: Annotated[int, Field(ge=0)] = 0
    """Width to which an LSTM projects its hidden state; 0 does not [-]."""

    def model(self) -> Model:
        """The model this describes."""
        stack = Recurrent(
            cell=self.cell,
            inputs=self.embedding,
            state=self.state,
            layers=self.layers,
            bidirectional=self.bidirectional,
            projection=self.projection,
        )
        return Model(
            name=self.name,
            family=self.cell,
            entry=(Embedding(vocabulary=self.vocabulary, width=self.embedding),),
            blocks=(Block(layers=(stack,)),),
            exit=(Readout(inputs=stack.outputs, outputs=self.classes),),
        )


class ConvolutionalClassifier(Spec):
    """Convolutions, each followed by a pooling, then linear layers on all that is left."""

    name: str = "cnn"
    """What reports call the model."""
    image: Size
    """Height and width of an image [-]."""
    inputs: Size = 3
    """Colours [-]."""
    channels: Sizes
    """Channels that leave each convolution [-]."""
    kernel: Size = 3
    """Height and width of a filter; the result is as large as the input [-]."""
    pool: Size = 2
    """Height and width of a pooled window; 1 pools nothing [-]."""
    hidden: tuple[Size, ...] = ()
    """Widths of linear layers before the last [-]."""
    classes: Size
    """What is told apart [-]."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        faults = Faults(f"cnn {self.name!r}")
        if self.kernel % 2 == 0:
            faults.add(
                f"kernel = {self.kernel} must be odd, so that images keep their size; nearest: {self.kernel + 1}"
            )
        if not self._left:
            times = f"{len(self.channels)} times pooled by {self.pool}"
            faults.add(f"nothing is left of an image of {self.image} × {self.image}, {times}")
        faults.raise_if_any()
        return self

    @property
    def _left(self) -> int:
        """Height and width after the last pooling [-]."""
        return int(self.image // self.pool ** len(self.channels))

    def model(self) -> Model:
        """The model this describes."""
        layers: list[Layer] = []
        for inputs, outputs in pairwise((self.inputs, *self.channels)):
            sizes = {"kernel": (self.kernel, self.kernel), "padding": (self.kernel // 2,)}
            layers.append(Convolution(inputs=inputs, outputs=outputs, **sizes))
            if self.pool > 1:
                layers.append(Pooling(width=outputs, kernel=self.pool))
        flat = self.channels[-1] * self._left**2
        leave = tuple(Readout(inputs=a, outputs=b) for a, b in pairwise((flat, *self.hidden, self.classes)))
        extent = (self.image, self.image)
        ends: dict[str, Any] = {"entry": (), "exit": leave, "input": "image", "extent": extent}
        return Model(name=self.name, family="cnn", blocks=blocks(layers), **ends)


class Recommender(Spec):
    """Dense features through a perceptron, categories through embedding bags, their interaction, a perceptron (DLRM).

    References
    ----------
    Naumov et al. (2019), Deep Learning Recommendation Model for Personalization and Recommendation Systems,
    arXiv:1906.00091
    """

    name: str = "dlrm"
    """What reports call the model."""
    dense: Size
    """Dense features of a sample [-]."""
    bottom: Sizes
    """Widths of the layers for dense features; the last is that of an embedding [-]."""
    rows: Annotated[tuple[Rows, ...], Field(min_length=1)]
    """Rows of each embedding table [-]."""
    width: Size
    """Width of an embedding [-]."""
    lookups: Sizes = (1,)
    """Rows that a sample names in each table; one number stands for all tables [-]."""
    interaction: Literal["dot", "cross", "none"] = "dot"
    """Dot products of all pairs, crosses of low rank (DCN v2), or all vectors side by side."""
    itself: bool = False
    """Dot products of each vector with itself, too."""
    cross_layers: Depth = 3
    """Crosses that follow each other [-]."""
    cross_rank: Size = 512
    """Rank of a cross [-]."""
    top: Sizes
    """Widths of the layers after the interaction; the last is 1 for one probability [-]."""

    @model_validator(mode="after")
    def _vectors_match(self) -> Self:
        faults = Faults(f"dlrm {self.name!r}")
        if self.bottom[-1] != self.width:
            faults.add(
                f"bottom ends in {self.bottom[-1]}, but must end in the embeddings' width = {self.width}"
            )
        if len(self.lookups) not in (1, len(self.rows)):
            faults.add(
                f"lookups has {len(self.lookups)} numbers for {len(self.rows)} tables; give one, or all"
            )
        faults.raise_if_any()
        return self

    def model(self) -> Model:
        """The model this describes."""
        bags = EmbeddingBags(rows=self.rows, width=self.width, lookups=self.lookups)
        vectors = 1 + bags.tables
        met: tuple[DotInteraction | LowRankCross, ...] = ()
        if self.interaction == "dot":
            met = (DotInteraction(vectors=vectors, width=self.width, itself=self.itself),)
        elif self.interaction == "cross":
            met = (LowRankCross(width=vectors * self.width, rank=self.cross_rank, layers=self.cross_layers),)
        joined = met[0].outputs if met else vectors * self.width
        bottom = linears((self.dense, *self.bottom), last="relu")
        layers = (*bottom, bags, *met, *linears((joined, *self.top), last="sigmoid"))
        return Model(name=self.name, family="dlrm", entry=(), blocks=blocks(layers), exit=(), fixed_length=1)


def mlp(**fields: Any) -> Model:
    """A multi-layer perceptron.

    Parameters
    ----------
    **fields : the fields of `Perceptron`: inputs, hidden, outputs, …

    Returns
    -------
    the model

    Examples
    --------
    >>> mlp(inputs=784, hidden=(512, 512), outputs=10).parameters
    669706
    """
    return Perceptron(**fields).model()


def lstm_classifier(**fields: Any) -> Model:
    """A classifier of sequences by an LSTM, or by a GRU (`cell="gru"`).

    Parameters
    ----------
    **fields : the fields of `SequenceClassifier`: vocabulary, embedding, state, layers, classes, …

    Returns
    -------
    the model

    Examples
    --------
    >>> model = lstm_classifier(vocabulary=1000, embedding=128, state=256, layers=2, classes=2)
    >>> model.parameters, model.flops(batch=4, sequence_length=50, per="layer")["blocks.0.recurrent"]
    (1050114, 367001600)
    """
    return SequenceClassifier(**fields).model()


def cnn(**fields: Any) -> Model:
    """A small convolutional classifier of images.

    Parameters
    ----------
    **fields : the fields of `ConvolutionalClassifier`: image, channels, classes, …

    Returns
    -------
    the model

    Examples
    --------
    >>> model = cnn(image=32, channels=(32, 64), hidden=(128,), classes=10)
    >>> model.parameters, model.flops()
    (545098, 12257792)
    """
    return ConvolutionalClassifier(**fields).model()


def resnet50() -> Model:
    """ResNet-50 as torchvision and transformers have it, for images of 224 × 224 and 1,000 classes.

    Returns
    -------
    the model

    References
    ----------
    He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385

    Examples
    --------
    >>> resnet50().parameters, resnet50().flops()
    (25557032, 8178368512)
    """
    return residual_net(name="resnet-50")


def dlrm(**fields: Any) -> Model:
    """A recommendation model with embedding tables.

    Parameters
    ----------
    **fields : the fields of `Recommender`: dense, bottom, rows, width, top, …

    Returns
    -------
    the model

    Examples
    --------
    >>> small = dlrm(dense=13, bottom=(64, 16), rows=(1000, 50, 3), width=16, top=(32, 1))
    >>> small.parameters, small.flops(batch=1)
    (19553, 5696)
    """
    return Recommender(**fields).model()


FORMATS: dict[str, Callable[..., Model]] = {"mlp": mlp, "lstm": lstm_classifier, "cnn": cnn, "dlrm": dlrm}
"""Readers of model files by their `format`."""


def _reader(build: Callable[..., Model]) -> Callable[[Mapping[str, Any]], Model]:
    return lambda fields: build(**fields)


for _name, _build in FORMATS.items():
    register_format(_name, _reader(_build))
