"""Fits: every bundled set is whole and sourced, each architecture has one, and nonsense is refused."""

import math

import pytest
import yaml

from perfmodel.calibration.paths import with_values
from perfmodel.costs import training_costs
from perfmodel.decoder import decoder
from perfmodel.efficiency import (
    CollectiveFit,
    Efficiency,
    MatmulFit,
    OverlapFit,
    StreamFit,
    efficiencies,
)
from perfmodel.efficiency.sets import CATALOGUE
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.estimation.machine import machine
from perfmodel.estimation.operators import attention_seconds, matmul_seconds, stream_seconds
from perfmodel.formulas.roofline import operator_time, split_walk_time
from perfmodel.hardware import Cluster, Device, devices
from perfmodel.parallel import Parallel
from perfmodel.work import Attention, Matmul, Stream, leaves
from perfmodel.workload import Training
from tests.conftest import ROOT
from tests.strategies import cluster, device, gpt, ideal

SETS = sorted(efficiencies())
TIERS = ("scale_up", "node", "fabric")


@pytest.fixture(params=SETS)
def fits(request):
    return Efficiency.load(request.param)


# --- the bundled sets ---------------------------------------------------------------------------------------------


def test_some_sets_are_bundled():
    assert {"universal", "hopper", "ampere", "blackwell", "tpu"} <= set(SETS)
    assert all(efficiencies().values())  # each with its origin


def test_a_set_says_where_it_comes_from_and_how_well_it_holds(fits):
    assert all(source.strip() for source in fits.sources)
    assert fits.residual.strip()
    assert fits.confidence in {"datasheet", "secondary", "estimate"}


def test_a_set_serves_every_format_tier_and_kernel(fits):
    for dtype in ("bf16", "fp16", "tf32", "fp32", "fp8"):
        assert 0 < fits.matmul_for(dtype).compute <= 1
    for tier in TIERS:
        assert fits.collective_for(tier).send > 0
    assert fits.stream.memory["copy"] > 0
    assert all(0 < share <= 1.2 for share in fits.stream.memory.values())


def test_a_set_lists_the_kinds_of_streams_that_layers_ask_for(fits):
    """A kind with a slip of the pen would silently run at the rate of a copy."""
    work = Training(global_batch=8, sequence_length=64, attention="unfused", dropout=True)
    asked = {"copy"}
    for model in (gpt(), decoder(layers=1, hidden=64, heads=4, inner=96, vocabulary=128)):
        asked |= {
            leaf.kind
            for leaf in leaves(training_costs(model, work, Parallel(dp=1)).tree)
            if isinstance(leaf, Stream)
        }
    assert set(fits.stream.memory) <= asked


def test_what_is_unverified_is_a_field(fits):
    for path in fits.unverified:
        if path == "all":
            continue
        value = fits
        for part in path.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)


def test_latencies_are_those_of_kernels_and_messages(fits):
    """Between nothing and a millisecond: a wrong unit would show."""
    kernels = [*fits.matmul.values(), fits.attention, fits.stream]
    for latency in (fit.latency for fit in kernels):
        assert 0 <= latency <= 1e-4
    for fit in fits.collective.values():
        assert 0 <= fit.step <= fit.start + 1e-5 <= 1e-3
    assert 0 <= fits.host.launch <= 1e-4
    assert 0 <= fits.overhead.context + fits.overhead.communication <= 8 * 2**30


def test_an_outer_tier_is_not_quicker_than_an_inner_one(fits):
    inner, outer = fits.collective_for("scale_up"), fits.collective_for("fabric")
    assert inner.start <= outer.start
    assert inner.step <= outer.step


# --- which set a device gets --------------------------------------------------------------------------------------


def test_no_architecture_has_two_sets():
    claimed = [name.lower() for one in map(Efficiency.load, SETS) for name in one.architectures]
    assert len(claimed) == len(set(claimed))


def test_every_device_gets_a_set():
    for name in devices():
        architecture = Device.load(name).architecture
        assert Efficiency.of(architecture).id in SETS


def test_every_claimed_architecture_is_that_of_a_device():
    """A set for an architecture that no device names would never be used."""
    known = {Device.load(name).architecture.lower() for name in devices()}
    for one in map(Efficiency.load, SETS):
        assert {name.lower() for name in one.architectures} <= known, one.id


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("h100", "hopper"),
        ("a100-sxm-80gb", "ampere"),
        ("b200", "blackwell"),
        ("tpu-v5p", "tpu"),
        ("mi300x", "cdna3"),
    ],
)
def test_devices_get_the_set_of_their_architecture(device, name):
    architecture = Device.load(device).architecture
    assert Efficiency.of(architecture).id == Efficiency.of(architecture.upper()).id == name


