"""Bundled models by the names that people write."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from perfmodel.errors import InputError
from perfmodel.model import Model, models

__all__ = ["bundled"]

CUT = re.compile(r"proxy|\d+l(?:ayers?)?\b|layers?\b", re.IGNORECASE)
"""Marks of a model that was cut short for a measurement."""
MARKS = re.compile(r"(hf|base|instruct|chat|it|patch\d+|pretrain|v[\d.]+|[-_ ])*$")
"""What names end in that says nothing of dimensions."""


def bundled(*names: Any) -> Model | None:
    """The bundled model of the first name that is one's.

    Parameters
    ----------
    names : as the row has them; some may be missing

    Returns
    -------
    the model, or None

    Examples
    --------
    >>> names = ("Llama3.1-8B-Instruct", "swin_tiny_patch4", "llama-2-7b-proxy4L")
    >>> [model and model.name for model in map(bundled, names)]
    ['llama-3.1-8b', 'swin-tiny', None]
    """
    for name in names:
        if not name or CUT.search(str(name)):
            continue
        try:
            return Model.load(str(name))
        except (InputError, OSError):
            found = _alike(str(name))
        if found is not None:
            return Model.load(found)
    return None


def _alike(name: str) -> str | None:
    plain = _plain(name)
    begun = [(len(key), id) for key, id in _keys() if len(key) > 3 and plain.startswith(key)]
    fits = [(size, id) for size, id in begun if MARKS.fullmatch(plain[size:])]
    return max(fits)[1] if fits else None


@lru_cache(maxsize=1)
def _keys() -> tuple[tuple[str, str], ...]:
    return tuple((_plain(id), id) for id in models())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.casefold().rpartition("/")[2])
