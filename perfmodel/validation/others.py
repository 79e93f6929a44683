"""Models of measured rows that are no decoders: encoders, translators, nets of images."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.encoder import encoder
from perfmodel.errors import UnknownNameError, UnsupportedError
from perfmodel.model import Model
from perfmodel.residual import residual_net

__all__ = ["OTHERS", "other_model"]

Row = Mapping[str, Any]


def other_model(row: Row) -> Model:
    """The model that a row describes, or that its name stands for.

    Parameters
    ----------
    row : its configuration

    Returns
    -------
    the model

    Raises
    ------
    UnsupportedError
        neither its family nor its name is known
    """
    given = row["model"]
    if given["family"] in OTHERS:
        return OTHERS[given["family"]](row)
    try:
        return Model.load(str(given["name"]))
    except UnknownNameError:
        raise UnsupportedError(f"model family {given['family']} is not built yet") from None


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


def _residual(row: Row) -> Model:
    """ResNet v1.5 or ResNeXt: depth, groups and squeeze-and-excitation stand in the name."""
    given = row["model"]
    name, image = str(given["name"]), given.get("image_size") or 224
    told = re.search(r"(\d+)(?:-(\d+)x(\d+)d)?", name)
    depth, groups, width = told.groups() if told else ("", None, None)
    if depth not in STAGES:
        raise UnsupportedError(
            f"{name} is not built yet; built: ResNet and ResNeXt of {', '.join(STAGES)} layers"
        )
    grouped = {"groups": int(groups), "group_width": int(width)} if groups and width else {}
    return residual_net(
        name=name, family=given["family"], image=image, depths=STAGES[depth],
        squeeze=16 if name.startswith("se-") else 0, **grouped,
    )  # fmt: skip


STAGES = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
"""Layers of each stage by depth: He et al. (2016), arXiv:1512.03385, table 1."""


def _bart(row: Row) -> Model:
    """Its two halves see as many tokens."""
    given, length = row["model"], int(row["sequence_length"])
    encoding, decoding = _halves(given)
    return _from_keys(
        row, model_type="bart", architectures=["BartForConditionalGeneration"], vocab_size=given["vocab"],
        d_model=given["hidden"], max_position_embeddings=max(1024, length),
        encoder_layers=encoding, encoder_attention_heads=given["heads"], encoder_ffn_dim=given["ffn"],
        decoder_layers=decoding, decoder_attention_heads=given["heads"], decoder_ffn_dim=given["ffn"],
    )  # fmt: skip


def _t5(row: Row) -> Model:
    """As it was first, or gated (v1.1) where the row says so."""
    given = row["model"]
    encoding, decoding = _halves(given)
    return _from_keys(
        row, model_type="t5", architectures=["T5ForConditionalGeneration"], vocab_size=given["vocab"],
        d_model=given["hidden"], d_kv=given.get("head_dim") or given["hidden"] // given["heads"], d_ff=given["ffn"],
        num_heads=given["heads"], num_layers=encoding, num_decoder_layers=decoding,
        feed_forward_proj="gated-gelu" if given.get("gated_mlp") else "relu",
    )  # fmt: skip


def _vit(row: Row) -> Model:
    given = row["model"]
    return _from_keys(
        row, model_type="vit", architectures=["ViTForImageClassification"], num_labels=1000,
        image_size=given.get("image_size") or 224, patch_size=given.get("patch_size") or 16,
        hidden_size=given["hidden"], num_hidden_layers=given["layers"], num_attention_heads=given["heads"],
        intermediate_size=given.get("ffn") or 4 * given["hidden"],
    )  # fmt: skip


def _halves(given: Row) -> tuple[int, int]:
    """Layers of encoder and decoder; where only their sum is told, half each [-]."""
    return (
        given.get("encoder_layers") or given["layers"] // 2,
        given.get("decoder_layers") or given["layers"] // 2,
    )


def _from_keys(row: Row, **keys: Any) -> Model:
    return Model.from_hf(keys).replace(name=row["model"]["name"])


OTHERS: dict[str, Callable[[Row], Model]] = {
    "bart": _bart,
    "bert": _encoder,
    "resnet": _residual,
    "resnet50": _residual,
    "resnext": _residual,
    "resnext101": _residual,
    "se-resnext": _residual,
    "t5": _t5,
    "vit": _vit,
}
"""Builders by the family a row names."""