def test_a_device_has_its_own_constants_where_it_was_measured():
    whole, own = Efficiency.of("Ampere"), Efficiency.of("Ampere", device="nvidia-a40")
    assert own.id == "ampere.nvidia-a40" and own.on == {}
    assert own.stream.memory["norm"] != whole.stream.memory["norm"]
    assert own.stream.memory["copy"] == whole.stream.memory["copy"]
    assert own.matmul == whole.matmul
    assert Efficiency.of("Ampere", device="nvidia-a10").stream == own.stream  # the same chip
    assert Efficiency.of("Ampere", device="nvidia-a30") == whole
    assert Efficiency.of("Ampere", "nemo", device="nvidia-a40").id == "ampere.nvidia-a40+nemo"
    assert Efficiency.serving("Ampere", device="nvidia-a40").stream.latency != whole.stream.latency


def test_every_device_with_constants_of_its_own_is_known():
    for one in map(Efficiency.load, SETS):
        for name in one.on:
            assert Device.load(name).id == name
            assert Device.load(name).architecture in one.architectures


def test_constants_of_a_device_are_checked():
    with pytest.raises(InputError, match="inner_stride"):
        ideal(on={"some-device": {"matmul": {"default": {"inner_stride": 1}}}})


def test_an_unknown_chip_gets_the_universal_set():
    assert Efficiency.of("some new chip").id == "universal"
    assert Efficiency.load("universal").architectures == ()


# --- looking up ---------------------------------------------------------------------------------------------------


def test_a_wrong_name_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match='unknown efficiency "hoper"; did you mean hopper'):
        Efficiency.load("hoper")


def test_a_listed_format_or_tier_goes_before_the_default():
    fits = ideal(collective={"fabric": {"send": 0.5}})
    assert fits.collective_for("fabric").send == 0.5
    assert fits.collective_for("scale_up").send == 1
    own = fits.replace(matmul={"fp8": {"compute": 0.5, "memory": 1, "latency": 0, "exponent": 1}})
    assert own.matmul_for("fp8").compute == 0.5
    with pytest.raises(UnknownNameError, match='unknown matmul format "bf16"; valid: fp8'):
        own.matmul_for("bf16")


def test_a_set_of_ones_own_is_a_file(tmp_path):
    bundled = next((ROOT / "hardware_specs" / "efficiency").glob("universal.yaml"))
    fields = yaml.safe_load(bundled.read_text(encoding="utf-8"))
    fields |= {"id": "mine", "host": {"launch": "3 us"}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    mine = Efficiency.load(str(path))
    assert mine.host.launch == 3e-6
    assert mine.attention == Efficiency.load("universal").attention
    assert CATALOGUE.kind == "efficiency"


# --- nonsense -----------------------------------------------------------------------------------------------------

MATMUL = {"compute": 0.8, "memory": 0.8, "latency": "3 us", "exponent": 2.0}


@pytest.mark.parametrize("field", ["compute", "memory", "exponent", "sustained", "accumulate"])
@pytest.mark.parametrize("value", [0, -1, 5e9, math.nan, "0.8", True, None])
def test_fractions_outside_their_range_are_refused(field, value):
    if field == "exponent" and value == 5e9:
        return  # as sharp as one likes
    with pytest.raises(InputError, match=field):
        MatmulFit(**(MATMUL | {field: value}))


@pytest.mark.parametrize("value", ["3 GB", "3", "-3 us", -1, math.nan, None])
def test_latencies_need_a_unit_of_time(value):
    with pytest.raises(InputError, match="latency"):
        MatmulFit(**(MATMUL | {"latency": value}))


def test_latencies_are_read_with_their_unit():
    assert MatmulFit(**MATMUL).latency == 3e-6
    assert MatmulFit(**(MATMUL | {"latency": 3e-6})) == MatmulFit(**MATMUL)


def test_a_slowdown_takes_at_most_all_of_compute():
    assert OverlapFit(slowdown=1).slowdown == 1
    with pytest.raises(InputError, match="slowdown must be less than or equal to 1"):
        OverlapFit(slowdown=1.01)


def test_a_typing_error_is_told():
    with pytest.raises(InputError, match='unknown field "allgather"; did you mean all_gather'):
        CollectiveFit(
            start=0, step=0, exponent=1, all_reduce=1, in_network=1, allgather=1, all_to_all=1, send=1
        )


# --- what the constants do ----------------------------------------------------------------------------------------


def test_constants_of_a_product_by_hand():
    """2^34 FLOP at a quarter of 2^34 / 3 FLOP/s are 12 s, 3 · 2^23 bytes at half of 3 · 2^21 B/s 8 s; ridge of two."""
    on = cluster(1)
    on = on.replace(device=on.device.replace(peak={"bf16": 2.0**34 / 3}, memory__bandwidth=3.0 * 2**21))
    fits = ideal(
        matmul={"default": {"compute": 0.5, "memory": 0.5, "latency": 2, "exponent": 2, "sustained": 0.5}}
    )
    product = Matmul("product", 2**11, 2**11, 2**11)
    whole, parts = matmul_seconds(product, machine(on, fits, ("bf16",)))
    compute, memory = 2 * 2**33 / (2.0**34 / 3 / 4), 3 * 2**23 / (3.0 * 2**21 / 2)
    assert (compute, memory) == (12.0, 8.0)
    assert whole == pytest.approx(2 + math.hypot(12, 8), rel=1e-12)
    assert parts["kernel_latency"] == 2
    assert parts["compute"] == pytest.approx(144 / math.hypot(12, 8), rel=1e-12)
    assert parts["memory_bandwidth"] == pytest.approx(64 / math.hypot(12, 8), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 4096, 4096), (128, 1024, 8192), (8192, 8192, 8192)])
