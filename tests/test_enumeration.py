"""All valid layouts are found, none twice, and what is left out is counted by the rule that it breaks."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.exploration.enumeration import AT_ONCE, DEGREES, Space, divisors
from perfmodel.parallel import Parallel
from tests.strategies import any_model

SCHEDULES = ["1f1b", "interleaved-1f1b", "gpipe", "looped-bfs", "zbv", "dualpipev", "interleaved-zero-bubble"]


def space(
    model: Any, batch: int, devices: tuple[int, ...], numbers: dict[str, list[int]], **structure: Any
) -> Space:
    work = pm.Training(global_batch=batch, sequence_length=512)
    return Space(model, work, Parallel(), devices, numbers, structure)


def found(of: Space) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for some in of.candidates():
        if some.valid:
            columns = (some.numbers[name].astype(int).tolist() for name in DEGREES)
            rows += [(tuple(some.structure.values()), *row) for row in zip(*columns, strict=True)]
    return rows


def test_divisors() -> None:
    for number in (1, 2, 36, 97, 1024, 1536):
        assert divisors(number).tolist() == [n for n in range(1, number + 1) if number % n == 0]


@pytest.mark.parametrize("kind", ["dense", "experts"])
def test_every_valid_layout_and_no_other(kind: str) -> None:
    """Against every combination of small numbers, checked one by one."""
    model = any_model(kind, layers=4, tp=4)
    schedules = ["1f1b", "interleaved-1f1b", "zbv"]
    of = space(model, 8, (8,), {}, schedule=schedules, sequence_parallel=[False, True])
    expected = []
    for schedule, shared in product(schedules, [False, True]):
        for tp, pp, cp, ep, dp, vpp, size in product(*[range(1, 9)] * 7):
            if tp * pp * cp * dp != 8:
                continue
            if (pp == 1 and schedule != "1f1b") or (tp == 1 and shared):
                continue
            if schedule == "interleaved-1f1b" and vpp == 1:
                continue
            layout = Parallel(
                tp=tp, pp=pp, cp=cp, ep=ep, dp=dp, vpp=vpp, micro_batch=size, schedule=schedule,
                sequence_parallel=shared,
            )  # fmt: skip
            try:
                layout.check(model, of.work)
            except InputError:
                continue
            expected.append(((schedule, shared), 8, tp, pp, cp, ep, dp, vpp, size))
    rows = found(of)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(expected)


def test_what_is_refused_adds_up() -> None:
    of = space(
        any_model("dense", layers=8, tp=4), 24, (48,), {}, schedule=SCHEDULES, sharding=["none", "zero3"]
    )
    refused: Counter[str] = Counter()
    valid = considered = 0
    for some in of.candidates():
        refused.update(some.refused)
        valid, considered = valid + some.valid, considered + some.considered
    assert considered == valid + sum(refused.values()) == of.size * len(list(of.structures()))
    assert "dp · micro_batch does not divide the global batch" in refused
    assert "one stage has no schedule to choose" in refused


def test_given_degrees_restrict() -> None:
    of = space(any_model("dense", layers=8, tp=4), 64, (16, 32), {"tp": [4], "pp": [1, 2], "dp": [2, 4]})
    rows = found(of)
    assert {row[2] for row in rows} == {4}
    assert {row[3] for row in rows} <= {1, 2}
    assert {row[6] for row in rows} <= {2, 4}
    assert {row[1] for row in rows} == {16, 32}
    assert all(devices == tp * pp * cp * dp for _, devices, tp, pp, cp, _, dp, _, _ in rows)


def test_an_impossible_structure_is_refused_and_another_stays() -> None:
    of = space(any_model("dense", layers=4, tp=4), 8, (8,), {}, sharding=["hsdp", "zero3"])
    some = list(of.candidates())
    assert sum(some[0].refused.values()) == of.size
    assert any("needs shards" in reason for reason in some[0].refused)
    assert sum(one.valid for one in some) > 0
    with pytest.raises(InputError, match="needs shards"):
        of.specs({"sharding": "hsdp"})


def test_what_changes_nothing_is_refused() -> None:
    """Each of these layouts has a twin that stays, of the same time and memory."""
    of = space(
        any_model("dense", layers=8, tp=4),
        24,
        (4,),
        {},
        context=["ring", "ulysses"],
        schedule=["1f1b", "zbv"],
    )
    seen = {name for some in of.candidates() for name in some.refused}
    assert "one context-parallel rank has nothing to exchange" in seen
    rows = found(of)
    assert {context for (context, _), _, _, _, cp, *_ in rows if cp == 1} == {"ring"}
    assert {schedule for (_, schedule), _, _, pp, *_ in rows if pp == 1} == {"1f1b"}


def test_blocks_are_bounded() -> None:
    """Many candidates come in blocks; a block holds what one row of degrees multiplies to, at least."""
    of = space(any_model("dense", layers=96, tp=8), 2**9 * 3**3 * 5, (2**10 * 3,), {})
    sizes = [some.considered for some in of.candidates() if some.numbers]
    assert len(sizes) > 1
    assert max(sizes) <= AT_ONCE
    assert (
        np.sum(sizes) + sum(sum(one.refused.values()) for one in of.candidates() if not one.numbers)
        == of.size
    )
