"""Mutated configurations of every family: whatever is wrong with them, only the library's own errors escape."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError

ROWS = json.loads((Path(__file__).parent / "golden" / "parameters.json").read_text(encoding="utf-8"))["rows"]
ODD: list[Any] = [
    None, 0, -1, 1, 3, 7, 2.5, True, False, "8", "", [], [1], [None], ["full_attention"], {}, {"a": 1}, 64, 128,
    10**9, 10**12, float("nan"), float("inf"),
]  # fmt: skip
FOREIGN = [
    "head_dim", "num_experts", "top_k", "sliding_window", "layer_types", "num_key_value_heads", "n_shared_experts",
]  # fmt: skip


def configuration(row: dict[str, Any]) -> dict[str, Any]:
    return {**row["config"], "model_type": row["model_type"], "architectures": [row["architecture"]]}


def places(config: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a nested mapping, as a path."""
    found = []
    for key, value in config.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += places(value, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    config = configuration(copy.deepcopy(draw(st.sampled_from(ROWS))))
    for _ in range(draw(st.integers(1, 3))):
        keys = places(config)
        if not keys:
            break
        *outer, last = draw(st.sampled_from(keys))
        inner = config
        for key in outer:
            inner = inner[key]
        match draw(st.sampled_from(["drop", "replace", "replace", "add"])):
            case "drop":
                del inner[last]
            case "replace":
                inner[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case _:
                inner[draw(st.sampled_from(FOREIGN))] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return config


@settings(max_examples=2500, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_only_input_errors_escape(config: dict[str, Any]) -> None:
    try:
        model = pm.Model.from_hf(config)
    except InputError as error:
        assert str(error)
        return
    assert model.parameters >= model.active_parameters > 0
