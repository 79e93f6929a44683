"""Strict numbers in otherwise lenient specifications: "8" and True are no numbers, but a list is a tuple."""

from __future__ import annotations

from numbers import Integral
from typing import Any

__all__ = ["with_strict_numbers"]


def with_strict_numbers(schema: Any) -> Any:
    """A pydantic core schema in which int, float and bool are strict.

    Parameters
    ----------
    schema : as pydantic built it
    """
    if isinstance(schema, list | tuple):
        return type(schema)(with_strict_numbers(each) for each in schema)
    if not isinstance(schema, dict) or "strict" in schema:
        return schema
    walked = {
        key: value if key == "metadata" else with_strict_numbers(value) for key, value in schema.items()
    }
    if walked.get("type") in ("float", "bool"):
        return walked | {"strict": True}
    if walked.get("type") == "int":
        whole = {"type": "no-info", "function": _whole}
        return {"type": "function-before", "function": whole, "schema": walked | {"strict": True}}
    return walked


def _whole(value: Any) -> Any:
    """NumPy integers are whole numbers too."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool | int) else value
