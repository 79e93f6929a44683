"""Models of measured rows that are no decoders: encoders, translators, nets of images."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.encoder import encoder
from perfmodel.errors import UnsupportedError
from perfmodel.layers import Embedding, Head
from perfmodel.layers.recurrent import Recurrent
from perfmodel.model import Block, Model
from perfmodel.residual import residual_net
from perfmodel.validation.bundled import bundled
from perfmodel.validation.families import family_key
from perfmodel.validation.layouts import whole_number

__all__ = ["OTHERS", "other_model"]

Row = Mapping[str, Any]


def other_model(row: Row, notes: list[str]) -> Model:
    """The model that a row describes, or that its name stands for.

    Parameters
    ----------
    row : its configuration
    notes : what had to be assumed is added to these

    Returns
    -------
    the model

    Raises
    ------
    UnsupportedError
        neither its family nor its name is known
    """
    given = row["model"]
    family = family_key(given, {name: name for name in OTHERS})
    if family is None:
        found = bundled(given.get("name"), given.get("family"))
        if found is None:
            raise UnsupportedError(
                f"model family {given.get('family') or given.get('name')} is not built yet"
            )
        return found
    needed = NEEDED.get(family, ("layers", "hidden"))
    if all(given.get(name) for name in needed) and given.get("name"):
        return OTHERS[family](_headed(row))
    found = bundled(given.get("name"), given.get("family"), USUAL.get(family))
    if found is not None:
        notes.append(f"dimensions are not stated: taken from the bundled {found.name}")
        return found
    missing = ", ".join(name for name in ("name", *needed) if not given.get(name))
    raise UnsupportedError(f"{given.get('name') or family}: the row lacks {missing}")


def _headed(row: Row) -> Row:
    """The row with heads of 64 and feed-forwards four times the width, where it states none (BERT, BART, T5, ViT)."""
    given = dict(row["model"])
    hidden = whole_number(given.get("hidden"))
    if hidden is not None:
        given["hidden"] = hidden
        given["heads"] = whole_number(given.get("heads"), max(hidden // 64, 1))
        given["ffn"] = whole_number(given.get("ffn"), 4 * hidden)
    return {**row, "model": given}


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
        vocabulary=given.get("vocab") or 30522,
        positions=max(512, whole_number(row.get("sequence_length"), 512) or 512),
        segments=2,
        pooler=True,
    )


def _residual(row: Row) -> Model:
    """ResNet v1.5 or ResNeXt: depth, groups and squeeze-and-excitation stand in the name."""
    given = row["model"]
    name, image = str(given["name"]), given.get("image_size") or 224
    told = re.search(r"(\d+)(?:[- _](\d+)x(\d+)d)?", name)
    depth, groups, width = told.groups() if told else ("", None, None)
    if depth in PLAIN and groups is None:
        return residual_net(
            name=name,
            family="resnet",
            image=image,
            depths=PLAIN[depth],
            widths=(64, 128, 256, 512),
            bottleneck=False,
        )
    if depth not in STAGES:
        raise UnsupportedError(
            f"{name} is not built yet; built: ResNet and ResNeXt of {', '.join((*PLAIN, *STAGES))} layers"
        )
    grouped = {"groups": int(groups), "group_width": int(width)} if groups and width else {}
    return residual_net(
        name=name, family=str(given.get("family") or "resnet"), image=image, depths=STAGES[depth],
        squeeze=16 if re.match(r"se[-_ ]?res", name, re.IGNORECASE) else 0, **grouped,
    )  # fmt: skip


PLAIN = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}
STAGES = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
"""Layers of each stage by depth: He et al. (2016), arXiv:1512.03385, table 1."""


def _bart(row: Row) -> Model:
    """Its two halves see as many tokens."""
    given, length = row["model"], whole_number(row.get("sequence_length"), 1024) or 1024
    encoding, decoding = _halves(given)
    return _from_keys(
        row, model_type="bart", architectures=["BartForConditionalGeneration"], vocab_size=given.get("vocab") or 50265,
        d_model=given["hidden"], max_position_embeddings=max(1024, length),
        encoder_layers=encoding, encoder_attention_heads=given["heads"], encoder_ffn_dim=given["ffn"],
        decoder_layers=decoding, decoder_attention_heads=given["heads"], decoder_ffn_dim=given["ffn"],
    )  # fmt: skip


def _t5(row: Row) -> Model:
    """As it was first, or gated (v1.1) where the row says so."""
    given = row["model"]
    encoding, decoding = _halves(given)
    return _from_keys(
        row, model_type="t5", architectures=["T5ForConditionalGeneration"], vocab_size=given.get("vocab") or 32128,
        d_model=given["hidden"], d_kv=given.get("head_dim") or given["hidden"] // given["heads"], d_ff=given["ffn"],
        num_heads=given["heads"], num_layers=encoding, num_decoder_layers=decoding,
        feed_forward_proj="gated-gelu" if given.get("gated_mlp", _later(given)) else "relu",
    )  # fmt: skip


def _later(given: Row) -> bool:
    """T5 1.1 and what came of it has gates (Shazeer 2020, arXiv:2002.05202)."""
    return bool(re.search(r"flan|mt5|v1[._]1|1\.1|ul2", f"{given.get('family')} {given['name']}".casefold()))


def _mamba(row: Row) -> Model:
    """State spaces in every layer, sizes as published: 16 states, 128 of the second generation in heads of 64."""
    given = row["model"]
    second = "2" in f"{given.get('family')}"
    heads = {"num_heads": given["hidden"] // 32, "head_dim": 64, "state_size": 128, "n_groups": 1}
    return _from_keys(
        row, model_type="mamba2" if second else "mamba", vocab_size=given.get("vocab") or 50288,
        hidden_size=given["hidden"], num_hidden_layers=given["layers"], expand=2, tie_word_embeddings=True,
        **(heads if second else {"state_size": 16}),
    )  # fmt: skip


def _rwkv(row: Row) -> Model:
    given = row["model"]
    return _from_keys(
        row, model_type="rwkv", vocab_size=given.get("vocab") or 50277, hidden_size=given["hidden"],
        attention_hidden_size=given["hidden"], num_hidden_layers=given["layers"], intermediate_size=given["ffn"],
        context_length=1024, tie_word_embeddings=False,
    )  # fmt: skip


def _recurrent(row: Row) -> Model:
    """Cells on top of each other between a token table and a head; GNMT's attention is small beside them.

    Wu et al. (2016), arXiv:1609.08144, in the size of MLPerf training v0.5 to v0.7: 4 + 4 layers of 1024, 32,320
    tokens.
    """
    given = row["model"]
    vocabulary, width = given.get("vocab") or 32320, given.get("hidden") or 1024
    stack = Recurrent(inputs=width, state=width, layers=given.get("layers") or 8)
    ends = (
        (Embedding(vocabulary=vocabulary, width=width),),
        (Head(vocabulary=vocabulary, width=width, tied=False),),
    )
    return Model(
        name=str(given["name"]), family="lstm", entry=ends[0], blocks=(Block(layers=(stack,)),), exit=ends[1]
    )


def _recommender(row: Row) -> Model:
    """DLRM as MLPerf trains it: with cross layers (DCNv2) from v3.0 on, with dot products before."""
    name = str(row["model"].get("name") or "").casefold()
    return Model.load("dlrm-dcnv2" if re.search(r"dcn|v2", name) else "dlrm-mlperf")


def _vit(row: Row) -> Model:
    given = row["model"]
    return _from_keys(
        row, model_type="vit", architectures=["ViTForImageClassification"], num_labels=1000,
        image_size=given.get("image_size") or 224, patch_size=given.get("patch_size") or 16,
        hidden_size=given["hidden"], num_hidden_layers=given["layers"], num_attention_heads=given["heads"],
        intermediate_size=given.get("ffn") or 4 * given["hidden"],
    )  # fmt: skip


def _swin(row: Row) -> Model:
    """Heads of 32, windows of 7 patches at 224 pixels and of 12 at 384 (Liu et al. 2021, arXiv:2103.14030)."""
    given, image = row["model"], row["model"].get("image_size") or 224
    width, depths = given.get("embed_dim") or given["hidden"], tuple(given["stage_depths"])
    return _from_keys(
        row, model_type="swin", architectures=["SwinForImageClassification"], num_labels=1000, image_size=image,
        embed_dim=width, depths=depths, num_heads=[width // 32 * 2**stage for stage in range(len(depths))],
        window_size=7 if image % 7 == 0 else 12,
    )  # fmt: skip


def _halves(given: Row) -> tuple[int, int]:
    """Layers of encoder and decoder; where only their sum is told, half each [-]."""
    return (
        given.get("encoder_layers") or (given.get("layers") or 24) // 2,
        given.get("decoder_layers") or (given.get("layers") or 24) // 2,
    )


def _from_keys(row: Row, **keys: Any) -> Model:
    return Model.from_hf(keys).replace(name=row["model"]["name"])


OTHERS: dict[str, Callable[[Row], Model]] = {
    "bart": _bart,
    "bert": _encoder,
    "deberta": _encoder,
    "deit": _vit,
    "dinov2": _vit,
    "dlrm": _recommender,
    "electra": _encoder,
    "gnmt": _recurrent,
    "lstm": _recurrent,
    "mamba": _mamba,
    "mamba2": _mamba,
    "mbart": _bart,
    "mt5": _t5,
    "pegasus": _bart,
    "resnet": _residual,
    "resnet50": _residual,
    "resnext": _residual,
    "resnext101": _residual,
    "roberta": _encoder,
    "rwkv": _rwkv,
    "seresnext": _residual,
    "swin": _swin,
    "t5": _t5,
    "flant5": _t5,
    "ul2": _t5,
    "xlmroberta": _encoder,
    "vit": _vit,
}
"""Builders by the family a row names."""
NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("resnet", "resnet50", "resnext", "resnext101", "seresnext", "gnmt", "dlrm"), ()),
    "swin": ("hidden", "stage_depths"),
    **dict.fromkeys(("bart", "mbart", "pegasus", "t5", "flant5", "mt5", "ul2"), ("hidden",)),
}
"""Dimensions without which a family's builder can do nothing; layers and width where nothing is said."""
USUAL = {
    "bert": "bert-large", "bart": "bart-large", "t5": "t5-large", "vit": "vit-base", "deit": "vit-base",
    "swin": "swin-tiny",
}  # fmt: skip
"""What a family's name alone stands for in measurements: the size of MLPerf, or the paper's usual one."""
