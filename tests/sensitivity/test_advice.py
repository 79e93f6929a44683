"""Advice is a prediction: applying it and estimating again gives the promised number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.hardware.prices import offers, price_of
from perfmodel.sensitivity.advice import _alone
from perfmodel.sensitivity.remedies import REMEDIES, SCOPES
from perfmodel.sensitivity.remedies.table import others
from perfmodel.specs import bundled_folder, read_yaml
from tests.strategies import Job, any_jobs

MODEL = "llama-3.1-8b"


@pytest.fixture(scope="module")
def est() -> pm.TrainingEstimate:
    return pm.estimate(
        pm.Model.load(MODEL),
        pm.Training(global_batch=128, sequence_length=8192),
        pm.Parallel(tp=8, pp=2, vpp=2),
        pm.Cluster.load("dgx-h100", devices=32),
    )


@settings(max_examples=12)
@given(job=any_jobs())
def test_advice_is_never_wrong_about_itself(job: Job):
    est = pm.estimate(**job.arguments)
    for each in pm.advise(est, n=3):
        again = each.inputs.estimate()
        assert again.step_time == each.after.step_time
        assert again.memory.total == each.after.memory.total
        assert pm.what_if(est, **each.changes).after.step_time == each.after.step_time
        assert each.speedup == pytest.approx(again.samples_per_second / est.samples_per_second, rel=1e-12)
        assert each.after.fits
        assert not est.fits or each.speedup > 1


def test_it_is_ranked_by_scope_then_alone_then_gain(est):
    found = pm.advise(est)
    scopes = list(SCOPES)
    places = [(scopes.index(each.scope), len(each.remedies), -each.speedup) for each in found]
    assert places == sorted(places)
    assert found.first is found[0]
    assert len(found.of("way")) <= 5 + 3


def test_every_pair_is_better_than_both(est):
    found = pm.advise(est, n=20)
    alone = {each.title: each.speedup for each in found if len(each.remedies) == 1}
    pairs = [each for each in found if len(each.remedies) == 2]
    assert pairs
    for each in pairs:
        assert all(each.speedup > alone.get(one.title, 1.0) for one in each.remedies)


def test_what_does_not_fit_is_made_to_fit():
    tight = pm.estimate(
        pm.Model.load("llama-3.1-70b"),
        pm.Training(global_batch=64, sequence_length=8192),
        pm.Parallel(tp=2),
        pm.Cluster.load("dgx-h100", devices=64),
    )
    assert not tight.fits
    found = pm.advise(tight)
    assert found.of("way")
    assert all(each.after.fits for each in found)
    assert "does NOT fit" in repr(found)
    hopeless = pm.what_if(tight, memory_capacity="9 GiB", devices=2, global_batch=1).after
    with pytest.raises(InputError, match="makes it fit"):
        _ = pm.advise(hopeless, pairs=False).of("way") or pm.sensitivity.Advice(hopeless, (), 3).first


def test_value_for_money(est):
    found = pm.advise(est, n=10)
    doubled = next(each for each in found if each.changes == {"devices": 64})
    assert doubled.price == 2
    assert doubled.value == pytest.approx(doubled.speedup / 2)
    assert all(each.value == each.speedup for each in found.of("way"))
    linked = [each for each in found if each.remedies[0].name == "faster_links"]
    assert linked
    assert all(each.value is None for each in linked)
    assert "?: no price is known" in repr(found)
    values = [each.value or 0 for each in found.by_value]
    assert values == sorted(values, reverse=True)
    h200 = pm.what_if(est, device="h200")
    ratio = price_of("nvidia-h200-sxm-141gb").on_demand / price_of("nvidia-h100-sxm-80gb").on_demand
    rival = next((each for each in found if each.changes == {"device": h200.after.cluster.device.id}), None)
    assert rival is None or rival.price == pytest.approx(ratio)


def test_it_prints_and_serialises(est):
    found = pm.advise(est, n=2)
    assert json.loads(json.dumps(found.to_dict()))["suggestions"][0]["speedup"] == found.first.speedup
    assert found.to_frame().speedup.tolist() == [each.speedup for each in found]
    assert "the same job on the same machine" in repr(found)
    assert "<table>" in found._repr_html_()
    assert found.first.costs in repr(found.first)
    with pytest.raises(InputError, match="at least 1"):
        pm.advise(est, n=0)


def test_every_remedy_says_what_it_does():
    assert len(REMEDIES) > 20
    for each in REMEDIES.values():
        assert each.title and each.relieves and each.costs and each.scope in SCOPES and each.kinds


def test_inference_and_serving_have_remedies_of_their_own():
    model, cluster = pm.Model.load(MODEL), pm.Cluster.load("dgx-h100", devices=1)
    lengths = {"input_length": 1024, "output_length": 256}
    one = pm.estimate(model, pm.Inference(**lengths), pm.Parallel(), cluster)
    found = pm.advise(one)
    assert {each.name for single in found for each in single.remedies} >= {
        "larger_running_batch", "quantised_weights", "drafts", "pruning",
    }  # fmt: skip
    assert all(each.inputs.estimate().latency == each.after.latency for each in found)
    load = pm.estimate(model, pm.Serving(**lengths, request_rate=1), pm.Parallel(), cluster)
    found = pm.advise(load)
    assert found.first.speedup == load.latency / found.first.after.latency > 1


def test_halves_and_doubles():
    assert list(others(1, 4)) == [2, 4]
    assert list(others(6, 100, reach=2)) == [3, 12]


def test_prices_are_of_bundled_devices_and_have_a_source():
    listed = read_yaml(bundled_folder("hardware_specs") / "prices.yaml")["offers"]
    assert {offer["device"] for offer in listed} <= pm.devices().keys()
    for device in {offer["device"] for offer in listed}:
        assert all(offer.source and offer.date for offer in offers(device))
    assert (
        price_of("nvidia-h200-sxm-141gb").on_demand == 3.5
    )  # the cheapest of three, one of which has only spot


def settings_of_every_kind():
    """Jobs that give every remedy something to propose."""
    dense, experts = pm.Model.load(MODEL), pm.Model.load("mixtral-8x7b")
    node, pair = pm.Cluster.load("dgx-h100", devices=8), pm.Cluster.load("dgx-h100", devices=16)
    lengths = {"global_batch": 64, "sequence_length": 2048}
    old = {"dropout": True, "kernels": "eager", "fused_optimizer": False, "attention": "unfused"}
    slow = {"data_rate": 1.0, "sample_bytes": 1e9, "recompute": "full", "offload": {"optimizer": 1}}
    fed = node.replace(storage=1e8)
    yield pm.estimate(dense, pm.Training(**lengths, **old), pm.Parallel(tp=2, pp=2, overlap=()), node)
    yield pm.estimate(dense, pm.Training(**lengths, **slow), pm.Parallel(cp=2, sharding="zero3"), fed)
    routed = pm.Training(**lengths, expert_imbalance=1.5)
    yield pm.estimate(experts, routed, pm.Parallel(tp=2, ep=4), pair.replace(oversubscription=2.0))
    served = {"input_length": 512, "output_length": 64}
    yield pm.estimate(dense, pm.Inference(**served, batch=8), pm.Parallel(), node)
    yield pm.estimate(dense, pm.Serving(**served, concurrency=64), pm.Parallel(), node)


def test_every_remedy_proposes_something_that_can_be():
    """None is dead: each has a job for which it proposes a change that breaks no rule."""
    alive = set()
    for est in settings_of_every_kind():
        alive |= {each.remedies[0].name for each in _alone(est)}
    assert alive == set(REMEDIES)
