"""Rules of a layout on columns say row by row what they say of one layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.parallel import RULES, Parallel, sentences
from perfmodel.workload import Training
from tests.strategies import any_model

DEGREE = st.sampled_from([1, 2, 3, 4, 6, 8, 16])
NUMBERS = dict.fromkeys(("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch"), DEGREE)
ENDS = st.sampled_from([0, 1, 2, 3, 8])
STRUCTURES = (
    {}, {"schedule": "interleaved-1f1b"}, {"schedule": "zbv"}, {"schedule": "interleaved-zero-bubble"},
    {"schedule": "looped-bfs"}, {"context": "ulysses"}, {"order": ("tp", "dp", "cp", "pp")},
    {"sharding": "hsdp", "shards": DEGREE}, {"sequence_parallel": True}, {"expert_tp": DEGREE},
    {"first_stage_layers": ENDS}, {"first_stage_layers": ENDS, "last_stage_layers": ENDS},
    {"first_stage_layers": ENDS, "schedule": "dualpipev"},
)  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "experts", "hybrid", "encoder"])
@given(data=st.data())
def test_a_row_breaks_what_its_layout_breaks(kind: str, data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(STRUCTURES))
    columns = NUMBERS | {name: way for name, way in chosen.items() if isinstance(way, st.SearchStrategy)}
    fixed: dict[str, Any] = {name: value for name, value in chosen.items() if name not in columns}
    rows = data.draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=6))
    batches = [data.draw(st.sampled_from([12, 48, 96])) for _ in rows]
    model = any_model(kind, layers=data.draw(st.sampled_from([2, 6, 12])), tp=4)
    layout = Parallel.model_construct(
        **fixed, **{name: np.array([float(row[name]) for row in rows]) for name in columns}
    )
    work = Training.model_construct(global_batch=np.array(batches, dtype=float), sequence_length=512)
    for rule in RULES:
        found = [np.broadcast_to(breach.broken, len(rows)) for breach in rule(layout, model, work)]
        broken = np.any([*found, np.zeros(len(rows), dtype=bool)], axis=0)
        for row, batch, one in zip(rows, batches, broken, strict=True):
            single = Parallel(**fixed, **row), model, Training(global_batch=batch, sequence_length=512)
            assert any(sentences(rule(*single))) == one, rule.__name__
