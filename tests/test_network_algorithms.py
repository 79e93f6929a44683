"""Which algorithm a message takes, what each costs by hand; rails, leaves, slices and uneven wiring."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import InputError
from perfmodel.estimation.machine import machine
from perfmodel.estimation.network import collective_seconds
from perfmodel.formulas.all_reduce import hierarchical_all_reduce, nvls_all_reduce, tree_all_reduce
from perfmodel.formulas.collectives import ring_all_gather, ring_all_reduce
from perfmodel.formulas.exchange import distinct_domains, rail_aligned_all_to_all
from perfmodel.hardware import Cluster
from perfmodel.parallel import Group
from perfmodel.work import Collective
from tests.strategies import cluster, clusters, device, efficiencies, gpt, ideal, spread

UP, OUT, LINK = (
    4e11,
    5e10,
    4.5e10,
)  # switch of a node, fabric, link of TPU v5e; one direction, per device [B/s]
PAYLOAD = 1e9
KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "dispatch", "send")


def on(room, fits=None):
    return machine(room, fits or ideal(), ())


def message(kind, ranks, stride=1, *, room, fits=None, payload=PAYLOAD, **more):
    return collective_seconds(
        Collective("message", kind, payload, "dp", **more), on(room, fits), Group(ranks, stride)
    )


def route(*args, **kwargs):
    found = message(*args, **kwargs).route
    return found.algorithm.name, found.tier.name


def reducing(devices=8, **changes):
    switch = {
        "name": "switch",
        "bandwidth": UP,
        "domain_size": 8,
        "topology": "switch",
        "in_network_reduction": True,
    }
    return cluster(devices, device=device(scale_up=switch), **changes)


# --- the choice ---------------------------------------------------------------------------------------------------


def test_the_algorithm_is_named():
    h100, fits = Cluster.load("dgx-h100", devices=1024), pm.Efficiency.load("hopper")
    where_ = {"room": h100, "fits": fits}
    assert route("all_reduce", 4, **where_) == ("ring", "scale_up")
    assert route("all_reduce", 8, payload=1e3, **where_) == ("ring", "scale_up")
    assert route("all_reduce", 8, payload=1e8, **where_) == ("nvls", "scale_up")
    assert route("all_reduce", 1024, payload=1e8, **where_) == ("tree", "fabric")
    assert route("all_reduce", 128, 8, payload=1e6, **where_) == ("tree", "fabric")
    assert route("all_reduce", 16, 8, payload=1e11, **where_) == ("ring", "fabric")
    assert route("all_gather", 1024, **where_) == ("ring", "fabric")
    assert route("all_to_all", 8, **where_) == ("pairwise", "scale_up")
    assert route("all_to_all", 1024, payload=1e6, **where_) == ("rail-aligned", "fabric")
    assert route("dispatch", 64, copies=8, **where_) == ("dispatch", "fabric")
    assert route("send", 4, 8, **where_) == ("send", "fabric")
    two_slices = {"room": Cluster.load("tpu-v5e-host", devices=512), "fits": pm.Efficiency.load("tpu")}
    assert route("all_gather", 256, **two_slices) == ("torus", "scale_up")
    assert route("all_gather", 512, **two_slices) == ("hierarchical", "fabric")


def test_a_column_names_the_algorithm_of_each_row():
    fits = pm.Efficiency.load("hopper")
    found = message(
        "all_reduce", np.array([4.0, 8.0, 64.0]), room=Cluster.load("dgx-h100", devices=64), fits=fits
    )
    assert list(found.route.algorithm.name) == ["ring", "nvls", "tree"]
    assert list(found.route.tier.name) == ["scale_up", "scale_up", "fabric"]


def test_a_symbol_has_all_names_and_the_same_time():
    n = sympy.Symbol("n", positive=True)
    room, fits = Cluster.load("dgx-h100", devices=64), pm.Efficiency.load("hopper")
    symbol = message("all_reduce", 64, room=room, fits=fits, payload=n)
    assert "tree" in symbol.route.algorithm.name
    for payload in (1e3, 1e6, 1e9):
        number = message("all_reduce", 64, room=room, fits=fits, payload=payload)
        assert float(symbol.seconds.subs(n, payload)) == pytest.approx(number.seconds, rel=1e-12)


def test_an_estimate_lists_its_messages():
    est = pm.estimate(
        gpt(layers=4, hidden=1024, heads=16), pm.Training(global_batch=64, sequence_length=512),
        pm.Parallel(tp=8, dp=2), Cluster.load("dgx-h100", devices=16),
    )  # fmt: skip
    assert est.algorithms["gather weights"] == ("ring", "fabric")
    assert est.algorithms["tp all-reduce"][1] == "scale_up"
    assert "ring over fabric" in est.explain()
    assert est.to_dict()["algorithms"]["gather weights"] == {"algorithm": "ring", "tier": "fabric"}


@settings(max_examples=30)
@given(
    fits=efficiencies(),
    ranks=st.sampled_from([2, 8, 16, 64]),
    stride=st.sampled_from([1, 2, 8]),
    payload=spread(1, 1e11),
)
def test_more_ways_are_never_slower(fits, ranks, stride, payload):
    where_ = {"fits": fits, "payload": payload}
    without = message("all_reduce", ranks, stride, room=cluster(512), **where_).seconds
    assert message("all_reduce", ranks, stride, room=reducing(512), **where_).seconds <= without * (1 + 1e-12)


# --- each by hand -------------------------------------------------------------------------------------------------


def test_a_tree_needs_few_steps():
    """128 nodes: 127 steps each way in a ring, seven levels each way in a tree."""
    fits = ideal(collective={"fabric": {"step": 5e-6, "tree_step": 1e-5}})
    found = message("all_reduce", 128, 8, room=cluster(1024), fits=fits)
    expected = tree_all_reduce(payload=PAYLOAD, ranks=128, bandwidth=OUT, latency=1e-5)
    assert found.seconds == pytest.approx(expected, rel=1e-12)
    assert found.route.algorithm.name == "tree"
    ring = ring_all_reduce(payload=PAYLOAD, ranks=128, bandwidth=OUT, latency=5e-6)
    assert ring - found.seconds == pytest.approx(254 * 5e-6 - 14e-5, rel=1e-9)


def test_a_tree_that_reaches_less_of_the_link_is_for_short_messages():
    fits = ideal(collective={"fabric": {"step": 5e-6, "tree": 0.5}})
    where_ = {"room": cluster(1024), "fits": fits}
    assert route("all_reduce", 128, 8, payload=1e5, **where_) == ("tree", "fabric")
    assert route("all_reduce", 128, 8, payload=1e10, **where_) == ("ring", "fabric")


def test_the_switch_of_a_node():
    fits = ideal(collective={"scale_up": {"step": 1e-6, "switch_latency": 5e-6}})
    found = message("all_reduce", 8, room=reducing(), fits=fits)
    assert found.seconds == pytest.approx(
        nvls_all_reduce(payload=PAYLOAD, ranks=8, bandwidth=UP, latency=5e-6)
    )


def test_the_switch_of_a_rack_of_72():
    """However many ranks: the switch takes 73/72 of the payload where a ring sends 142/72 of it."""
    fits = ideal(
        collective={"scale_up": {"all_reduce": 0.9, "in_network": 0.6, "step": 1e-6, "switch_latency": 17e-6}}
    )
    rack = Cluster.load("gb200-nvl72")
    found = message("all_reduce", 72, room=rack, fits=fits)
    assert found.route.algorithm.name == "nvls"
    assert found.seconds == pytest.approx(17e-6 + PAYLOAD * 73 / 72 / (0.6 * 9e11), rel=1e-9)


def test_the_switches_between_nodes():
    """SHARP: a share of the payload goes up once and comes down once, whatever the number of nodes."""
    for nodes in (2, 16):
        found = message(
            "all_reduce", 8 * nodes, room=cluster(8 * nodes, fabric_reduction=True, scale_out=OUT / 10)
        )
        assert found.resources["fabric"] == pytest.approx(PAYLOAD / 8 / (OUT / 10), rel=1e-12)
        # a ring or tree sends it 2 (N - 1) / N times: for two nodes they tie, and the plain way is taken
        assert (found.route.algorithm.name == "sharp") == (nodes > 2)


def test_two_ranks_alone_have_fewer_channels():
    fits = ideal(collective={"scale_up": {"pair": 0.8}})
    full, part = (message("all_gather", ranks, room=cluster(8), fits=fits).seconds for ranks in (4, 2))
    assert full == pytest.approx(PAYLOAD * 3 / 4 / UP, rel=1e-12)
    assert part == pytest.approx(PAYLOAD / 2 / (0.8 * UP), rel=1e-12)


def test_kernels_of_a_framework():
    """One shot reads 7 whole buffers, two shots 7/8 of one twice and wait once more; across nodes there are none."""
    fits = ideal(
        collective={"scale_up": {"direct": 0.5, "direct_start": 3e-6, "direct_barrier": 5e-6, "start": 1e-3}}
    )
    room = cluster(16)
    small, large = (
        message("all_reduce", 8, room=room, fits=fits, payload=payload, direct=True) for payload in (1e4, 1e7)
    )
    assert small.seconds == pytest.approx(3e-6 + 7e4 / (0.5 * UP))
    assert large.seconds == pytest.approx(8e-6 + 2 * 7 / 8 * 1e7 / (0.5 * UP))
    assert (small.route.algorithm.name, large.route.algorithm.name) == ("one shot", "two shot")
    assert sum(large.resources.values()) == pytest.approx(large.seconds)
    plain, offered = (
        message("all_reduce", 16, room=room, fits=fits, payload=1e4, direct=way) for way in (False, True)
    )
    assert (offered.seconds, offered.route.algorithm.name) == (plain.seconds, plain.route.algorithm.name)
    assert (
        message("all_reduce", 8, room=room, fits=fits, payload=1e9, direct=True).route.algorithm.name
        == "ring"
    )


def test_a_host_bus_is_crowded():
    """Two ranks have it to themselves; each doubling leaves a half."""
    fits = ideal(collective={"scale_up": {"crowding": 0.5}})
    took = {ranks: message("all_gather", ranks, room=cluster(8), fits=fits).seconds for ranks in (2, 4, 8)}
    assert took[2] == pytest.approx(PAYLOAD / 2 / UP)
    assert took[4] == pytest.approx(2 * PAYLOAD * 3 / 4 / UP)
    assert took[8] == pytest.approx(4 * PAYLOAD * 7 / 8 / UP)


def test_a_kernel_for_tokens_starts_on_its_own():
    fits = ideal(collective={"scale_up": {"dispatch_start": 1e-5, "start": 9e-5, "exponent": 0.5}})
    took = message("dispatch", 8, room=cluster(8), fits=fits, payload=1e6).seconds
    assert took == pytest.approx(1e-5 + 7 / 8 * 1e6 / UP)


def test_along_the_rails():
    """Two nodes of eight: sent directly, 8 of 16 pieces leave; along the rails too, after 7/8 have moved inside."""
    fits = ideal(collective={"scale_up": {"step": 1e-6}, "fabric": {"step": 5e-6}})
    where_ = {"room": cluster(1024), "fits": fits}
    assert message("all_to_all", 16, payload=0.0, **where_).seconds == pytest.approx(1e-6 + 5e-6)
    shape = {"payload": PAYLOAD, "ranks": 1024, "domains": 128, "latency": 1e-6, "outer_latency": 5e-6}
    found = message("all_to_all", 1024, **where_)
    assert found.route.algorithm.name == "rail-aligned"
    # both hops at once: the one over the fabric takes longer
    across = rail_aligned_all_to_all(**shape, bandwidth=1e30, outer_bandwidth=OUT)
    assert found.seconds == pytest.approx(across, rel=1e-9)


# --- dispatch -----------------------------------------------------------------------------------------------------


def test_a_token_goes_once_to_each_node():
    """Two experts, two nodes of eight: 3/2 nodes are hit, half of them the sender's own."""
    found = message("dispatch", 16, room=cluster(16), copies=2)
    token = PAYLOAD / 2
    across = token * 1.5 / 2 / OUT
    assert found.seconds == pytest.approx(across, rel=1e-12)
    # inside: 16 (1 - (15/16)^2) = 31/16 ranks are hit, 7/8 of them not in the place where the token comes in
    fast = message("dispatch", 16, room=cluster(16, scale_out=1e15), copies=2)
    assert fast.seconds == pytest.approx(token * 31 / 16 * 7 / 8 / UP, rel=1e-12)


