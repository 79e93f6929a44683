"""The model of a measured row, from the dimensions that the row states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.decoder import decoder
from perfmodel.errors import UnsupportedError
from perfmodel.model import Model
from perfmodel.validation.bundled import bundled
from perfmodel.validation.decoders import completed
from perfmodel.validation.families import FAMILIES, UNBUILT, family_key
from perfmodel.validation.layouts import whole_number
from perfmodel.validation.mixtures import is_mixture, mixture
from perfmodel.validation.others import OTHERS, other_model

__all__ = ["row_model"]

Row = Mapping[str, Any]

HYBRIDS = (
    "jamba", "zamba", "zamba2", "bamba", "falconmamba", "falconh1", "recurrentgemma", "qwen3next", "granitehybrid",
    "granitemoehybrid",
)  # fmt: skip
"""Families whose layers are of several kinds, which dimensions alone don't tell."""

_REFUSED = {name: what for what, names in UNBUILT.items() for name in names}


def row_model(row: Row, notes: list[str] | None = None) -> Model:
    """The model that a row describes.

    Parameters
    ----------
    row : its configuration
    notes : what had to be assumed is added to these

    Returns
    -------
    the model: of its family; where dimensions lack, the bundled one of its name; where the family is unknown, the
    decoder of the stated dimensions

    Raises
    ------
    UnsupportedError
        a kind of model that is not built yet
    """
    told, given = [] if notes is None else notes, row["model"]
    if family_key(given, {name: name for name in OTHERS}) and family_key(given) is None:
        return other_model(row, told)
    named = family_key(given, _REFUSED)
    if named is not None and family_key(given) is None:
        raise UnsupportedError(f"model family {_family(given)} is not built yet: {named}")
    shaped = all(whole_number(given.get(name)) for name in ("layers", "hidden"))
    found = _bundled(given, shaped)
    if found is not None:
        told.append(
            f"{'family is not known' if shaped else 'dimensions are not stated'}: taken as {found.name}"
        )
        return found
    if given.get("image_size") or (family_key(given) is None and not shaped and "params_b" not in given):
        return other_model(row, told)
    if is_mixture(given):
        described = completed(given, told)
        return mixture(described, _padded(described["vocab"])).model()
    return _dense(row, completed(given, told))


def _bundled(given: Row, shaped: bool) -> Model | None:
    """The bundled model of the name, where the row's dimensions lack or say too little of its kind."""
    if not shaped:
        return bundled(given.get("name"), given.get("family"))
    mixed = family_key(given, {name: name for name in HYBRIDS}) is not None and not given.get("layer_mix")
    if not mixed and (is_mixture(given) or family_key(given) is not None):
        return None
    found, stated = bundled(given.get("name")), (given["hidden"], given["layers"])
    return found if found is not None and (found.hidden, found.depth) == stated else None


def _family(given: Row) -> str:
    return str(given.get("family") or given.get("name"))


def _dense(row: Row, given: dict[str, Any]) -> Model:
    family = family_key(given)
    variant = dict(FAMILIES[family or ("llama" if given["gated"] else "gpt")])
    variant |= {"gated": given["gated"], "tied": given["tied"]}
    variant.pop("kv_heads", None)
    length = whole_number(row.get("sequence_length"))
    if length and not variant.get("rotary", True) and "alibi" not in str(given.get("positional", "")):
        variant["positions"] = length
    return decoder(
        name=given["name"],
        family=given["family"],
        layers=given["layers"],
        hidden=given["hidden"],
        heads=given["heads"],
        kv_heads=given["kv_heads"],
        head_dim=given.get("head_dim"),
        inner=given["ffn"],
        vocabulary=_padded(given["vocab"]),
        windows=_windows(given),
        **variant,
    )


def _padded(vocabulary: int, multiple: int = 128) -> int:
    return -(-vocabulary // multiple) * multiple


def _windows(given: Row) -> tuple[int | None, ...]:
    window, local = whole_number(given.get("sliding_window")), whole_number(given.get("local_global_ratio"))
    if window is None:
        return (None,)
    return (window,) if local is None else (window,) * local + (None,)
