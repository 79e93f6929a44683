"""The model of a measured row, from the dimensions that the row states."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.decoder import decoder
from perfmodel.encoder import encoder
from perfmodel.errors import UnsupportedError
from perfmodel.model import Model
from perfmodel.residual import residual_net
from perfmodel.validation.mixtures import is_mixture, mixture

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
    if given["family"] in OTHERS:
        return OTHERS[given["family"]](row)
    if given["family"] not in FAMILIES:
        raise UnsupportedError(f"model family {given['family']} is not built yet")
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


def _encoder(row: Row) -> Model:
    """BERT as the row has it; its head reads the few masked positions only, which is left out."""
    given = row["model"]
    return encoder(
        name=given["name"],
        family="bert",
        layers=given["layers"],
        hidden=given["hidden"],
        heads=given["heads"],
        inner=given.get("ffn") or 4 * given["hidden"],
        vocabulary=given["vocab"],
        positions=max(512, int(row["sequence_length"])),
        segments=2,
        pooler=True,
    )


def _images(row: Row) -> Model:
    """ResNet v1.5 or ResNeXt: depth and groups stand in the name."""
    given = row["model"]
    name, image = str(given["name"]), given.get("image_size") or 224
    told = re.search(r"(\d+)(?:-(\d+)x(\d+)d)?", name)
    depth, groups, width = told.groups() if told else ("", None, None)
    if depth not in STAGES:
        raise UnsupportedError(
            f"{name} is not built yet; built: ResNet and ResNeXt of {', '.join(STAGES)} layers"
        )
    grouped = {"groups": int(groups), "group_width": int(width)} if groups and width else {}
    return residual_net(name=name, family=given["family"], image=image, depths=STAGES[depth], **grouped)


def _translator(row: Row) -> Model:
    """BART: its two halves see as many tokens."""
    given, length = row["model"], int(row["sequence_length"])
    sizes = {
        f"{half}_{key}": given[field] for half in ("encoder", "decoder") for key, field in BART_HALF.items()
    }
    return Model.from_hf(
        {
            "model_type": "bart", "architectures": ["BartForConditionalGeneration"], "vocab_size": given["vocab"],
            "d_model": given["hidden"], "encoder_layers": given["encoder_layers"],
            "decoder_layers": given["decoder_layers"], "max_position_embeddings": max(1024, length), **sizes,
        }
    ).replace(name=given["name"])  # fmt: skip


STAGES = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
"""Layers of each stage by depth: He et al. (2016), arXiv:1512.03385, table 1."""

BART_HALF = {"attention_heads": "heads", "ffn_dim": "ffn"}
"""Sizes that both halves of a BART have, by the field of a row."""

OTHERS: dict[str, Callable[[Row], Model]] = {
    "bert": _encoder, "bart": _translator, "resnet50": _images, "resnext": _images
}  # fmt: skip
"""Models that are no decoders, by the family a row names."""


def _padded(vocabulary: int, multiple: int = 128) -> int:
    return -(-vocabulary // multiple) * multiple


def _windows(given: Row) -> tuple[int | None, ...]:
    window = given.get("sliding_window")
    if window is None:
        return (None,)
    return (window,) * given["local_global_ratio"] + (None,) if "local_global_ratio" in given else (window,)