def test_one_expert_is_an_all_to_all():
    for ranks in (2, 8, 64):
        one, plain = (
            message(kind, ranks, room=cluster(64), payload=PAYLOAD) for kind in ("dispatch", "all_to_all")
        )
        assert one.seconds == pytest.approx(plain.seconds, rel=1e-12)


def test_many_experts_reach_every_node_once():
    """A thousand copies: one token to each of the seven other nodes."""
    found = message("dispatch", 64, room=cluster(64), copies=1000.0)
    assert found.seconds == pytest.approx(PAYLOAD / 1000 * 7 / OUT, rel=1e-9)


def test_routing_limited_to_some_nodes():
    """Of eight nodes at most two, by eight copies: 2 (1 - 2^-8) nodes are hit, 7/8 of them others."""
    found = message("dispatch", 64, room=cluster(64), copies=8, most_domains=2)
    hit = distinct_domains(domains=2.0, copies=8)
    assert found.seconds == pytest.approx(PAYLOAD / 8 * hit * 7 / 8 / OUT, rel=1e-12)
    free = message("dispatch", 64, room=cluster(64), copies=8)
    assert found.seconds < free.seconds


# --- fabrics ------------------------------------------------------------------------------------------------------


def test_a_ragged_group_is_as_slow_as_its_emptiest_domain():
    """12 ranks, eight apart, in racks of 72: nine and three. Three rings at most leave the second rack."""
    racks = Cluster.load("gb200-nvl72", devices=144)
    found = message("all_gather", 12, 8, room=racks)
    assert found.seconds == pytest.approx(PAYLOAD * 11 / 12 / (3 * 5e10), rel=1e-12)
    even = message("all_gather", 18, 8, room=racks)
    assert even.seconds == pytest.approx(PAYLOAD * 17 / 18 / (9 * 5e10), rel=1e-12)
    # in an all-to-all the three send to nine others each
    assert message("all_to_all", 12, 8, room=racks).seconds == pytest.approx(
        PAYLOAD * 9 / 12 / 5e10, rel=1e-12
    )


