"""The axes that devices are numbered by."""

from __future__ import annotations

from typing import Literal

__all__ = ["AXES", "Axis"]

Axis = Literal["tp", "cp", "dp", "pp"]
AXES: tuple[Axis, ...] = ("tp", "cp", "dp", "pp")
"""Usual order of placement, innermost first: tensor ranks are neighbours, pipeline stages lie farthest apart
(Megatron-LM; its use-tp-pp-dp-mapping is tp, cp, pp, dp)."""
