"""Sliding windows: which layers look back how far."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from perfmodel.decoder import Size
from perfmodel.errors import InputError
from perfmodel.huggingface.family import Dimensions

__all__ = ["LayerTypes", "every"]

FULL, SLIDING = "full_attention", "sliding_attention"
AS_MANY = "they must be as many"


def every(period: int) -> tuple[str, ...]:
    """Sliding windows with full attention in every so-manieth layer.

    Parameters
    ----------
    period : layers from one with full attention to the next [-]

    Returns
    -------
    the repeating layer types

    Examples
    --------
    >>> every(3)
    ('sliding_attention', 'sliding_attention', 'full_attention')
    """
    return (SLIDING,) * (period - 1) + (FULL,)


class LayerTypes(Dimensions):
    """A family whose layers attend fully or through a sliding window, by a list or by a repeating pattern."""

    sliding_window: Size | None = 4096
    """Positions that a layer with a sliding window sees [-]."""
    layer_types: tuple[str, ...] | None = None
    """Attention of each layer; none means the family's pattern."""

    @model_validator(mode="after")
    def _one_type_a_layer(self) -> Self:
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            named, layers = len(self.layer_types), self.num_hidden_layers
            raise InputError(f"layer_types names {named} layers, num_hidden_layers = {layers}; {AS_MANY}")
        return self

    def windows(self, pattern: tuple[str, ...]) -> tuple[int | None, ...]:
        """The window of each layer, or of each layer of a repeating pattern.

        Parameters
        ----------
        pattern : layer types of the family where the file names none

        Returns
        -------
        windows; none is full attention [-]
        """
        return tuple(self.sliding_window if kind == SLIDING else None for kind in self.layer_types or pattern)