def test_groups_that_share_a_node_have_links_of_their_own():
    """Two groups of four in a node of eight run beside each other; so do those of every second device."""
    alone = message("all_gather", 4, 1, room=cluster(8)).seconds
    assert alone == message("all_gather", 4, 2, room=cluster(8)).seconds == PAYLOAD * 3 / 4 / UP
    # over two nodes, two members each: two adapters carry what is the whole payload
    assert message("all_gather", 4, 4, room=cluster(16)).seconds == pytest.approx(PAYLOAD * 3 / 4 / 2 / OUT)


def test_a_ring_that_stays_on_its_rail_does_not_feel_the_spine():
    rails = cluster(64, rails=True, oversubscription=4.0)
    assert message("all_gather", 8, 8, room=rails) == message("all_gather", 8, 8, room=cluster(64))
    # and an all-to-all goes along the rails rather than four times slower through the spine
    assert (
        message("all_to_all", 64, room=rails).seconds == message("all_to_all", 64, room=cluster(64)).seconds
    )
    assert route("all_to_all", 64, room=rails) == ("rail-aligned", "fabric")
    # a neighbour whole nodes away is on the rail, one at another place of its node is not
    assert message("send", 2, 8, room=rails).seconds == PAYLOAD / OUT
    assert message("send", 2, 12, room=rails).seconds == 4 * PAYLOAD / OUT


