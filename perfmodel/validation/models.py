"""The model of a measured row, from the dimensions that the row states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.decoder import decoder
from perfmodel.model import Model
from perfmodel.validation.mixtures import is_mixture, mixture
from perfmodel.validation.others import other_model

__all__ = ["FAMILIES", "row_model"]

Row = Mapping[str, Any]

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt": {
        "gated": False,
        "norm": "layer",
        "norm_bias": True,
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "tied": True,
        "rotary": False,
    },
    "llama": {},
    "nemotron": {"gated": False, "norm": "layer", "norm_bias": True},
    "gemma3": {"arrangement": "sandwich", "tied": True},
}
"""Variants of a dense decoder by the family a row names."""
FAMILIES["bloom"] = {**FAMILIES["gpt"], "embedding_norm": True}


def row_model(row: Row) -> Model:
    """The model that a row describes.

    Parameters
    ----------
    row : its configuration

    Returns
    -------
    the model

    Raises
    ------
    UnsupportedError
        a kind of model that is not built yet
    """
    given = row["model"]
    if is_mixture(given):
        return mixture(given, _padded(given["vocab"])).model()
    if given["family"] not in FAMILIES:
        return other_model(row)
    variant = dict(FAMILIES[given["family"]])
    if not variant.get("rotary", True) and "alibi" not in str(given.get("positional", "")):
        variant["positions"] = int(row["sequence_length"])
    return decoder(
        name=given["name"],
        family=given["family"],
        layers=given["layers"],
        hidden=given["hidden"],
        heads=given["heads"],
        kv_heads=given.get("kv_heads"),
        head_dim=given.get("head_dim"),
        inner=given["ffn"],
        vocabulary=_padded(given["vocab"]),
        windows=_windows(given),
        **variant,
    )


def _padded(vocabulary: int, multiple: int = 128) -> int:
    return -(-vocabulary // multiple) * multiple


def _windows(given: Row) -> tuple[int | None, ...]:
    window = given.get("sliding_window")
    if window is None:
        return (None,)
    return (window,) * given["local_global_ratio"] + (None,) if "local_global_ratio" in given else (window,)
