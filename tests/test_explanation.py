"""An explanation says the same in every format."""

import json
import re

import pytest

import perfmodel as pm
from perfmodel.errors import UnknownNameError

MODEL, CLUSTER = pm.Model.load("llama-3.1-8b"), pm.Cluster.load("dgx-h100")
WORKS = [
    pm.Training(global_batch=64, sequence_length=8192),
    pm.Inference(batch=8, input_length=128, output_length=32),
    pm.Serving(input_length=128, output_length=32, concurrency=4),
]


@pytest.fixture(scope="module", params=WORKS, ids=lambda work: type(work).__name__)
def est(request):
    return pm.estimate(MODEL, request.param, pm.Parallel(tp=2), CLUSTER)


def test_every_format_has_every_number(est):
    entries = json.loads(est.explain("json"))["entries"]
    text, markdown, html = est.explain(), est.explain("markdown"), est.explain("html")
    assert len(entries) > 8
    for entry in entries:
        assert set(entry) == {"quantity", "value", "formula", "inputs", "source"}
        assert f"{entry['quantity']} = {entry['value']}" in text
        assert f"## {entry['quantity']} = {entry['value']}" in markdown
    assert html.count("<details>") == html.count("</details>") == len(entries)
    assert "<script" not in html and not re.search(r"<p>[^<]*<(?!/?\w)", html)


def test_mathematics_is_set_and_sentences_are_not():
    markdown = pm.estimate(MODEL, WORKS[0], pm.Parallel(tp=2), CLUSTER).explain(format="markdown")
    assert "$$\\mathrm{MFU} = \\frac{F}{n\\,P\\,t}$$" in markdown
    assert "$$n / p$$" in markdown
    assert "$$sum over" not in markdown and "$$hidden" not in markdown
    assert "| with | |\n| --- | --- |" in markdown


def test_text_is_the_usual_one(est):
    assert est.explain() == est.explain(format="text")
    assert est.explain().startswith("How llama-3.1-8b")


def test_another_format_is_refused(est):
    with pytest.raises(UnknownNameError, match="did you mean markdown"):
        est.explain("mrkdown")
