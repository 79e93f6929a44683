"""How an estimate is shown: text, HTML, table, JSON and explanation tell the same numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.report import cited, entries


@pytest.fixture(scope="module")
def est() -> pm.TrainingEstimate:
    return pm.estimate(
        pm.Model.load("llama-3.1-8b"),
        pm.Training(global_batch=64, sequence_length=4096, recompute="full"),
        pm.Parallel(tp=2, pp=2, sequence_parallel=True),
        pm.Cluster.load("dgx-h100", devices=16),
    )


def test_the_text_is_one_screen(est: pm.TrainingEstimate) -> None:
    lines = repr(est).splitlines()
    assert len(lines) < 35
    assert "step time" in repr(est)
    assert "hopper" in repr(est)


def test_the_html_is_escaped_and_has_no_script(est: pm.TrainingEstimate) -> None:
    model = est.model.replace(name="<script>alert(1)</script>")
    odd = pm.estimate(model, est.work, est.layout, est.cluster)
    html = odd._repr_html_()
    assert "<script" not in html
    assert "&lt;script" in html


def test_the_dict_is_json_and_adds_up(est: pm.TrainingEstimate) -> None:
    found = est.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    kinds = ("weights", "gradients", "optimizer", "activations", "buffers", "overhead")
    assert sum(found["memory"][kind] for kind in kinds) == pytest.approx(found["memory"]["total"])
    assert found["hfu"] > found["mfu"]


def test_the_frame_has_time_and_memory(est: pm.TrainingEstimate) -> None:
    frame = est.to_frame()
    assert list(frame.columns) == ["quantity", "name", "value", "share"]
    assert frame[frame.quantity == "time"].value.sum() == pytest.approx(est.step_time)
    assert frame.groupby("quantity").share.sum().tolist() == pytest.approx([1.0, 1.0])


def test_compare_is_one_row_an_estimate(est: pm.TrainingEstimate) -> None:
    table = pm.compare({"a": est, "b": est})
    assert list(table.index) == ["a", "b"]
    assert table.loc["a", "step_time"] == est.step_time
    with pytest.raises(InputError, match="at least one"):
        pm.compare({})


def test_every_explained_number_has_a_formula_and_a_source(est: pm.TrainingEstimate) -> None:
    found = list(entries(est))
    assert len(found) > 12
    for entry in found:
        assert entry.value, entry
        assert entry.formula, entry
        assert entry.source, entry
    names = {entry.quantity for entry in found}
    assert {"step time", "MFU", "HFU", "memory: weights", "facts", "fits"} <= names


def test_explained_numbers_are_the_estimate_s_own(est: pm.TrainingEstimate) -> None:
    text = est.explain()
    assert f"{est.mfu:.2%}" in text
    assert f"{est.costs.groups['data'].ranks}" in text


def test_cited_reads_the_docstring() -> None:
    def formula() -> None:
        r"""Something.

        .. math:: a = b

        References
        ----------
        Somebody (2020), Something
        """

    maths, source = cited(formula)
    assert maths == "a = b"
    assert "Somebody (2020)" in source


def test_the_limiter_ranks_resources(est: pm.TrainingEstimate) -> None:
    limiter: Any = est.limiter
    ranked = sorted(est.resources.values(), reverse=True)
    assert limiter.share == pytest.approx(ranked[0] / est.step_time)
    assert limiter.runner_up_share == pytest.approx(ranked[1] / est.step_time)
    assert limiter.name in str(limiter)


def test_conventions_of_utilisation_are_named(est: pm.TrainingEstimate) -> None:
    assert est.utilisation("palm") > est.utilisation("causal") == est.mfu
    assert est.utilisation("hardware") == est.hfu
    with pytest.raises(InputError, match="causal, palm, hardware"):
        est.utilisation("guess")


def test_the_first_line_names_what_is_not_as_usual(est: pm.TrainingEstimate) -> None:
    assert "tp 2, pp 2, dp 4, zero1, micro batch 1" in repr(est).splitlines()[0]
    unusual = {
        "sharding": "hsdp", "shards": 4, "cp": 2, "context": "all_gather", "schedule": "gpipe",
        "order": ("tp", "pp", "cp", "dp"), "dp": 2,
    }  # fmt: skip
    odd = pm.estimate(est.model, est.work, est.layout.replace(**unusual), est.cluster)
    told = "dp 2, context by all_gather, schedule gpipe, order tp pp cp dp, hsdp of 4, micro batch 1"
    assert told in repr(odd).splitlines()[0]
