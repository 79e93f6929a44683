"""Hardware: every bundled fact as in the golden file, tiers of well-known machines, errors that help."""

import json
import time
from math import prod
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import perfmodel  # noqa: F401  (registers every kind of spec)
from perfmodel import hardware, specs
from perfmodel.errors import InputError, SpecError, UnknownNameError, UnsupportedError
from perfmodel.hardware import Cluster, Device, Link, Node, Tier
from perfmodel.hardware.torus import closed_axes, slice_shape
from perfmodel.specs import catalogue, schemas

ROOT = Path(__file__).resolve().parent.parent
SPECS = ROOT / "hardware_specs"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "hardware.json").read_text(encoding="utf-8"))
CLASSES = {"devices": Device, "links": Link, "systems": Node}

DEVICE = {
    "id": "acme-one",
    "name": "Acme One",
    "vendor": "Acme",
    "architecture": "A1",
    "year": 2026,
    "kind": "npu",
    "peak": {"bf16": "100 TFLOP/s"},
    "memory": {"capacity": "32 GiB", "bandwidth": "1 TB/s"},
    "sources": ["a datasheet"],
    "confidence": "datasheet",
}


def at(spec, path):
    """The value at a dotted path; nothing where an owner is null."""
    for step in path.split("."):
        spec = None if spec is None else getattr(spec, step)
    return spec


def bundled(folder):
    return sorted((SPECS / folder).glob("*.yaml"))


# --- facts ----------------------------------------------------------------------------------------------------


@pytest.mark.golden
@pytest.mark.parametrize("kind", CLASSES)
def test_every_fact_is_the_golden_one(kind):
    """Every number to the last bit, every null a null, every unverified field told."""
    for name, golden in GOLDEN[kind].items():
        spec = CLASSES[kind].load(name)
        found = {path: at(spec, path) for path in golden["numbers"]}
        assert found == golden["numbers"], name
        assert spec.confidence == golden["confidence"]
        assert len(spec.sources) >= golden["sources"]
        assert set(golden["unverified"]) <= set(spec.unverified)


def test_all_are_bundled():
    assert len(hardware.devices()) >= len(GOLDEN["devices"]) == 125
    assert len(hardware.links()) >= len(GOLDEN["links"]) == 48
    assert len(hardware.systems()) >= len(GOLDEN["systems"]) == 44
    assert hardware.clusters() == hardware.systems()
    assert hardware.devices()["nvidia-h100-sxm-80gb"] == "bundled"


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [
        ("h100-sxm", "bf16", 989.4e12),
        ("h100-sxm", "fp8", 1978.9e12),
        ("h100-pcie", "bf16", 756e12),
        ("h200", "bf16", 989.4e12),
        ("a100-80gb", "bf16", 312e12),
        ("a100-80gb", "int8", 624e12),
        ("v100-pcie-16gb", "fp16", 112e12),
        ("b200", "bf16", 2250e12),
        ("gb200", "fp4", 10000e12),
        ("l40s", "bf16", 362e12),
        ("l4", "bf16", 121e12),
        ("mi300x", "bf16", 1307e12),
        ("mi250x", "bf16", 383e12),
        ("tpu-v4", "bf16", 275e12),
        ("tpu-v5e", "bf16", 197e12),
        ("tpu-v5p", "bf16", 459e12),
        ("trillium", "bf16", 918e12),
        ("trainium2", "bf16", 667e12),
    ],
)
def test_well_known_dense_peaks(name, dtype, peak):
    assert Device.load(name).peak_for(dtype) == pytest.approx(peak, rel=2e-3)


def test_well_known_bandwidths_are_one_direction():
    assert Device.load("h100").scale_up.bandwidth == Link.load("nvlink4").bandwidth == 450e9
    assert Device.load("a100-80gb").scale_up.bandwidth == 300e9
    assert Device.load("b200").scale_up.bandwidth == Link.load("nvlink5").bandwidth == 900e9
    assert Link.load("infiniband-ndr").bandwidth == 50e9
    assert Device.load("h100").memory_bandwidth == 3.35e12
    assert Device.load("h100").memory_capacity == 80 * 2**30
    assert Device.load("tpu-v5p").memory_bandwidth == 2765e9


