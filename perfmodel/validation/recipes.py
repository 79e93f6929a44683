"""What published recipes say of expert parallelism where a measured row does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["RECIPES", "Recipe", "expert_recipe", "release"]


class Recipe(NamedTuple):
    """How a stack runs the experts of a model on some hardware.

    Parameters
    ----------
    model, hardware, precision : how the row's own begin
    since : first release of the stack, as year and month
    dispatch : how tokens travel; None is the stack's usual way
    overlapped : they travel beside another micro-batch
    """

    model: str
    hardware: str
    precision: str = ""
    since: tuple[int, int] = (0, 0)
    dispatch: str | None = None
    overlapped: bool = False


RECIPES: dict[str, tuple[Recipe, ...]] = {
    "Megatron-Bridge": (
        Recipe("deepseek-v3", "nvidia-gb", "mxfp8", since=(26, 6), overlapped=True),
        Recipe("qwen3-235b", "nvidia-h100", dispatch="all_to_all", overlapped=True),
        Recipe("qwen3-235b", "nvidia-b", dispatch="all_to_all"),
    )
}
"""By how the name of the stack begins: `moe_a2a_overlap` and `moe_token_dispatcher_type` in
github.com/NVIDIA-NeMo/Megatron-Bridge, scripts/performance/configs, commits 01b2977e and f0e2c37e."""


def expert_recipe(row: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a row followed, where one is published.

    Parameters
    ----------
    row : its configuration

    Returns
    -------
    the recipe, or None

    Examples
    --------
    >>> row = {"software": "Megatron-Bridge (NeMo 26.08)", "model": {"name": "deepseek-v3"}, "hardware": "nvidia-gb300",
    ...        "precision": "mxfp8"}
    >>> expert_recipe(row).overlapped, expert_recipe({**row, "software": "Megatron-Bridge (NeMo 26.04)"})
    (True, None)
    """
    software = str(row.get("software"))
    for stack, recipes in RECIPES.items():
        for recipe in recipes if software.startswith(stack) else ():
            stated = (row["model"]["name"], row["hardware"], row["precision"])
            named = (recipe.model, recipe.hardware, recipe.precision)
            fits = all(text.startswith(start) for text, start in zip(stated, named, strict=True))
            if fits and release(software) >= recipe.since:
                return recipe
    return None


def release(software: str) -> tuple[int, int]:
    """Year and month of a release; zeros where none is named.

    Parameters
    ----------
    software : as people write it

    Examples
    --------
    >>> release("Megatron-Bridge (NeMo 26.04.01)"), release("torchtitan")
    ((26, 4), (0, 0))
    """
    found = re.search(r"\b(\d\d)\.(\d\d)\b", software)
    return (int(found[1]), int(found[2])) if found else (0, 0)
