"""Every row of a sweep is the single estimate of the same inputs, to the last bit; what cannot be says why."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.exploration import Sweep, sweep
from tests.strategies import any_jobs, any_model, cluster

DEGREE = st.sampled_from([1, 2, 3, 4, 8])
WHOLE_NUMBERS = ("tp", "pp", "vpp", "cp", "ep", "micro_batch", "global_batch", "sequence_length", "devices")


def compared(found: Sweep, place: int, single: Any) -> None:
    """One row against an estimate, or against the error that there is instead."""
    row = found[place]
    if isinstance(single, InputError):
        assert not row["feasible"]
        assert row["reason"]
        assert row["limiter"] == ""
        assert math.isnan(row["step_time"])
        assert math.isnan(row["memory.total"])
        return
    expected = {
        "step_time": single.step_time, "mfu": single.mfu, "hfu": single.hfu, "dp": single.layout.dp,
        "tokens_per_second": single.tokens_per_second,
        "tokens_per_second_per_device": single.tokens_per_second_per_device,
        "samples_per_second_per_device": single.samples_per_second_per_device,
        "memory.total": single.memory.total, "memory.capacity": single.memory.capacity,
        "memory.activations": single.memory.activations, "memory.buffers": single.memory.buffers,
        "memory.optimizer": single.memory.optimizer, "memory.fragmentation": single.memory.fragmentation,
        **{f"terms.{name}": value for name, value in single.terms.items()},
        **{f"resources.{name}": value for name, value in single.resources.items()},
        **{f"hidden.{name}": value for name, value in single.tree.covered.items()},
    }  # fmt: skip
    assert {name: (row[name], value) for name, value in expected.items() if row[name] != value} == {}
    others = [n for n in row if n.startswith(("terms.", "resources.", "hidden.")) and n not in expected]
    assert {name: row[name] for name in others if row[name]} == {}
    assert row["limiter"] == single.limiter.name
    assert row["feasible"] == bool(single.fits)
    assert (row["reason"] == "") == bool(single.fits)


def single(**arguments: Any) -> Any:
    try:
        return estimate(**arguments)
    except InputError as error:
        return error


@settings(suppress_health_check=list(HealthCheck))
@given(job=any_jobs(), data=st.data())
def test_rows_are_single_estimates_whatever_the_structure(job: Any, data: st.DataObject) -> None:
    """Any job of the house's strategies, its degrees and batch varied beside their valid values."""
    numbers = {name: getattr(job.layout, name) for name in ("tp", "pp", "vpp", "cp", "ep", "micro_batch")}
    numbers |= {"global_batch": job.work.global_batch, "sequence_length": job.work.sequence_length}
    numbers |= {"devices": job.cluster.devices}
    rows = [dict(numbers)]
    for _ in range(3):
        name = data.draw(st.sampled_from(sorted(numbers)))
        rows.append(numbers | {name: numbers[name] * data.draw(st.sampled_from([2, 3]))})
    free = job.layout.replace(dp=None)
    found = sweep(job.model, job.work, job.cluster, free, rows=rows, efficiency=job.efficiency)
    for place, row in enumerate(rows):
        work = job.work.replace(global_batch=row["global_batch"], sequence_length=row["sequence_length"])
        layout = free.replace(**{name: row[name] for name in ("tp", "pp", "vpp", "cp", "ep", "micro_batch")})
        try:
            machine = job.cluster.replace(devices=row["devices"])
        except InputError as error:
            compared(found, place, error)
            continue
        arguments = {"model": job.model, "work": work, "layout": layout, "cluster": machine}
        compared(found, place, single(**arguments, efficiency=job.efficiency))


@settings(suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(["dense", "experts"]),
    tp=st.lists(DEGREE, min_size=1, max_size=3, unique=True),
    pp=st.lists(DEGREE, min_size=1, max_size=3, unique=True),
    micro_batch=st.lists(DEGREE, min_size=1, max_size=2, unique=True),
    recompute=st.lists(st.sampled_from(["none", "selective", "full"]), min_size=1, max_size=2, unique=True),
    memory_bandwidth=st.lists(st.floats(1e11, 1e13), min_size=1, max_size=2),
    peak=st.lists(st.floats(1e13, 1e16), min_size=1, max_size=2),
)
def test_a_grid_is_every_combination(kind: str, **axes: Any) -> None:
    model, machine = any_model(kind, layers=8, tp=4), cluster(64)
    work = pm.Training(global_batch=96, sequence_length=512)
    found = sweep(model, work, machine, **axes)
    assert found.shape == tuple(len(values) for values in axes.values())
    for place in range(0, len(found), 5):
        at = dict(zip(axes, np.unravel_index(place, found.shape), strict=True))
        one = {name: axes[name][position] for name, position in at.items()}
        changed = machine.device.replace(memory__bandwidth=one["memory_bandwidth"])
        rates = {name: one["peak"] * (rate / 1e15) for name, rate in changed.peak.known().items()}
        changed = changed.replace(peak=rates | {"bf16": one["peak"]})
        compared(found, place, single(
            model=model, work=work.replace(recompute=one["recompute"]), cluster=machine.replace(device=changed),
            layout=pm.Parallel(tp=one["tp"], pp=one["pp"], micro_batch=one["micro_batch"]),
        ))  # fmt: skip


def test_large_models_keep_the_last_bit() -> None:
    """Operations of a whole step are beyond 2^53, where floats no longer count one by one."""
    for name, batch in (("llama-3.1-405b", 2048), ("deepseek-v3", 15360), ("gpt3-175b", 1536)):
        model, work = pm.Model.load(name), pm.Training(global_batch=batch, sequence_length=2048)
        machine = pm.Cluster.load("dgx-h100", devices=1024)
        found = sweep(model, work, machine, tp=[1, 2, 8], pp=[1, 8, 16], micro_batch=[1, 2])
        for place in range(len(found)):
            inputs = found[place].inputs
            compared(found, place, single(**inputs._replace(efficiency=None)._asdict()))


MALFORMED = (float("nan"), 0, -1, -8.0, 2.5, 1e18, float("inf"), None, "8", True)


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_malformed_numbers_mark_their_rows_alone(name: str) -> None:
    machine = cluster(64)
    values = [8, *MALFORMED, 16]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sweep(
            any_model("experts", layers=8, tp=4), pm.Training(global_batch=512, sequence_length=512), machine,
            **{name: values},
        )  # fmt: skip
    assert all(
        found[place]["reason"].startswith(f"{name} is no whole number") for place in (1, 2, 3, 4, 5, 6, 7)
    )
    for place in (place for place in range(1, 11) if (name, values[place]) != ("devices", "8")):
        assert not found[place]["feasible"]
        assert math.isnan(found[place]["step_time"])
        with pytest.raises(InputError):
            found[place].estimate()
    assert name in found[4].why()
