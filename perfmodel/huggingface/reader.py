"""Reads a config.json into a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from perfmodel.errors import Faults, InputError, UnsupportedError, unknown
from perfmodel.huggingface.family import Family
from perfmodel.huggingface.source import read_config
from perfmodel.huggingface.table import FAMILIES, family
from perfmodel.huggingface.text import text_part
from perfmodel.huggingface.unbuilt import MODEL_TYPES
from perfmodel.model import Model
from perfmodel.specs.telling import told

__all__ = ["read"]

BY_HAND = "any other dense decoder: pm.decoder(layers=…, hidden=…, heads=…, inner=…, vocabulary=…)"


def read(config: Any, *, text_only: bool = False) -> Model:
    """A model from its Hugging Face config.json.

    Only the keys that set sizes are read; those that are absent have the default of the family's configuration
    class in transformers 5. Quantisation is ignored: how weights are stored is a matter of the workload.

    Parameters
    ----------
    config : path of the file, of the folder that holds it, or the mapping itself
    text_only : of a multimodal model, take the text model alone

    Returns
    -------
    the model

    Raises
    ------
    UnknownNameError
        the architecture is unknown
    UnsupportedError
        it is known, but asks for something that is not built
    InputError
        the file cannot be read, a key is missing or of the wrong type, or the numbers contradict each other

    Examples
    --------
    >>> read({"model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12}).parameters
    124439808
    """
    given = read_config(config)
    keys = given.keys
    if text_only or not _reads_all(keys):
        keys = text_part(keys, given.place, text_only=text_only)
    cls = _family(keys, given.place)
    model_type = keys["model_type"]
    place = f"{given.place} ({model_type})"
    described = _described(cls, keys, place)
    try:
        found = described.model(name=given.name or model_type, family=model_type)
    except ValidationError as error:  # of a nested part
        faults = Faults(f"{place}, {error.title}")
        faults.found += told(error, cls).found
        raise faults.error(InputError) from None
    return found.replace(context_length=_positions(keys))


def _positions(keys: Mapping[str, Any]) -> int | None:
    """Positions that a configuration states for its text; None where it states none."""
    text = keys.get("text_config")
    stated = (text if isinstance(text, Mapping) else keys).get("max_position_embeddings")
    return stated if isinstance(stated, int) and stated > 0 else None


def _reads_all(keys: Mapping[str, Any]) -> bool:
    model_type = keys.get("model_type")
    return isinstance(model_type, str) and model_type in FAMILIES and family(model_type).whole


def _family(keys: Mapping[str, Any], place: str) -> type[Family]:
    model_type = keys.get("model_type")
    if model_type is None:
        raise InputError(f"{place}: model_type is missing{_guess(keys)}")
    if not isinstance(model_type, str):
        raise InputError(f"{place}: model_type must be a string, not {model_type!r}")
    if model_type in MODEL_TYPES:
        what = MODEL_TYPES[model_type]
        raise UnsupportedError(f"{place}: model_type {model_type!r}: {what} are not built yet")
    if model_type not in FAMILIES:
        raise unknown("model_type", model_type, FAMILIES, f"{', '.join(sorted(FAMILIES))}; {BY_HAND}")
    return family(model_type)


def _guess(keys: Mapping[str, Any]) -> str:
    architectures = str(keys.get("architectures", "")).casefold()
    alike = [name for name in FAMILIES if name.replace("_", "") + "for" in architectures]
    return f'; by its architectures, add "model_type": "{alike[0]}"' if alike else ""


def _described(cls: type[Family], keys: Mapping[str, Any], place: str) -> Family:
    unsupported = list(cls.unbuilt(keys))
    faults = Faults(place)
    faults.found += [*unsupported, *cls.contradictions(keys)]
    try:
        described = cls.model_validate(dict(keys))
    except ValidationError as error:
        faults.found += told(error, cls).found
    faults.raise_if_any(UnsupportedError if len(unsupported) == len(faults) else InputError)
    return described
