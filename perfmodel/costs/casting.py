"""Weights that are kept in 32 bits and cast to 16 in each pass: automatic mixed precision."""

from __future__ import annotations

from collections.abc import Iterable

from perfmodel.layers import Layer, Pass
from perfmodel.work import Stream, Work

__all__ = ["cast_weights"]

KEPT = 4
"""Bytes of a weight that is kept in 32 bits [B]."""
CAST = ("matrix", "bias", "head")
"""Kinds of tensors that products read; norms stay in 32 bits."""


def cast_weights(layers: Iterable[Layer], p: Pass) -> tuple[Work, ...]:
    """Kernels, one a tensor, that read weights of products and write them in the format of activations.

    Parameters
    ----------
    layers : of one repetition
    p : the pass

    References
    ----------
    Micikevicius et al. (2018), Mixed Precision Training, arXiv:1710.03740; torch.autocast casts each weight
    once a pass, TensorFlow's auto_mixed_precision puts a cast behind each variable

    Examples
    --------
    >>> from perfmodel.layers.linear import Linear
    >>> cast_weights([Linear(inputs=8, outputs=4, bias=True)], Pass(1, 1, 1))
    (Stream(name='cast weights', bytes=216.0, kind='copy', launches=2, joins=None),)
    """
    tensors = [weight for layer in layers for weight in layer.weights() if weight.kind in CAST]
    if not tensors:
        return ()
    elements = sum(weight.size / (p.tp if weight.split == "tp" else 1) for weight in tensors)
    return (Stream("cast weights", elements * (KEPT + p.element_bytes), "copy", len(tensors)),)