def test_the_odd_facts_are_kept():
    assert Device.load("rtx-4090").fp16_acc16 == 330.3e12
    assert Device.load("gaudi3").achievable_bf16 == 1677e12
    assert Device.load("mi300x").llc == 256 * 2**20
    assert Device.load("sn40l").tier2.capacity == 1.5e12
    assert Device.load("tpu-v5p").scale_up.effective_per_link == 90e9
    assert "halved" in Device.load("trainium2").scale_up.note
    assert Device.load("nvidia-k80").unverified == ("sram_per_core_bytes",)
    tuning = specs.read_yaml(SPECS / "nccl_tuning.yaml")
    assert tuning["baseLatencies_us"]["Ring"] == [6.6, 14.0, 8.4]
    assert tuning["source"].startswith("NVIDIA/nccl@")
    assert specs.read_yaml(SPECS / "network_measured.yaml")["measured"]["p2p_write_GBps"]["h100"] == 376
    assert len(specs.read_yaml(SPECS / "storage.yaml")["storage"]) == 4


def test_switches_that_reduce_in_the_network_are_hopper_and_later():
    reducing = {
        device.architecture
        for device in map(Device.load, hardware.devices())
        if device.scale_up.in_network_reduction
    }
    assert reducing == {"Hopper", "Hopper+Grace", "Blackwell", "Blackwell Ultra", "Rubin"}


def test_every_system_has_a_bundled_device_and_loads_as_a_cluster():
    for name in hardware.systems():
        node = Node.load(name)
        cluster = Cluster.load(name)
        assert cluster.device.id == node.device
        assert cluster.tiers[-1].size == cluster.devices >= node.devices_per_node


@pytest.mark.parametrize("folder", ["devices", "links", "systems"])
def test_every_file_is_readable_by_an_editor(folder):
    """The first line names the schema, and the schema accepts the file."""
    for path in bundled(folder):
        named, _, body = path.read_text(encoding="utf-8").partition("\n")
        schema = (path.parent / named.removeprefix("# yaml-language-server: $schema=")).resolve()
        assert schema.parent == SPECS / "schema", path
        jsonschema.validate(yaml.safe_load(body), json.loads(schema.read_text(encoding="utf-8")))


def test_schemas_have_not_drifted():
    """To renew them: perfmodel.specs.write_schemas("hardware_specs/schema")."""
    assert schemas().keys() >= {"device", "efficiency", "link", "model", "system"}
    committed = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (SPECS / "schema").glob("*.json")
    }
    assert committed == json.loads(json.dumps(schemas()))


def test_loading_is_fast():
    def once(name):
        catalogue._cached.cache_clear()
        start = time.perf_counter()
        Device.load(name)
        return time.perf_counter() - start

    Device.load("h100")
    assert min(once("nvidia-h100-sxm-80gb") for _ in range(5)) < 3e-3
    assert min(once("h100") for _ in range(5)) < 15e-3


# --- devices --------------------------------------------------------------------------------------------------


def test_aliases_name_one_device_or_are_refused():
    for alias in ("h100", "H100 SXM", "nvidia_h100_80gb_hbm3", "NVIDIA H100 80GB HBM3"):
        assert Device.load(alias).id == "nvidia-h100-sxm-80gb"
    with pytest.raises(SpecError) as caught:
        Device.load("a100")
    assert str(caught.value) == (
        'the device "a100" is ambiguous; choose one of: nvidia-a100-pcie-40gb, nvidia-a100-pcie-80gb, '
        "nvidia-a100-sxm-40gb, nvidia-a100-sxm-80gb"
    )


def test_an_unknown_device_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError) as caught:
        Device.load("h1000")
    assert 'unknown device "h1000"; did you mean nvidia-h100-' in str(caught.value)
    assert "125 are known" in str(caught.value)


def test_peak_for_says_what_works():
    with pytest.raises(UnsupportedError) as caught:
        Device.load("a100-80gb").peak_for("fp8")
    assert str(caught.value) == (
        "nvidia-a100-sxm-80gb has no known peak in fp8; "
        "known: fp64, fp32, tf32, bf16, fp16, int8, int4; nearest: bf16"
    )
    with pytest.raises(UnknownNameError, match='unknown dtype "bf61"; did you mean bf16'):
        Device.load("h100").peak_for("bf61")


def test_what_is_unknown_is_asked_for():
    with pytest.raises(InputError, match="memory capacity of intel-xeon-8380 is unknown; give it: device"):
        _ = Device.load("intel-xeon-8380").memory_capacity
    assert Device.load("intel-xeon-8380").replace(memory__capacity="512 GiB").memory_capacity == 2**39