def test_above_the_leaves_the_spine_is_narrower():
    room = cluster(512, leaf_nodes=4, rails=True, oversubscription=8.0)
    assert [(tier.name, tier.size) for tier in room.tiers] == [
        ("scale_up", 8),
        ("fabric", 32),
        ("spine", 512),
    ]
    # a ring of neighbours crosses from leaf to leaf on one of four links, a group of far ones on every link
    assert message("all_gather", 64, 8, room=room).seconds == pytest.approx(PAYLOAD * 63 / 64 * 2 / OUT)
    assert route("all_gather", 4, 8, room=room) == ("ring", "fabric")
    far = message("all_gather", 16, 32, room=room)
    assert far.seconds == pytest.approx(PAYLOAD * 15 / 16 * 8 / OUT, rel=1e-12)
    assert far.route.tier.name == "spine"


def test_across_slices_each_chip_has_its_share_of_the_host():
    """Two slices of 256 TPU v5e: gathered over the data-centre network first, then over both axes of each torus."""
    found = message("all_reduce", 512, room=Cluster.load("tpu-v5e-host", devices=512))
    shape = {"ranks": 512, "domains": 2, "latency": 0.0, "outer_latency": 0.0}
    expected = hierarchical_all_reduce(
        payload=PAYLOAD, bandwidth=4 * LINK * 50 / 45, outer_bandwidth=3.125e9, **shape
    )
    assert found.seconds == pytest.approx(expected, rel=1e-12)


