"""Sweeps that others answer: the same rows come back, whatever fails, dies or is cancelled on the way."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.exploration import sweep
from perfmodel.exploration.assembled import NOT_REACHED
from perfmodel.exploration.plan import Plan
from tests.strategies import any_model, cluster

AXES: dict[str, Any] = {
    "recompute": ["none", "full"], "tp": [1, 2, 3, 4], "pp": [1, 2, 4], "memory_bandwidth": [1e12, 2e12, 3e12],
}  # fmt: skip


def swept(**how: Any) -> pm.Sweep:
    work = pm.Training(global_batch=64, sequence_length=512)
    return sweep(
        any_model("dense", layers=8, tp=4), work, cluster(32), chunk=6, **({"progress": False} | AXES | how)
    )


def same(found: pm.Sweep) -> bool:
    """Every column is that of a sweep in this process."""
    expected = swept()
    return set(found.columns) == set(expected.columns) and all(
        found[name].tolist() == column.tolist() or np.array_equal(found[name], column, equal_nan=True)
        for name, column in expected.columns.items()
    )


class Flaky(Executor):
    """Runs in this process, and fails as often as it is told."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures, self.calls = list(failures), 0

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        self.calls += 1
        future: Future[Any] = Future()
        if self.failures and self.calls % 2:
            future.set_exception(self.failures.pop())
        else:
            future.set_result(pickle.loads(pickle.dumps(function))(*pickle.loads(pickle.dumps(arguments))))
        return future


def dies_once(marker: Path, function: Any, *arguments: Any) -> Any:
    """A worker that is gone in the middle of its first chunk."""
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return function(*arguments)


class Mortal(Executor):
    """A pool of processes, of which one dies."""

    def __init__(self, pool: ProcessPoolExecutor, marker: Path) -> None:
        self.pool, self.marker = pool, marker

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        return self.pool.submit(dies_once, self.marker, function, *arguments)


def test_threads_and_processes_answer_alike() -> None:
    with ThreadPoolExecutor(2) as threads:
        assert same(swept(executor=threads))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert same(swept(executor=processes))


def test_a_failed_chunk_is_tried_again() -> None:
    flaky = Flaky(*(OSError("the network is down") for _ in range(5)))
    assert same(swept(executor=flaky))
    assert flaky.calls == 5 + len(swept().table.parts)


def test_a_chunk_that_always_fails_says_why() -> None:
    with pytest.raises(OSError, match="no luck"):
        swept(executor=Flaky(*(OSError("no luck") for _ in range(50))), retries=0)


def test_a_pool_that_breaks_loses_nothing(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        pytest.warns(RuntimeWarning, match="the executor is broken"),
    ):
        assert same(swept(executor=Mortal(pool, tmp_path / "died")))


def test_a_cancelled_sweep_keeps_what_it_has() -> None:
    asked: list[int] = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) > 3

    for executor in (None, Flaky()):
        asked.clear()
        found = swept(cancel=enough, executor=executor)
        assert found.partial
        reached = found["reason"] != NOT_REACHED
        assert 0 < reached.sum() < len(found)
        assert np.array_equal(found["step_time"][reached], swept()["step_time"][reached], equal_nan=True)
        assert not found["feasible"][~reached].any()
        assert "cancelled before its end" in repr(found)


def test_an_interrupt_is_a_cancel() -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 3:
            raise KeyboardInterrupt

    found = swept(progress=stop)
    assert found.partial
    assert found.best()["step_time"] > 0


def test_progress_is_told_and_ends_at_all_rows(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    found = swept(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(found), len(found))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert capsys.readouterr().err == ""
    swept(progress=True)
    assert "100%" in capsys.readouterr().err


def test_chunks_are_small_to_send() -> None:
    """Slices of the axes, not the rows: a chunk of 16,384 rows travels in a few kilobytes."""
    work = pm.Training(global_batch=64, sequence_length=512)
    machine = pm.Cluster.load("dgx-h100", devices=64)
    found = sweep(
        pm.Model.load("llama-3.1-70b"), work, machine, progress=False, columns=["step_time"],
        tp=[1, 2, 4, 8], pp=[1, 2, 4, 8], memory_bandwidth=np.linspace(1e12, 4e12, 40),
        peak=np.linspace(1e15, 2e15, 40),
    )  # fmt: skip
    plan: Plan = found.plan
    sizes = [len(pickle.dumps(chunk)) for chunk in plan.chunks()]
    assert sum(chunk.rows for chunk in plan.chunks()) == len(found)
    assert max(sizes) < 20_000


def test_bad_input_is_not_tried_again() -> None:
    flaky = Flaky(InputError("a fault of the library"))
    with pytest.raises(InputError, match="a fault"):
        swept(executor=flaky)
    assert flaky.calls < 70


@pytest.mark.slow
def test_dask_answers_alike_and_survives_a_worker(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    local = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path),
    )
    with local, distributed.Client(local) as client:
        assert same(swept(executor=client.get_executor(pure=False)))
        marker = tmp_path / "died"
        pool = client.get_executor(pure=False)

        class Dying(Executor):
            def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
                future: Future[Any] = pool.submit(dies_once, marker, function, *arguments)
                return future

        assert same(swept(executor=Dying()))
        assert marker.exists()