def test_a_product_is_the_published_formula(shape, fits):
    on = machine(cluster(1), fits, ("bf16",))
    m, n, k = shape
    fit = fits.matmul_for("bf16")
    expected = operator_time(
        flops=2.0 * m * n * k, memory_bytes=2.0 * (m * k + k * n + m * n), peak=on.peak["bf16"], bandwidth=on.bandwidth,
        compute_efficiency=fit.compute * fit.sustained, memory_efficiency=fit.memory, latency=fit.latency,
        exponent=fit.exponent,
    )  # fmt: skip
    walk = split_walk_time(length=k, step=fit.inner_step, split=fit.inner_split)
    walk /= 1 + max(m, fit.tile) * n / fit.wave  # a tile has its rows, however few are there
    busy, start, sharp = expected - fit.latency, fit.latency, fit.walk_exponent
    expected = start + (busy**sharp + walk**sharp) ** (1 / sharp)
    assert matmul_seconds(Matmul("product", m, n, k), on)[0] == pytest.approx(expected, rel=1e-12)


def test_an_accumulating_product_runs_at_its_own_rate():
    fits = ideal(
        matmul={"default": {"compute": 1, "memory": 1, "latency": 0, "exponent": 1, "accumulate": 0.5}}
    )
    on = machine(cluster(1), fits, ("bf16",))
    plain = matmul_seconds(Matmul("product", 512, 512, 512, result_bytes=0), on)[1]["compute"]
    added = matmul_seconds(Matmul("product", 512, 512, 512, result_bytes=0, accumulate=True), on)[1][
        "compute"
    ]
    assert added == pytest.approx(2 * plain, rel=1e-12)


def test_constants_of_attention_by_hand():
    """16 queries are one tile of 16: 136 causal pairs and half a tile a row; an exponential costs 8 of 8 dimensions."""
    fits = ideal(
        attention={
            "compute": 0.5,
            "backward": 0.25,
            "memory": 1,
            "latency": 3,
            "exponent": 1,
            "softmax_dims": 8,
            "tile": 16,
        }
    )
    on = machine(cluster(1), fits, ("bf16",))
    shape = {
        "sequences": 1,
        "heads": 1,
        "kv_heads": 1,
        "head_dim": 8,
        "queries": 16,
        "keys": 16,
        "pairs": 136,
    }
    forward = 2 * 2 * (8 + 8) * (136 + 8 * 16)
    whole, parts = attention_seconds(Attention("core", **shape), on)
    assert parts["compute"] == pytest.approx(forward / (0.5 * 1e15), rel=1e-12)
    assert parts["memory_bandwidth"] == pytest.approx(4 * 16 * 8 * 2 / 2e12, rel=1e-9)
    assert (parts["kernel_latency"], whole) == (3, pytest.approx(3))
    backward = attention_seconds(Attention("core", **shape, backward=True), on)[1]
    assert backward["compute"] == pytest.approx(2.5 * forward / (0.5 * 0.25 * 1e15), rel=1e-12)


def test_a_long_inner_length_is_split():
    """An element of 1000 takes 2 ns: alone 2 us, beside as many again that are split half of it a time more."""
    fits = ideal(
        matmul={"default": {"compute": 1, "memory": 1, "latency": 1e-6, "exponent": 1, "inner_step": 2e-9,
                            "inner_split": 1000}}
    )  # fmt: skip
    on = machine(cluster(1), fits, ("bf16",))
    for inner, seconds in ((0, 0), (1000, 1e-6), (1e9, 2e-6)):
        parts = matmul_seconds(Matmul("product", 1, 1, inner), on)[1]
        assert parts["kernel_latency"] == pytest.approx(1e-6 + seconds, rel=1e-5)
    changed = with_values(fits, {"matmul.default.wave": 400.0, "matmul.default.tile": 10.0})
    few = machine(cluster(1), changed, ("bf16",))
    for batch, share in (
        (1, 4 / 5),
        (12, 1 / 4),
    ):  # results of 100 elements: a fourth of what fills the device
        parts = matmul_seconds(Matmul("product", 10, 10, 1000, batch=batch), few)[1]
        assert parts["kernel_latency"] == pytest.approx(1e-6 + share * 1e-6)