def test_the_devices_are_cut_into_as_many_slices_as_asked_for():
    room = Cluster.load("tpu-v5e-host", devices=256, slices=4)
    assert [(tier.name, tier.size, tier.torus) for tier in room.tiers] == [
        ("scale_up", 64, (8, 8)), ("fabric", 256, None),
    ]  # fmt: skip
    with pytest.raises(InputError, match="nearest"):
        Cluster.load("tpu-v5e-host", devices=256, slices=3)


def test_a_torus_by_the_axis():
    """16 x 16, closed: 16 neighbours have a ring of their own, 8 of them an open line; every second one shares it."""
    room = Cluster.load("tpu-v5e-host", devices=256)
    link = room.tiers[0].per_link
    times = {
        (16, 1): PAYLOAD * 15 / 16 / (2 * link),
        (8, 1): PAYLOAD * 7 / 8 / link,
        (8, 2): PAYLOAD * 7 / 8 / (2 * link / 2),
        (16, 16): PAYLOAD * 15 / 16 / (2 * link),
        (256, 1): PAYLOAD * 255 / 256 / (4 * link),
    }
    for (ranks, stride), expected in times.items():
        assert message("all_gather", ranks, stride, room=room).seconds == pytest.approx(expected, rel=1e-12)
    # an all-to-all on a ring of sixteen: a quarter of an all-gather of what all hold together
    assert message("all_to_all", 16, room=room).seconds == pytest.approx(16 * PAYLOAD / (8 * link), rel=1e-12)


def test_a_hybrid_cube_mesh_is_whole_only_for_all_eight():
    room = Cluster.load("dgx-1v")
    for ranks, links in ((2, 1), (4, 4), (8, 6)):
        expected = ring_all_gather(payload=PAYLOAD, ranks=ranks, bandwidth=links * 25e9, latency=0.0)
        assert message("all_gather", ranks, room=room).seconds == pytest.approx(expected, rel=1e-12)
    # the same devices on switches
    expected = ring_all_gather(payload=PAYLOAD, ranks=2, bandwidth=150e9, latency=0.0)
    assert message("all_gather", 2, room=Cluster.load("dgx-2")).seconds == pytest.approx(expected, rel=1e-12)


# --- laws ---------------------------------------------------------------------------------------------------------