@pytest.mark.parametrize(
    ("name", "dtype", "headline", "dense"),
    [
        ("h100-sxm", "bf16", "1979 TFLOP/s", "989.4 TFLOP/s"),
        ("h100-sxm", "fp8", "3958 TFLOP/s", "1.979 PFLOP/s"),
        ("h100-pcie", "bf16", "1513 TFLOP/s", "756.0 TFLOP/s"),
        ("h200", "fp16", "1979 TFLOP/s", "989.4 TFLOP/s"),
        ("a100-80gb", "bf16", "624 TFLOP/s", "312.0 TFLOP/s"),
        ("b200", "bf16", "4500 TFLOP/s", "2.250 PFLOP/s"),
        ("l40s", "fp16", "733 TFLOP/s", "362.1 TFLOP/s"),
        ("l40", "bf16", "362.1 TFLOP/s", "181.1 TFLOP/s"),
        ("mi300x", "bf16", "2614.9 TFLOP/s", "1.307 PFLOP/s"),
    ],
)
def test_sparse_headlines_are_refused(name, dtype, headline, dense):
    with pytest.raises(SpecError) as caught:
        Device.load(name).replace(**{f"peak__{dtype}": headline})
    assert f"peak.{dtype}: " in str(caught.value)
    assert f"this is the 2:4 sparse headline; dense is {dense}" in str(caught.value)


def test_a_sparse_headline_is_refused_under_any_name():
    with pytest.raises(SpecError, match="this is the 2:4 sparse headline; dense is"):
        Device(**DEVICE | {"name": "My H100", "peak": {"bf16": 1979e12}})
    assert Device(**DEVICE | {"peak": {"bf16": 1979e12}}).peak.bf16 == 1979e12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": {"bandwith": 1}}, 'memory: unknown field "bandwith"; did you mean bandwidth?'),
        ({"peak": {"bf61": 1}}, 'peak: unknown field "bf61"; did you mean bf16?'),
        ({"sources": []}, "sources: a number needs a source"),
        ({"peak": {"bf16": "3 TFLOPS"}}, 'peak.bf16: "3 TFLOPS": unknown unit "TFLOPS"; write "3 TFLOP/s"'),
        ({"tdp": -1}, "tdp: -1 is negative"),
        (
            {"kind": "cpus"},
            "kind must be 'gpu', 'apu', 'npu', 'tpu' or 'cpu', not 'cpus'; did you mean 'cpu'?",
        ),
    ],
)
def test_a_wrong_device_is_one_clear_error(changes, message):
    with pytest.raises(SpecError) as caught:
        Device(**DEVICE | changes)
    assert str(caught.value).startswith('Device "acme-one": ')
    assert message in str(caught.value)


def test_own_devices_are_found_and_listed(tmp_path, monkeypatch):
    folder = tmp_path / "devices"
    folder.mkdir()
    (folder / "acme-one.yaml").write_text(yaml.safe_dump(DEVICE))
    monkeypatch.setenv("PERFMODEL_PATH", str(tmp_path))
    assert Device.load("Acme One").memory_bandwidth == 1e12
    assert hardware.devices()["acme-one"] == str(tmp_path)
    path = tmp_path / "acme-one.yaml"
    path.write_text("id: acme-one\nyear: 2026\nyear: 2027\n")
    with pytest.raises(SpecError, match=r'acme-one\.yaml, line 3: .* the key "year" is given twice'):
        Device.load(path)
    path.write_text(yaml.safe_dump(DEVICE)[:120])
    with pytest.raises(SpecError, match=r"acme-one\.yaml"):
        Device.load(path)


def test_displays_are_short_and_escaped():
    device = Device(**DEVICE | {"name": "A <b> & C"})
    assert "A &lt;b&gt; &amp; C" in device._repr_html_()
    assert "<b>" not in device._repr_html_()
    assert "A &lt;b&gt;" in Cluster.of(device, 1)._repr_html_()
    for name in hardware.devices():
        assert len(repr(Device.load(name)).splitlines()) <= 10
    assert str(device) == repr(device)
    assert "memory      32.00 GiB, 1.000 TB/s" in repr(device)


# --- clusters -------------------------------------------------------------------------------------------------


