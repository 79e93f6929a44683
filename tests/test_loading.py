"""Samples on their way into a step: it is no faster than they come."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.errors import InputError


def fed(**changes) -> pm.TrainingEstimate:
    work = pm.Training(**{"global_batch": 64, "sequence_length": 2048} | changes)
    machine = pm.Cluster.load("dgx-h100").replace(storage=1e9)
    return pm.estimate(pm.Model.load("llama-3.1-8b"), work, pm.Parallel(tp=2), machine)


def test_a_step_is_no_faster_than_its_samples_come():
    free = fed()
    assert fed(data_rate=1e9).step_time == free.step_time
    assert fed(data_rate=1e9).terms["input"] == 0
    slow = fed(data_rate=4)
    assert slow.step_time == pytest.approx(64 / 4, rel=1e-12)
    assert slow.limiter.name == "input_pipeline"
    assert slow.terms["input"] == pytest.approx(16 - free.step_time)


def test_samples_are_read_from_storage_by_all_devices():
    """64 samples of 8 GB over 8 devices at 1 GB/s each, of which reads reach a fraction."""
    slow = fed(sample_bytes=8e9)
    assert slow.step_time == pytest.approx(64 / slow.efficiency.offload.storage, rel=1e-12)
    assert slow.limiter.name == "storage"
    both = fed(sample_bytes=8e9, data_rate=64 / 30)
    assert both.step_time == pytest.approx(max(30, slow.step_time), rel=1e-12)
    assert both.resources["storage"] + both.resources["input_pipeline"] == pytest.approx(both.terms["input"])
    with pytest.raises(InputError, match="storage, whose bandwidth is unknown"):
        pm.estimate(slow.model, slow.work, slow.layout, pm.Cluster.load("dgx-h100"))