def rooms():
    """Clusters of every kind: plain, rails and leaves, reducing switches, tori in one slice and in four."""
    return st.one_of(
        clusters(256),
        st.builds(
            lambda over: cluster(256, leaf_nodes=4, rails=True, oversubscription=over), st.floats(1, 8)
        ),
        st.builds(lambda: reducing(256, fabric_reduction=True)),
        st.sampled_from([None, 4]).map(
            lambda slices: Cluster.load("tpu-v5e-host", devices=256, slices=slices)
        ),
        st.builds(lambda: Cluster.load("mi300x-8", devices=256)),
        st.builds(lambda: Cluster.load("dgx-1v", devices=256)),
    )


SHAPES = st.sampled_from([(2, 1), (4, 2), (8, 1), (12, 1), (16, 1), (16, 8), (64, 4), (256, 1)])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(
    room=rooms(),
    fits=efficiencies(),
    shape=SHAPES,
    payload=spread(1, 1e12),
    tier=st.integers(0, 2),
    faster=st.floats(1, 50),
)
def test_more_bandwidth_is_never_slower(kind, room, fits, shape, payload, tier, faster):
    tiers = list(room.tiers)
    one = tiers[tier % len(tiers)]
    wider = {
        field: faster * value
        for field in ("bandwidth", "per_link", "cross_rail")
        if (value := getattr(one, field))
    }
    tiers[tier % len(tiers)] = one.replace(**wider)
    before, after = (
        message(kind, *shape, room=each, fits=fits, payload=payload).seconds
        for each in (room, room.replace(tiers=tuple(tiers)))
    )
    assert after <= before * (1 + 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(room=rooms(), fits=efficiencies(), shape=SHAPES, payload=spread(1, 1e11), factor=st.floats(1, 100))
def test_more_bytes_are_never_faster(kind, room, fits, shape, payload, factor):
    where_ = {"room": room, "fits": fits}
    before, after = (
        message(kind, *shape, payload=size, **where_).seconds for size in (payload, factor * payload)
    )
    assert before <= after * (1 + 1e-9)
    assert after <= factor * before * (1 + 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(room=rooms(), fits=efficiencies(), stride=st.sampled_from([1, 8, 64]))
def test_one_rank_is_free(kind, room, fits, stride):
    assert message(kind, 1, stride, room=room, fits=fits).seconds == 0


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(room=rooms(), fits=efficiencies(), shape=SHAPES, payload=spread(1, 1e12))
def test_resources_add_up_whatever_the_algorithm(kind, room, fits, shape, payload):
    found = message(kind, *shape, room=room, fits=fits, payload=payload)
    assert sum(found.resources.values()) == pytest.approx(found.seconds, rel=1e-9)
    assert set(found.resources) == {"network_latency", *(tier.name for tier in room.tiers)}


@settings(max_examples=30)
@given(room=rooms(), shape=SHAPES, payload=spread(1, 1e12))
def test_no_all_reduce_beats_the_links(room, shape, payload):
    """The most that can help: each byte enters a device at least once, over all the links that it has."""
    found = message("all_reduce", *shape, room=room, payload=payload)
    widest = sum(max(tier.bandwidth, 6 * (tier.per_link or 0.0)) for tier in room.tiers)
    assert found.seconds >= payload * (1 - 1 / shape[0]) / widest * (1 - 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(room=rooms(), fits=efficiencies())
def test_columns_are_their_rows_whatever_the_algorithm(kind, room, fits):
    rows = [
        (ranks, stride, payload)
        for ranks in (1, 2, 8, 12, 64)
        for stride in (1, 4)
        for payload in (0.0, 1e4, 1e9)
    ]
    ranks, strides, payloads = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    together = message(kind, ranks, strides, room=room, fits=fits, payload=payloads)
    alone = [message(kind, r, s, room=room, fits=fits, payload=p) for r, s, p in rows]
    np.testing.assert_allclose(together.seconds, [one.seconds for one in alone], rtol=1e-12)
