"""Which models training costs are built for; all others are refused by name."""

from __future__ import annotations

from collections.abc import Iterator

from perfmodel.errors import InputError, UnsupportedError
from perfmodel.layers import Layer
from perfmodel.layers.patch import PatchEmbedding
from perfmodel.layers.window_attention import WindowAttention
from perfmodel.model import Model
from perfmodel.workload import Training

__all__ = ["check_scope"]


def check_scope(model: Model, work: Training) -> None:
    """Refuse a model whose training costs are not built, or a sequence that it cannot have.

    Parameters
    ----------
    model : what is trained
    work : the step

    Raises
    ------
    UnsupportedError
        costs of such models are not built yet; why is said
    InputError
        the model fixes the length of its sequences, and another is given
    """
    for what in _unbuilt(model):
        raise UnsupportedError(f"model {model.name!r}: training costs of {what} are not built yet")
    length = work.sequence_length
    if model.input == "image" and length != model.fixed_length:
        size = " × ".join(map(str, model.extent))
        told = f"an image of {size} becomes {model.fixed_length} tokens"
        raise InputError(f"model {model.name!r}: sequence_length = {length}, but {told}")


def _unbuilt(model: Model) -> Iterator[str]:
    if model.source is not None:
        yield "models with an image tower" if model.source.input == "image" else "encoder-decoder models"
    if any(block.shared for block in model.blocks):
        yield "layers that share their weights"
    if any(_needs_extent(layer) for layer, _ in model.layers()):
        yield "convolutions, pooling and windows of an image"


def _needs_extent(layer: Layer) -> bool:
    """A layer that works on an image or a signal, and knows more than how many tokens there are."""
    if isinstance(layer, PatchEmbedding):
        return False
    return isinstance(layer, WindowAttention) or type(layer).after is not Layer.after
