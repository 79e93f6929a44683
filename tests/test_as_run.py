"""What a stack's recipes set, as a user gets it and as measured rows are read."""

from __future__ import annotations

import pytest

from perfmodel.errors import UnknownNameError
from perfmodel.estimation import as_run
from perfmodel.parallel import Parallel
from perfmodel.validation.rows import training_job
from perfmodel.validation.scores import read_rows
from perfmodel.workload import Training
from tests.conftest import ROOT

WORK = Training(global_batch=512, sequence_length=8192)


def test_what_is_given_stays():
    work, layout = as_run(
        WORK.replace(gradient_dtype="fp32"), Parallel(tp=8, tp_overlap="ring"), "NeMo 25.02"
    )
    assert (work.gradient_dtype, layout.tp_overlap) == ("fp32", "ring")
    assert "tp" in layout.overlap


def test_a_stack_whose_recipe_says_nothing_changes_nothing():
    assert as_run(WORK, Parallel(tp=8), "llm.c") == (WORK, Parallel(tp=8))


def test_a_wrong_name_is_refused():
    with pytest.raises(UnknownNameError, match="nemo"):
        as_run(WORK, Parallel(), "nemmo")


def test_a_measured_row_is_read_the_same_way():
    rows = read_rows(ROOT / "tests/golden/measurements/training.jsonl")
    row = next(row for row in rows if row["software"] == "NeMo 24.07")
    job = training_job(row)
    work, layout = as_run(WORK, Parallel(), "nemo")
    for name in ("gradient_dtype", "weight_dtype"):
        assert getattr(job.work, name) == getattr(work, name)
    for name in ("overlap", "dispatch", "tp_overlap", "bucket"):
        assert getattr(job.layout, name) == getattr(layout, name)


def test_compilers_copies_and_scales_are_set_too():
    work, layout = as_run(WORK, Parallel(dp=8), "torchtitan")
    assert (work.kernels, work.scaling, layout.packing) == ("inductor", "current", "rows")