def tiers(cluster):
    return [(tier.name, tier.size, tier.bandwidth) for tier in cluster.tiers]


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (lambda: Cluster.load("dgx-h100", 1024), [("scale_up", 8, 450e9), ("fabric", 1024, 50e9)]),
        (lambda: Cluster.load("dgx-h100"), [("scale_up", 8, 450e9)]),
        (lambda: Cluster.load("dgx-h100", 2), [("scale_up", 2, 450e9)]),
        (lambda: Cluster.load("dgx-2", 32), [("scale_up", 16, 150e9), ("fabric", 32, 6.25e9)]),
        (lambda: Cluster.load("gb200-nvl72"), [("scale_up", 72, 900e9)]),
        (lambda: Cluster.load("gb200-nvl72", 144), [("scale_up", 72, 900e9), ("fabric", 144, 50e9)]),
        (lambda: Cluster.load("gb200-nvl72", 256), [("scale_up", 64, 900e9), ("fabric", 256, 50e9)]),
        (lambda: Cluster.load("cloudmatrix-384", 768), [("scale_up", 384, 392e9), ("fabric", 768, 25e9)]),
        (
            lambda: Cluster.of("l40s", 16, devices_per_node=8, scale_out="400 Gbit/s"),
            [("node", 8, 31.5e9), ("fabric", 16, 50e9)],
        ),
        (
            lambda: Cluster.of("a100-pcie", 16, scale_out=25e9),
            [("scale_up", 2, 300e9), ("node", 8, 31.5e9), ("fabric", 16, 25e9)],
        ),
        (lambda: Cluster.of("h100", 8, devices_per_node=4), [("scale_up", 4, 450e9), ("fabric", 8, 50e9)]),
        (lambda: Cluster.of("h100", 16, scale_up_domain=16, devices_per_node=16), [("scale_up", 16, 450e9)]),
        (lambda: Cluster.of("h100", 8, scale_up="900 GB/s"), [("scale_up", 8, 900e9)]),
        (lambda: Cluster.of("gb10", 2), [("fabric", 2, 25e9)]),
        (lambda: Cluster.load("mi300x", 4), [("scale_up", 4, 192e9)]),
        (lambda: Cluster.of("h100"), [("scale_up", 1, 450e9)]),
        (lambda: Cluster.of("l4"), [("node", 1, 31.5e9)]),
        (lambda: Cluster.of("apple-m3-max"), [("node", 1, 409.6e9)]),
        (lambda: Cluster.of("tpu-v5p", 512), [("scale_up", 512, 600e9)]),
        (lambda: Cluster.of("tpu-v6e", 1024), [("scale_up", 256, 400e9), ("fabric", 1024, 12.5e9)]),
        (lambda: Cluster.load("trn2", 64), [("scale_up", 16, 512e9), ("fabric", 64, 25e9)]),
    ],
)
def test_tiers_of_well_known_machines(cluster, expected):
    assert tiers(cluster()) == expected


@pytest.mark.parametrize(
    ("chips", "axes", "pod", "shape", "wrap"),
    [
        (64, 3, 8960, (4, 4, 4), (True, True, True)),
        (128, 3, 4096, (4, 4, 8), (True, True, True)),
        (512, 3, 8960, (8, 8, 8), (True, True, True)),
        (6144, 3, 8960, (16, 16, 24), (True, True, True)),
        (8960, 3, 8960, (16, 20, 28), (True, True, True)),
        (32, 3, 8960, (2, 4, 4), (False, False, False)),
        (16, 3, 8960, (2, 2, 4), (False, False, False)),
        (256, 2, 256, (16, 16), (True, True)),
        (128, 2, 256, (8, 16), (False, True)),
        (8, 2, 256, (2, 4), (False, False)),
        (1024, 2, 1024, (32, 32), (True, True)),
        (16, 2, 16, (4, 4), (True, True)),
        (12, 1, 12, (12,), (True,)),
        (6, 1, 12, (6,), (False,)),
    ],
)
def test_slices_have_the_documented_shapes_and_rings(chips, axes, pod, shape, wrap):
    assert slice_shape(chips, axes, pod) == shape
    assert closed_axes(shape, pod) == wrap


