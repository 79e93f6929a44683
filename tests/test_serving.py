"""Continuous batching: Little's law, limits, waits, and what more memory, users and drafts change."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.formulas.queueing import gated_wait

MODEL = pm.Model.load("llama-3.1-8b")
ONE = pm.Cluster.load("dgx-h100", devices=1)
LENGTHS = {"input_length": 1024, "output_length": 256}


def served(layout=None, cluster=ONE, software=None, **load):
    return pm.estimate(
        MODEL, pm.Serving(**(LENGTHS | load)), layout or pm.Parallel(), cluster, software=software
    )


def test_users_are_those_who_decode_and_those_who_wait():
    """Little's law: users = requests a second times the time of each."""
    est = served(concurrency=64)
    assert est.requests_per_second * est.latency == pytest.approx(64, rel=0.02)
    assert est.batch < 64


def test_a_request_is_its_wait_its_prompt_and_its_steps():
    est = served(concurrency=32)
    assert est.latency == pytest.approx(est.ttft + 255 * est.tpot, rel=1e-9)
    assert sum(est.terms.values()) == pytest.approx(est.latency, rel=1e-9)
    assert sum(est.resources.values()) == pytest.approx(est.latency, rel=1e-9)


def test_one_user_is_a_batch_of_one_but_for_the_pass_that_runs_when_he_comes():
    est = served(concurrency=1)
    run = pm.estimate(MODEL, pm.Inference(batch=1, **LENGTHS), pm.Parallel(), ONE)
    assert est.tpot == pytest.approx(run.tpot, rel=0.05)
    host = est.efficiency.host.request
    assert run.ttft + host <= est.ttft <= run.ttft + host + 2 * run.tpot


def test_random_arrivals_far_from_full_do_not_wait():
    few = served(request_rate=0.01)
    alone = served(concurrency=1)
    assert few.ttft == pytest.approx(alone.ttft, rel=0.05)
    assert few.requests_per_second == pytest.approx(0.01)
    assert few.batch == pytest.approx(0.01 * 255 * few.tpot, rel=1e-6)


def test_percentiles_ascend():
    est = served(request_rate=8)
    assert est.ttft <= est.ttft_percentile(95) <= est.ttft_percentile(99)
    assert est.tpot_percentile(10) <= est.tpot <= est.tpot_percentile(99)
    with pytest.raises(InputError, match="percent = 100"):
        est.ttft_percentile(100)


def test_more_than_can_be_answered_is_refused_with_what_can():
    with pytest.raises(InputError, match=r"request_rate = 10000 exceeds .* nearest: request_rate = "):
        served(request_rate=1e4)


def test_offline_fills_the_cache():
    est = served()
    assert est.batch == est.state.most == min(est.memory.most_sequences, 256)
    assert est.output_tokens_per_second > served(concurrency=16).output_tokens_per_second


def test_too_many_users_queue_for_room():
    """With room for so many, the others wait; the rate stays what the full batch gives."""
    full, crowded = served(concurrency=256), served(concurrency=1024)
    assert crowded.batch == crowded.state.most
    assert crowded.ttft > 4 * full.ttft
    assert crowded.requests_per_second == pytest.approx(served().requests_per_second, rel=1e-6)


def test_a_burst_counts_by_its_share_of_the_requests():
    steady, often, once = (served(concurrency=64, requests_per_user=n) for n in (None, 10, 1))
    assert steady.ttft < often.ttft < once.ttft
    assert once.ttft - steady.ttft == pytest.approx(10 * (often.ttft - steady.ttft), rel=1e-9)


def test_prompts_in_the_cache_cost_less():
    assert served(concurrency=32, cached_length=768).ttft < served(concurrency=32).ttft


def test_drafts_that_stand_are_worth_their_check():
    plain = served(concurrency=4)
    good = served(concurrency=4, draft_tokens=3, acceptance=0.9)
    bad = served(concurrency=4, draft_tokens=3, acceptance=0.0)
    assert good.tpot < plain.tpot < bad.tpot


def test_prefill_apart_leaves_decode_alone():
    node = pm.Cluster.load("dgx-h100", devices=4)
    load = {"concurrency": 128, "input_length": 4096}
    mixed, apart = (served(pm.Parallel(), node, **load, prefill_replicas=n) for n in (0, 2))
    assert apart.tpot < mixed.tpot
    with pytest.raises(InputError, match="prefill_replicas = 4 of dp = 4"):
        served(pm.Parallel(), node, concurrency=8, prefill_replicas=4)


def test_contradictions_are_told_at_once():
    with pytest.raises(InputError) as error:
        pm.Serving(input_length=0, output_length=8, concurrency=4, request_rate=1)
    assert "two kinds of load" in str(error.value)
    assert "a request has a prompt" in str(error.value)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 512), st.sampled_from([128, 1024, 8192]), st.sampled_from([2, 64, 1024]))
