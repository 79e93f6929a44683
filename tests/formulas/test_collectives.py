"""Collectives: values worked by hand, one rank and no payload, and how they scale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.formulas.collectives import (
    all_reduce_factor,
    alpha_beta,
    gather_factor,
    ring_all_gather,
    ring_all_reduce,
    send,
    smooth_alpha_beta,
    torus_all_gather,
)

RANKS = st.integers(1, 4096)
PAYLOAD = st.floats(1, 1e12)
RATE = st.floats(1e8, 1e13)
LATENCY = st.floats(1e-8, 1e-3)
FACTOR = st.floats(0.01, 100)
RINGS = (ring_all_reduce, ring_all_gather)


def ring(algorithm=ring_all_gather, **changes):
    given_ = {"payload": 4096.0, "ranks": 4, "bandwidth": 1024.0, "latency": 0.5} | changes
    return algorithm(**given_)


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_factors_by_hand():
    # a ring all-reduce of 4 ranks: 3 steps to reduce and 3 to gather, a quarter of the buffer each
    assert all_reduce_factor(ranks=4) == 6 / 4
    assert gather_factor(ranks=4) == 3 / 4
    assert all_reduce_factor(ranks=2) == 1.0


def test_rings_by_hand():
    # 4 ranks, 4096 B: pieces of 1024 B take 1 s each at 1024 B/s, with 0.5 s of latency a step
    assert ring(ring_all_gather) == 3 * (0.5 + 1.0)
    assert ring(ring_all_reduce) == 6 * (0.5 + 1.0)


def test_alpha_beta_and_send_by_hand():
    assert alpha_beta(steps=3, traffic=3072.0, bandwidth=1024.0, latency=0.5) == 1.5 + 3.0
    assert send(payload=2048.0, bandwidth=1024.0, latency=0.5) == 2.5


def test_torus_by_hand():
    # 16 devices, 4 x 4: along each axis 4 hops round the ring, both ways at once, so 2; of 2 axes that is 4 hops, less
    # the share that is there already: 4 · 15/16 = 3.75. The result comes in over 4 links: 1024 · 15/16 / 4 = 240
    one = {"payload": 1024.0, "ranks": 16, "axes": 2, "link_bandwidth": 1.0}
    assert torus_all_gather(**one, latency=0.0) == 240.0
    assert torus_all_gather(**one, latency=100.0) == 375.0
    # one axis of 8: 7/8 of the result over two links
    assert torus_all_gather(payload=1024.0, ranks=8, axes=1, link_bandwidth=1.0, latency=0.0) == 448.0


def test_smooth_alpha_beta_by_hand():
    shape = {"start": 1.0, "steps": 2, "latency": 1.0, "traffic": 4.0, "bandwidth": 1.0}
    assert smooth_alpha_beta(**shape, exponent=2.0) == 5.0  # (3, 4, 5)
    assert smooth_alpha_beta(**shape, exponent=1.0) == 7.0
    # (sqrt 3 + 2)^2 = 7 + 4 sqrt 3
    assert smooth_alpha_beta(**shape, exponent=0.5) == pytest.approx(7 + 4 * 3**0.5, rel=1e-14)


# --- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", RINGS)
def test_one_rank_takes_no_time(algorithm):
    assert ring(algorithm, ranks=1) == 0.0


def test_one_rank_sends_nothing():
    assert all_reduce_factor(ranks=1) == 0.0
    assert gather_factor(ranks=1) == 0.0
    assert torus_all_gather(payload=1e9, ranks=1, axes=1, link_bandwidth=1e9, latency=1.0) == 0.0


@pytest.mark.parametrize("algorithm", RINGS)
def test_no_payload_leaves_the_latency(algorithm):
    steps = {ring_all_gather: 7, ring_all_reduce: 14}[algorithm]
    assert ring(algorithm, payload=0.0, ranks=8) == steps * 0.5


@given(latency=LATENCY, exponent=st.floats(0.3, 10))
def test_no_traffic_leaves_the_start(latency, exponent):
    found = smooth_alpha_beta(
        start=1e-5, steps=3, latency=latency, traffic=0.0, bandwidth=1e9, exponent=exponent
    )
    assert found == pytest.approx(1e-5 + 3 * latency, rel=1e-9)


@given(ranks=st.integers(2, 10**6))
def test_many_ranks_send_the_buffer_once_or_twice(ranks):
    assert 1 / 2 <= gather_factor(ranks=ranks) < 1
    assert all_reduce_factor(ranks=ranks) == pytest.approx(2 * gather_factor(ranks=ranks), rel=1e-15)


# --- scaling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", RINGS)
@given(payload=PAYLOAD, ranks=RANKS, bandwidth=RATE)
def test_twice_the_bandwidth_halves_the_bandwidth_term(algorithm, payload, ranks, bandwidth):
    slow = algorithm(payload=payload, ranks=ranks, bandwidth=bandwidth, latency=0.0)
    assert algorithm(payload=payload, ranks=ranks, bandwidth=2 * bandwidth, latency=0.0) == slow / 2


@pytest.mark.parametrize("algorithm", RINGS)
@given(payload=PAYLOAD, ranks=RANKS, bandwidth=RATE, latency=LATENCY, factor=FACTOR)
def test_slower_in_every_way_is_slower_by_as_much(algorithm, payload, ranks, bandwidth, latency, factor):
    base = algorithm(payload=payload, ranks=ranks, bandwidth=bandwidth, latency=latency)
    slower = algorithm(payload=payload, ranks=ranks, bandwidth=bandwidth / factor, latency=latency * factor)
    assert slower == pytest.approx(factor * base, rel=1e-12)


@given(payload=PAYLOAD, ranks=RANKS, bandwidth=RATE, latency=LATENCY)
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(payload, ranks, bandwidth, latency):
    shape = {"payload": payload, "ranks": ranks, "bandwidth": bandwidth, "latency": latency}
    assert ring_all_reduce(**shape) == pytest.approx(2 * ring_all_gather(**shape), rel=1e-12)


@given(
    payload=PAYLOAD, ranks=st.integers(2, 4096), bandwidth=RATE, latency=LATENCY, exponent=st.floats(0.3, 20)
)
def test_the_smooth_form_joins_what_the_linear_one_adds(payload, ranks, bandwidth, latency, exponent):
    traffic = payload * gather_factor(ranks=ranks)
    steps = {"steps": ranks - 1, "traffic": traffic, "bandwidth": bandwidth, "latency": latency}
    linear, smooth = alpha_beta(**steps), smooth_alpha_beta(**steps, start=0.0, exponent=exponent)
    if exponent >= 1:
        assert max((ranks - 1) * latency, traffic / bandwidth) <= smooth * (1 + 1e-12)
        assert smooth <= linear * (1 + 1e-12)
    else:
        assert smooth >= linear * (1 - 1e-12)
    assert smooth_alpha_beta(**steps, start=0.0, exponent=1.0) == pytest.approx(linear, rel=1e-12)


@given(side=st.integers(2, 32), axes=st.integers(1, 3), payload=PAYLOAD, rate=RATE)
def test_more_axes_share_the_traffic(side, axes, payload, rate):
    one = torus_all_gather(payload=payload, ranks=side**axes, axes=1, link_bandwidth=rate, latency=0.0)
    several = torus_all_gather(payload=payload, ranks=side**axes, axes=axes, link_bandwidth=rate, latency=0.0)
    assert several == pytest.approx(one / axes, rel=1e-12)


@given(payload=PAYLOAD, bandwidth=RATE, latency=LATENCY, factor=st.floats(1, 100))
def test_a_message_is_as_long_as_its_bytes(payload, bandwidth, latency, factor):
    base = send(payload=payload, bandwidth=bandwidth, latency=latency)
    longer = send(payload=factor * payload, bandwidth=bandwidth, latency=latency)
    assert longer - base == pytest.approx((factor - 1) * payload / bandwidth, rel=1e-6, abs=1e-9 * base)
