"""Attention whose scores are stored: products and softmax one by one."""

from __future__ import annotations

from typing import Any

from perfmodel.layers.base import Pass
from perfmodel.layers.pointwise import Crossings, operators, softmax
from perfmodel.work import Matmul, Serial, Stream

__all__ = ["stored_core"]


def stored_core(
    p: Pass, *, batch: Any, keys: Any, key_dim: Any, value_dim: Any, wide: Any = 1, backward: bool = False
) -> Serial:
    """Batched products over full score matrices: such kernels compute what the mask later drops.

    Parameters
    ----------
    p : the pass
    batch : sequences times heads of this device [-]
    keys : positions of one sequence that are looked at [-]
    key_dim, value_dim : of one head [-]
    wide : bytes of the softmax's result over those of an activation [-]
    backward : the four products of the gradients

    Returns
    -------
    the operators
    """
    rows = p.queries / p.cp
    scores = batch * rows * keys

    def product(name: str, m: Any, n: Any, k: Any) -> Matmul:
        return Matmul(name, m, n, k, batch, p.core_dtype, p.element_bytes, p.element_bytes)

    def over_scores(name: str, crossings: Crossings) -> Stream:
        name = name + " backward" if backward else name
        return operators(name, p, crossings, elements=scores, kind="softmax", backward=backward)

    mask = 1 / p.element_bytes
    dropped = (over_scores("attention dropout", Crossings(2 + mask, 2 + mask)),) if p.dropout else ()
    soft = over_scores("softmax", softmax(p.kernels, wide=wide))
    if not backward:
        first, last = (
            product("scores", rows, keys, key_dim),
            product("weighted values", rows, value_dim, keys),
        )
        return Serial("core", (first, soft, *dropped, last))
    values = (product("values dgrad", keys, value_dim, rows), product("weights dgrad", rows, keys, value_dim))
    inputs = (product("queries dgrad", rows, key_dim, keys), product("keys dgrad", keys, key_dim, rows))
    return Serial("core backward", (*values, *dropped, soft, *inputs))