def test_what_is_measured_alone_lies_in_the_cache():
    """Half of what is as large as the cache's share is found there, at twice the rate; in a long run nothing is."""
    fits = ideal(
        matmul={
            "default": {
                "compute": 1,
                "memory": 1,
                "latency": 0,
                "exponent": 1,
                "cached": 2,
                "cache_share": 0.5,
            }
        }
    )
    own = cluster(1, device=device(l2=2 * 3 * 2 * 2**20))
    product = Matmul("product", 2**10, 2**10, 2**10)
    alone, run = (machine(own, fits, ("bf16",), settled=settled) for settled in (False, True))
    moved = 3 * 2 * 2**20 / 2e12
    assert matmul_seconds(product, run)[1]["memory_bandwidth"] == pytest.approx(moved)
    assert matmul_seconds(product, alone)[1]["memory_bandwidth"] == pytest.approx(0.75 * moved)
    assert (
        machine(cluster(1), fits, ("bf16",), settled=False).matmul["bf16"].cache is None
    )  # nobody knows its size


def test_a_decode_by_hand():
    """3 sequences of 2 key heads read 100 positions and begin 28 more; 100 positions of 1 ns each are half split."""
    fits = ideal(
        attention={"compute": 1, "backward": 1, "memory": 1, "latency": 0, "exponent": 1, "softmax_dims": 0,
                   "decode_latency": 1e-6, "decode_walk": 1e-9, "decode_split": 100, "decode_tile": 28,
                   "decode_narrow": 0.5}
    )  # fmt: skip
    on = machine(cluster(1), fits, ("bf16",))
    shape = {
        "sequences": 3,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "queries": 1,
        "keys": 100,
        "pairs": 100,
    }
    read = 3 * 16 * 2 * (4 * 2 + 128 * 2 * 2)
    parts = attention_seconds(Attention("core", **shape, decode=True), on)[1]
    assert parts["kernel_latency"] == pytest.approx(1.05e-6)
    assert parts["memory_bandwidth"] == pytest.approx(read / 2e12)
    narrow = attention_seconds(Attention("core", **shape, decode=True, kv_bytes=1), on)[1]
    assert narrow["memory_bandwidth"] == pytest.approx(3 * 16 * (2 * 4 * 2 + 128 * 2 * 2) / (0.5 * 2e12))


def test_the_walk_of_the_longest_tile():
    """Two tiles of one head take 2 ns each, 32 positions 1 ns each, half split; none where tiles go by keys."""
    fits = ideal(
        attention={"compute": 1, "backward": 0.5, "memory": 1, "latency": 0, "exponent": 1, "softmax_dims": 0,
                   "tile": 16, "block": 2e-9, "walk": 1e-9, "walk_split": 32}
    )  # fmt: skip
    on = machine(cluster(1), fits, ("bf16",))
    shape = {
        "sequences": 1,
        "heads": 1,
        "kv_heads": 1,
        "head_dim": 8,
        "queries": 32,
        "keys": 32,
        "pairs": 528,
    }
    forward, backward = (
        attention_seconds(Attention("core", **shape, backward=back), on)[1]["kernel_latency"]
        for back in (False, True)
    )
    assert forward == pytest.approx(2 * 2e-9 + 16e-9)
    assert backward == 0


def test_constants_of_streams_by_hand():
    fits = ideal(stream={"latency": 1e-6, "memory": {"copy": 1, "norm": 0.5}})
    on = machine(cluster(1), fits, ("bf16",))
    for kind, share in (("copy", 1), ("norm", 0.5), ("residual", 1)):  # what is not listed runs like a copy
        whole, parts = stream_seconds(Stream("stream", 4e6, kind, 3), on)
        assert parts == {
            "memory_bandwidth": pytest.approx(4e6 / (share * 2e12)),
            "kernel_latency": pytest.approx(3e-6),
        }
        assert whole == pytest.approx(sum(parts.values()))


@pytest.mark.parametrize("memory", [{"copy": 0.0}, {"copy": -0.5}, {"copy": 2.0}, {"norm": 0.5}, {}])
def test_a_stream_without_a_possible_copy_is_refused(memory):
    with pytest.raises(InputError, match="copy"):
        StreamFit(latency=1e-6, memory=memory)


def test_a_t4_holds_what_its_watts_allow():
    rate = machine(Cluster.of("t4", 1), Efficiency.of("Turing"), ("fp16",)).matmul["fp16"].flops
    assert rate == pytest.approx(24e12, rel=0.01)  # forums.developer.nvidia.com/t/264462
