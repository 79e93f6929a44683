"""The text model inside a multimodal config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.errors import UnsupportedError
from perfmodel.huggingface.table import FAMILIES

__all__ = ["text_part"]

_TEXT = ("text_config", "llm_config", "language_config")
_OTHERS = (
    "vision_config",
    "vit_config",
    "visual",
    "audio_config",
    "speech_config",
    "encoder_config",
    "image_config",
)


def text_part(keys: Mapping[str, Any], place: str, *, text_only: bool) -> Mapping[str, Any]:
    """The keys of the text model: all of them, or those of a nested part.

    Parameters
    ----------
    keys : of a config.json
    place : where they come from; opens the message of an error
    text_only : leave out whatever else the model has

    Returns
    -------
    the keys of a text model

    Raises
    ------
    UnsupportedError
        there is more than text, and nobody asked for the text alone

    Examples
    --------
    >>> text_part({"model_type": "llava", "text_config": {"model_type": "llama"}}, "config", text_only=False)
    {'model_type': 'llama'}
    """
    text = next((key for key in _TEXT if isinstance(keys.get(key), Mapping)), None)
    others = [key for key in _OTHERS if keys.get(key)]
    if others and not text_only:
        raise UnsupportedError(f"{place}: {_refusal(keys, text, others)}")
    if text is None:
        return keys
    inherited = {key: keys[key] for key in ("tie_word_embeddings",) if key in keys}
    own = f"{keys.get('model_type')}_text"  # the family's text model, where the part does not say which
    return ({"model_type": own} if own in FAMILIES else {}) | inherited | dict(keys[text])


def _refusal(keys: Mapping[str, Any], text: str | None, others: list[str]) -> str:
    inside = f", or Model.from_hf(config[{text!r}])" if text else ""
    return (
        f"model_type {keys.get('model_type')!r} has more than text ({', '.join(others)}), which is not built yet; "
        f"its text model alone: Model.from_hf(config, text_only=True){inside}"
    )
