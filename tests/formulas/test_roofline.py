"""Roofline and its smooth form: values worked by hand, limits, and how they scale."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.formulas.roofline import (
    arithmetic_intensity,
    flash_attention_flops,
    operator_time,
    roofline_time,
    smooth_maximum,
    smooth_parts,
)

TIME = st.floats(1e-9, 1e3)
COUNT = st.floats(1, 1e18)
RATE = st.floats(1e9, 1e16)
EXPONENT = st.floats(0.3, 12)
FACTOR = st.floats(0.01, 100)

KERNEL = {
    "flops": 6.0, "memory_bytes": 4.0, "peak": 4.0, "bandwidth": 2.0, "compute_efficiency": 0.5,
    "memory_efficiency": 0.5, "latency": 2.0, "exponent": 2.0,
}  # fmt: skip
TILES = {
    "sequences": 2,
    "heads": 3,
    "head_dim": 8,
    "queries": 8,
    "pairs": 36,
    "products": 2,
    "softmax_dims": 0,
    "tile": 4,
}


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_intensity_and_roofline_by_hand():
    assert arithmetic_intensity(flops=12.0, memory_bytes=4.0) == 3.0
    # 12 FLOP at 3 FLOP/s take 4 s; 10 B at 2 B/s take 5 s: memory-bound
    assert roofline_time(flops=12.0, memory_bytes=10.0, peak=3.0, bandwidth=2.0) == 5.0
    assert roofline_time(flops=18.0, memory_bytes=10.0, peak=3.0, bandwidth=2.0) == 6.0


def test_smooth_maximum_by_hand():
    assert smooth_maximum(a=5.0, b=12.0, exponent=2.0) == 13.0
    assert smooth_maximum(a=5.0, b=12.0, exponent=1.0) == 17.0
    assert smooth_maximum(a=4.0, b=9.0, exponent=0.5) == 25.0  # (2 + 3)^2
    assert smooth_maximum(a=1.0, b=1.0, exponent=2.0) == pytest.approx(math.sqrt(2), rel=1e-15)


def test_smooth_parts_by_hand():
    # 13 · (5/13)^2 = 25/13, and the rest 144/13
    whole, part = smooth_parts(a=5.0, b=12.0, exponent=2.0)
    assert (whole, part) == (13.0, pytest.approx(25 / 13, rel=1e-15))


def test_operator_time_by_hand():
    # compute 6 / (0.5 · 4) = 3 s, memory 4 / (0.5 · 2) = 4 s, hypotenuse 5 s, and 2 s to start
    assert operator_time(**KERNEL) == 7.0


def test_flash_attention_flops_by_hand():
    # 8 queries are 2 whole tiles of 4; each row wastes half a tile: 36 + 8 · 2 = 52 pairs,
    # 2 products of 2 · 8 FLOP each, for 3 heads of 2 sequences
    assert flash_attention_flops(**TILES) == 2 * (2 * 8) * 52 * 3 * 2
    # 9 queries are 3 tiles, so 12 rows
    assert flash_attention_flops(**TILES | {"queries": 9}) == 2 * (2 * 8) * (36 + 12 * 2) * 3 * 2
    # an exponential that costs 4 dimensions makes every pair 12 wide instead of 8
    assert flash_attention_flops(**TILES | {"softmax_dims": 4}) == 1.5 * flash_attention_flops(**TILES)


# --- limits -------------------------------------------------------------------------------------------------------


def test_no_work_takes_no_time():
    assert roofline_time(flops=0.0, memory_bytes=0.0, peak=1e15, bandwidth=1e12) == 0.0
    assert smooth_maximum(a=0.0, b=0.0, exponent=2.0) == 0.0
    assert smooth_parts(a=0.0, b=0.0, exponent=0.6) == (0.0, 0.0)
    assert operator_time(**KERNEL | {"flops": 0.0, "memory_bytes": 0.0}) == 2.0  # but its start


@given(a=TIME, exponent=EXPONENT)
def test_one_time_alone_is_the_whole(a, exponent):
    assert smooth_maximum(a=a, b=0.0, exponent=exponent) == pytest.approx(a, rel=1e-12)
    assert smooth_parts(a=a, b=0.0, exponent=exponent) == pytest.approx((a, a), rel=1e-12)
    assert smooth_parts(a=0.0, b=a, exponent=exponent) == pytest.approx((a, 0.0), rel=1e-12)


@given(a=st.floats(0.1, 10), b=st.floats(0.1, 10))
def test_a_large_exponent_is_the_maximum(a, b):
    assert smooth_maximum(a=a, b=b, exponent=200.0) == pytest.approx(max(a, b), rel=0.004)  # 2^(1/200)


@given(flops=COUNT, memory_bytes=COUNT, peak=RATE, bandwidth=RATE)
def test_an_ideal_operator_is_the_roofline(flops, memory_bytes, peak, bandwidth):
    shape = {"flops": flops, "memory_bytes": memory_bytes, "peak": peak, "bandwidth": bandwidth}
    ideal = {"compute_efficiency": 1.0, "memory_efficiency": 1.0, "latency": 0.0}
    least = roofline_time(**shape)
    assert (
        least * (1 - 1e-12)
        <= operator_time(**shape, **ideal, exponent=8.0)
        <= 2 ** (1 / 8) * least * (1 + 1e-12)
    )


def test_an_endless_tile_less_kernel_counts_the_pairs():
    small = flash_attention_flops(**TILES | {"tile": 1e-9})
    assert small == pytest.approx(2 * (2 * 8) * 36 * 3 * 2, rel=1e-8)


# --- scaling ------------------------------------------------------------------------------------------------------


@given(a=TIME, b=TIME, exponent=st.floats(1, 12))
def test_the_smooth_maximum_lies_between_maximum_and_sum(a, b, exponent):
    found = smooth_maximum(a=a, b=b, exponent=exponent)
    assert max(a, b) * (1 - 1e-12) <= found <= (a + b) * (1 + 1e-12)


@given(a=TIME, b=TIME, exponent=st.floats(0.3, 1))
def test_below_one_it_is_softer_than_a_sum(a, b, exponent):
    assert smooth_maximum(a=a, b=b, exponent=exponent) >= (a + b) * (1 - 1e-12)


@given(a=TIME, b=TIME, low=EXPONENT, high=EXPONENT)
def test_a_sharper_ridge_is_never_slower(a, b, low, high):
    low, high = sorted((low, high))
    sharp, soft = (smooth_maximum(a=a, b=b, exponent=exponent) for exponent in (high, low))
    assert sharp <= soft * (1 + 1e-12)


@given(a=TIME, b=TIME, exponent=EXPONENT, factor=FACTOR)
def test_it_is_symmetric_and_homogeneous_of_degree_one(a, b, exponent, factor):
    base = smooth_maximum(a=a, b=b, exponent=exponent)
    assert smooth_maximum(a=b, b=a, exponent=exponent) == pytest.approx(base, rel=1e-12)
    assert smooth_maximum(a=factor * a, b=factor * b, exponent=exponent) == pytest.approx(
        factor * base, rel=1e-9
    )


@given(a=TIME, b=TIME, exponent=EXPONENT)
def test_the_parts_add_up(a, b, exponent):
    whole, of_a = smooth_parts(a=a, b=b, exponent=exponent)
    _, of_b = smooth_parts(a=b, b=a, exponent=exponent)
    assert whole == smooth_maximum(a=a, b=b, exponent=exponent)
    assert of_a + of_b == pytest.approx(whole, rel=1e-9)
    assert 0 <= of_a <= whole


@given(a=st.floats(0.1, 10), b=st.floats(0.1, 10), exponent=st.floats(0.5, 6))
def test_a_part_is_the_elasticity_times_the_whole(a, b, exponent):
    step = 1e-6
    up, down = (smooth_maximum(a=a * (1 + h), b=b, exponent=exponent) for h in (step, -step))
    assert smooth_parts(a=a, b=b, exponent=exponent)[1] == pytest.approx(
        (up - down) / (2 * step), rel=1e-4, abs=1e-7
    )


@given(flops=COUNT, memory_bytes=COUNT, peak=RATE, bandwidth=RATE, factor=FACTOR)
def test_the_roofline_turns_at_the_machine_balance(flops, memory_bytes, peak, bandwidth, factor):
    time = roofline_time(flops=flops, memory_bytes=memory_bytes, peak=peak, bandwidth=bandwidth)
    if arithmetic_intensity(flops=flops, memory_bytes=memory_bytes) >= peak / bandwidth:
        assert time == pytest.approx(flops / peak, rel=1e-12)
    else:
        assert time == pytest.approx(memory_bytes / bandwidth, rel=1e-12)
    slower = roofline_time(
        flops=flops, memory_bytes=memory_bytes, peak=peak / factor, bandwidth=bandwidth / factor
    )
    assert slower == pytest.approx(factor * time, rel=1e-12)


@given(
    flops=COUNT, memory_bytes=COUNT, peak=RATE, bandwidth=RATE, latency=st.floats(0, 1e-4), exponent=EXPONENT,
    efficiency=st.floats(0.05, 1), factor=FACTOR,
)  # fmt: skip
def test_a_kernel_on_a_machine_slower_in_every_way(
    flops, memory_bytes, peak, bandwidth, latency, exponent, efficiency, factor
):
    fixed = {
        "flops": flops, "memory_bytes": memory_bytes, "exponent": exponent, "compute_efficiency": efficiency,
        "memory_efficiency": efficiency,
    }  # fmt: skip
    base = operator_time(**fixed, peak=peak, bandwidth=bandwidth, latency=latency)
    slower = operator_time(
        **fixed, peak=peak / factor, bandwidth=bandwidth / factor, latency=latency * factor
    )
    assert slower == pytest.approx(factor * base, rel=1e-9)
    # an efficiency is a share of the rate, nothing else
    halved = operator_time(**fixed | {"compute_efficiency": efficiency / 2, "memory_efficiency": efficiency / 2},
                           peak=2 * peak, bandwidth=2 * bandwidth, latency=latency)  # fmt: skip
    assert halved == pytest.approx(base, rel=1e-12)


@given(
    sequences=st.integers(1, 64),
    heads=st.integers(1, 128),
    queries=st.integers(1, 10**5),
    tile=st.sampled_from([64, 128]),
)
def test_attention_scales_with_its_batch_and_never_drops_below_its_pairs(sequences, heads, queries, tile):
    pairs = queries * (queries + 1) / 2
    shape = {"head_dim": 128, "queries": queries, "pairs": pairs, "softmax_dims": 0, "tile": tile}
    one = flash_attention_flops(**shape, sequences=1, heads=1, products=2)
    assert (
        flash_attention_flops(**shape, sequences=sequences, heads=heads, products=2)
        == one * sequences * heads
    )
    assert flash_attention_flops(**shape, sequences=1, heads=1, products=5) == 2.5 * one
    assert one >= 4 * 128 * pairs


@given(tiles=st.integers(1, 1000), tile=st.sampled_from([16, 64, 128]))
def test_a_causal_kernel_computes_the_tiles_that_the_triangle_touches(tiles, tile):
    """A triangle of n by n tiles touches n (n + 1) / 2; half a tile a row is that and half of the diagonal again."""
    queries = tiles * tile
    shape = {"sequences": 1, "heads": 1, "head_dim": 128, "products": 2, "softmax_dims": 0, "tile": tile}
    found = flash_attention_flops(**shape, queries=queries, pairs=queries * (queries + 1) / 2)
    assert found == 4 * 128 * (tile**2 * tiles * (tiles + 1) / 2 + queries / 2)