def test_more_users_mean_more_throughput_and_longer_waits(users, prompt, answer):
    fewer, more = (
        served(concurrency=n, input_length=prompt, output_length=answer) for n in (users, users * 2)
    )
    assert more.output_tokens_per_second >= fewer.output_tokens_per_second * (1 - 2e-2)
    assert more.tpot >= fewer.tpot * (1 - 1e-2)
    for est in (fewer, more):
        assert all(math.isfinite(value) and value >= 0 for value in (est.ttft, est.tpot, est.latency))


@settings(deadline=None, max_examples=10)
@given(st.floats(1.01, 4.0), st.sampled_from([None, 64, 2048]))
def test_more_memory_never_serves_less(factor, users):
    bigger = ONE.replace(device=ONE.device.replace(memory__capacity=ONE.device.memory_capacity * factor))
    load = {} if users is None else {"concurrency": users}
    assert served(cluster=bigger, **load).output_tokens_per_second >= served(
        **load
    ).output_tokens_per_second * (1 - 1e-6)


def test_adapters_take_memory_and_time():
    """Rank 16 on all matrices of Llama 3.1 8B: 7 kinds of matrix in 5 products, 32 layers."""
    plain, with_adapters = (
        pm.estimate(MODEL, pm.Inference(batch=8, **LENGTHS, adapters=n), pm.Parallel(), ONE) for n in (0, 4)
    )
    each = 32 * 16 * ((4096 + 6144) + (4096 + 4096) + (4096 + 2 * 14336) + (14336 + 4096))
    assert with_adapters.memory.weights - plain.memory.weights == 4 * 2 * each
    assert with_adapters.tpot > plain.tpot


def test_a_cache_that_comes_back_from_the_host_takes_its_link():
    near, far = (served(concurrency=1, cached_length=512, cached_in=place) for place in ("device", "host"))
    kept = MODEL.kv_bytes(context=512)
    assert far.ttft - near.ttft == pytest.approx(
        kept / (ONE.device.host_link.bandwidth * far.efficiency.offload.host_link), rel=0.05
    )


def test_a_cache_split_over_ranks_is_read_once():
    """DeepSeek-V3's latent is held by every tensor rank, unless they split it."""
    model, node = pm.Model.load("deepseek-v3"), pm.Cluster.load("dgx-h200", devices=8)
    work = pm.Inference(batch=64, input_length=32768, output_length=64, weight_dtype="fp8_block")
    whole, split = (pm.estimate(model, work, pm.Parallel(tp=8, kv_split=n), node) for n in (1, 8))
    assert split.memory.cache == pytest.approx(whole.memory.cache / 8)
    assert split.tpot < whole.tpot
    with pytest.raises(
        InputError, match=r"kv_split = 8 splits caches of which tp = 8 .* nearest: kv_split = 1"
    ):
        served(pm.Parallel(tp=8, kv_split=8), pm.Cluster.load("dgx-h100", devices=8), concurrency=8)


def passes_of_a_server(rate: float, service: float, alone: float, together: int) -> float:
    """Mean wait, by playing it: random arrivals, and passes that take in what came before they began."""
    rng = np.random.default_rng(7)
    arrivals = np.cumsum(rng.exponential(1 / rate, 20_000))
    clock, at, waits = 0.0, 0, []
    while at < len(arrivals):
        here = min(int(np.searchsorted(arrivals, clock, side="right")) - at, together)
        waits += [clock - arrivals[at + n] + (here - 1) * service for n in range(here)]
        clock, at = clock + alone + service * here, at + here
    return float(np.mean(waits))


@pytest.mark.parametrize("busy", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("together", [1, 1000])
def test_the_wait_for_passes_is_that_of_a_server_played_through(busy, together):
    service, alone = 0.1, 0.01
    rate = busy / service
    played = passes_of_a_server(rate, service, alone, together)
    told = gated_wait(rate=rate, service=service, passing=alone / (1 - busy), together=together)
    assert told == pytest.approx(played, rel=0.3)


def test_one_user_waits_for_nobody():
    alone = served(concurrency=1, requests_per_user=None)
    assert alone.state.waits == 0
    assert alone.ttft == alone.state.prefill


def test_a_pool_that_fills_caches_bounds_the_load_of_those_that_decode():
    """One of eight replicas prefills: no more requests than it has time for, however many users there are."""
    node = pm.Cluster.of("h100", 8)
    load = {"input_length": 8192, "output_length": 32, "prefill_replicas": 1, "requests_per_user": None}
    few, many = (served(pm.Parallel(), node, concurrency=n, **load) for n in (256, 512))
    pool = 1 / (few.state.prefill - few.efficiency.host.request)
    assert many.requests_per_second <= pool * 1.05
    assert many.requests_per_second == pytest.approx(few.requests_per_second, rel=0.01)
    assert many.ttft > 1.5 * few.ttft
    with pytest.raises(InputError, match="1 replicas that prefill"):
        served(pm.Parallel(), node, **{**load, "request_rate": 50.0})