def test_a_torus_tier_says_its_shape_and_its_links():
    (tier,) = Cluster.of("tpu-v5p", 64).tiers
    assert (tier.torus, tier.wrap, tier.per_link, tier.topology) == ((4, 4, 4), (True,) * 3, 100e9, "torus3d")
    assert Cluster.load("mi300x").tiers[0].per_link == 64e9
    assert Cluster.load("dgx-h100").tiers[0].in_network_reduction
    assert not Cluster.load("dgx-a100").tiers[0].in_network_reduction


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Cluster.load("dgx-h100", 100),
            "devices = 100 is no multiple of the 8 in a node; nearest: 96 or 104",
        ),
        (lambda: Cluster.load("dgx-h100", 0), "devices must be greater than or equal to 1, not 0"),
        (lambda: Cluster.of("h100", 2.5), "devices must be a valid integer, not 2.5"),
        (lambda: Cluster.load("dgx-h10"), 'unknown system "dgx-h10"; did you mean dgx-h100?'),
        (
            lambda: Cluster.load("h100"),
            '"h100" is the device nvidia-h100-sxm-80gb, not a system; Cluster.of("h100"',
        ),
        (lambda: Cluster.of("h1000", 8), 'unknown device "h1000"'),
        (
            lambda: Cluster.of("l40s", 16),
            'reach beyond one node of 8; give it, one direction per device: scale_out="',
        ),
        (lambda: Cluster.of("tpu-8t", 64), "the scale-up bandwidth of google-tpu-8t is unknown; give it"),
        (lambda: Cluster.of("tpu-8i", 4), "how many google-tpu-8i the fast links join is unknown; give it"),
        (lambda: Cluster.of("m3-max", 2, devices_per_node=2), "apple-m3-max states no host link; give it"),
        (
            lambda: Cluster.of("tpu-v5p", 100),
            "google-tpu-v5p has no slice of so many chips; nearest: 64 or 128",
        ),
        (
            lambda: Cluster.of("tpu-v6e", 264),
            "google-tpu-v6e has no slice of so many chips; nearest: 256 or 512",
        ),
        (lambda: Cluster.load("dgx-h100", 16, scale_out="400 Gbps"), 'unknown unit "Gbps"; write "400 Gb/s"'),
        (
            lambda: Cluster.load("dgx-h100", 16, oversubscription=0.5),
            "oversubscription must be greater than or equal",
        ),
    ],
)
def test_a_wrong_cluster_is_one_clear_error(build, message):
    with pytest.raises(InputError) as caught:
        build()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(sorted(hardware.systems())), st.integers(1, 40))
def test_tiers_grow_to_the_whole_cluster(name, nodes):
    node = Node.load(name)
    try:
        cluster = Cluster.load(name, nodes * node.devices_per_node, scale_out="25 GB/s")
    except InputError as error:
        assert "no slice of so many chips" in str(error)
        return
    sizes = [tier.size for tier in cluster.tiers]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == cluster.devices
    assert all(prod(tier.torus) == tier.size for tier in cluster.tiers if tier.torus)
    assert cluster.tiers[0].size <= node.scale_up_domain


@given(st.integers(1, 9216))
def test_a_slice_has_all_its_chips_within_the_pod(chips):
    for axes, pod in ((2, 256), (2, 1024), (3, 4096), (3, 8960)):
        shape = slice_shape(chips, axes, pod)
        assert shape is None or (prod(shape) == chips <= pod and len(shape) == axes)


def test_nothing_is_guessed_for_a_network_nobody_stated():
    with pytest.raises(InputError, match="the scale-out bandwidth is unknown"):
        Cluster.load("inf2", 24)
    assert Cluster.load("inf2", 24, scale_out="200 Gbit/s").tiers[-1].bandwidth == 25e9


def test_a_changed_copy_derives_its_tiers_anew():
    cluster = Cluster.load("dgx-h100", 1024, oversubscription=2)
    assert cluster.nodes == 128
    assert cluster.tiers[-1].oversubscription == 2
    assert tiers(cluster.replace(devices=8)) == [("scale_up", 8, 450e9)]
    assert tiers(cluster.replace(scale_out="100 GB/s"))[-1] == ("fabric", 1024, 100e9)
    assert cluster.replace(device__memory__bandwidth="4.8 TB/s").device.memory_bandwidth == 4.8e12
    with pytest.raises(InputError, match="no multiple"):
        cluster.replace(devices=1025)
    assert cluster == Cluster.load("dgx-h100", 1024, oversubscription=2)


def test_tiers_can_be_given():
    rail = (
        Tier(name="scale_up", size=8, bandwidth="450 GB/s"),
        Tier(name="fabric", size=64, bandwidth=50e9, latency="2 us"),
    )
    cluster = Cluster(device=Device.load("h100"), devices=64, tiers=rail)
    assert cluster.tiers == rail
    with pytest.raises(
        InputError, match="tiers grow from the innermost to all 128 devices; their sizes are 8, 64"
    ):
        cluster.replace(devices=128)
