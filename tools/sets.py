"""The file of a fitted set of software: what people wrote first, what the fit writes below."""

from __future__ import annotations

from typing import Any

import yaml

from perfmodel.efficiency import Software

FITTED = ("constants", "on", "residual", "residuals")
"""Fields of a set that the fit writes."""


def written(found: Software, schema: str) -> str:
    """A set as the text of its file.

    Parameters
    ----------
    found : a training stack or an inference engine
    schema : name of its kind of file
    """
    fields = found.model_dump(mode="json", exclude_defaults=True)
    fitted = {name: fields.pop(name) for name in FITTED if name in fields}
    fitted["constants"] = found.constants.model_dump(mode="json")
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 116}
    lines = [
        yaml.safe_dump({name: value}, default_flow_style=None if isinstance(value, dict) else False, **style)
        for name, value in fitted.items()
    ]
    head = f"# yaml-language-server: $schema=../schema/{schema}.json\n"
    return head + yaml.safe_dump(fields, default_flow_style=False, **style) + "".join(lines)
