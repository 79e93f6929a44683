"""Messages on the network: where groups lie, what each tier carries, and times by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.estimation.machine import machine
from perfmodel.estimation.network import collective_seconds, placement
from perfmodel.formulas.collectives import ring_all_gather, ring_all_reduce, torus_all_gather
from perfmodel.hardware import Cluster
from perfmodel.parallel import Group, Parallel, groups
from perfmodel.work import Collective
from tests.strategies import cluster, clusters, device, efficiencies, ideal, spread

RINGS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
KINDS = (*RINGS, "send")
PAYLOAD = 1e9
UP, OUT = 4e11, 5e10  # of the made-up cluster: 8 devices on a switch, nodes of them on a fabric [B/s]


def rates(machine_room=None, efficiency=None):
    return machine(machine_room or cluster(16), efficiency or ideal(), ("bf16",))


def seconds(kind, ranks, stride=1, *, on=None, payload=PAYLOAD):
    """Time of a message and its resources."""
    return collective_seconds(
        Collective("message", kind, payload, "dp"), on or rates(), Group(ranks, stride)
    )[:2]


def reach(system, devices, ranks, stride):
    """Members of a group in one domain of each tier."""
    tiers = machine(Cluster.load(system, devices=devices), ideal(), ("bf16",)).tiers
    return {hop.tier.name: (hop.inside, hop.below) for hop in placement(Group(ranks, stride), tiers)}


# --- placement ----------------------------------------------------------------------------------------------------


def test_tensor_ranks_stay_inside_the_node_and_data_ranks_cross_it():
    placed = groups(Parallel(tp=8, dp=16, pp=8))
    assert reach("dgx-h100", 1024, *placed["tp"]) == {"scale_up": (8, 1), "fabric": (8, 8)}
    assert reach("dgx-h100", 1024, *placed["dp"]) == {"scale_up": (1, 1), "fabric": (16, 1)}


@pytest.mark.parametrize(
    ("ranks", "stride", "inside"),
    [(16, 1, 8), (4, 1, 4), (16, 2, 4), (64, 4, 2), (2, 4, 2), (2, 8, 1), (128, 8, 1)],
)
def test_neighbours_fill_a_node_before_the_next(ranks, stride, inside):
    assert reach("dgx-h100", 1024, ranks, stride) == {"scale_up": (inside, 1), "fabric": (ranks, inside)}


def test_a_rack_holds_more():
    assert reach("gb200-nvl72", 144, 72, 1) == {"scale_up": (72, 1), "fabric": (72, 72)}
    assert reach("gb200-nvl72", 144, 144, 1) == {"scale_up": (72, 1), "fabric": (144, 72)}
    assert reach("gb200-nvl72", 144, 18, 8) == {"scale_up": (9, 1), "fabric": (18, 9)}


def test_a_torus_is_one_tier():
    assert reach("tpu-v5p-host", 512, 512, 1) == {"scale_up": (512, 1)}
    assert reach("tpu-v5p-host", 512, 64, 8) == {"scale_up": (64, 1)}


@given(
    tp=st.sampled_from([1, 2, 4, 8, 16]), cp=st.sampled_from([1, 2]), dp=st.sampled_from([1, 4, 32]),
    pp=st.sampled_from([1, 2, 8]),
)  # fmt: skip
def test_every_group_is_whole_on_the_last_tier(tp, cp, dp, pp):
    tiers = rates(cluster(tp * cp * dp * pp)).tiers
    for group in groups(Parallel(tp=tp, cp=cp, dp=dp, pp=pp)).values():
        hops = placement(group, tiers)
        assert hops[-1].inside == group.ranks
        below = 1
        for hop in hops:
            assert hop.below == below <= hop.inside
            below = hop.inside


# --- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(fits=efficiencies(), stride=st.sampled_from([1, 8, 64]))
def test_one_rank_sends_nothing(kind, fits, stride):
    whole, by_resource = seconds(kind, 1, stride, on=rates(cluster(64), fits))
    assert whole == 0
    assert set(by_resource.values()) == {0}


@pytest.mark.parametrize("kind", RINGS)
@given(fits=efficiencies(), ranks=st.sampled_from([2, 8, 16]))
def test_no_payload_leaves_the_latency(kind, fits, ranks):
    whole, by_resource = seconds(kind, ranks, on=rates(cluster(16), fits), payload=0.0)
    assert whole == pytest.approx(by_resource["network_latency"], rel=1e-12)
    fit = fits.collective_for("fabric" if ranks > 8 else "scale_up")
    if ranks <= 8:
        # an all-to-all on a switch starts all its messages together
        steps = {"all_reduce": 2 * (ranks - 1), "all_to_all": 1}.get(kind, ranks - 1)
        assert whole == pytest.approx(fit.start + steps * fit.step, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@given(
    fits=efficiencies(),
    ranks=st.sampled_from([1, 2, 4, 8, 16, 64]),
    stride=st.sampled_from([1, 2, 8]),
    payload=spread(1, 1e12),
)
def test_resources_add_up(kind, fits, ranks, stride, payload):
    whole, by_resource = seconds(kind, ranks, stride, on=rates(cluster(512), fits), payload=payload)
    assert sum(by_resource.values()) == pytest.approx(whole, rel=1e-9)
    assert min(by_resource.values()) >= 0
    assert set(by_resource) == {"network_latency", "scale_up", "fabric"}


# --- by hand, on an ideal machine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_inside_a_node_it_is_the_ring(ranks):
    shape = {"payload": PAYLOAD, "ranks": ranks, "bandwidth": UP, "latency": 0.0}
    assert seconds("all_reduce", ranks)[0] == pytest.approx(ring_all_reduce(**shape), rel=1e-12)
    for kind in ("all_gather", "reduce_scatter"):
        assert seconds(kind, ranks)[0] == pytest.approx(ring_all_gather(**shape), rel=1e-12)


def test_an_all_gather_over_two_nodes_of_eight():
    """Eight rings, each through all sixteen ranks: 15/16 of the payload goes over every link, inside and between."""
    whole, by_resource = seconds("all_gather", 16)
    enters = PAYLOAD * 15 / 16 / (8 * OUT)
    inside = PAYLOAD * 15 / 16 / UP
    assert enters == inside == 2.34375e-3
    assert whole == pytest.approx(inside, rel=1e-12)
    assert by_resource == {"network_latency": 0, "scale_up": pytest.approx(inside), "fabric": 0}
    # with a fabric four times slower it sets the pace
    slow = rates(cluster(16, scale_out=OUT / 4))
    whole, by_resource = seconds("all_gather", 16, on=slow)
    assert whole == pytest.approx(4 * enters, rel=1e-12)
    assert by_resource == {"network_latency": 0, "scale_up": 0, "fabric": pytest.approx(4 * enters)}


def test_an_all_reduce_over_two_nodes_of_eight_is_twice_that():
    assert seconds("all_reduce", 16)[0] == pytest.approx(2 * seconds("all_gather", 16)[0], rel=1e-12)


def test_across_nodes_each_device_has_its_own_link():
    """Two data-parallel ranks eight apart: the ring of two over the fabric."""
    for kind, sent in (("all_reduce", 1.0), ("all_gather", 0.5), ("all_to_all", 0.5)):
        assert seconds(kind, 2, 8)[0] == pytest.approx(sent * PAYLOAD / OUT, rel=1e-12)


def test_an_all_to_all_sends_straight_to_its_receivers():
    # of 16 pieces 8 leave the node, over the device's own port
    assert seconds("all_to_all", 16)[0] == pytest.approx(PAYLOAD * 8 / 16 / OUT, rel=1e-12)
    assert seconds("all_to_all", 8)[0] == pytest.approx(PAYLOAD * 7 / 8 / UP, rel=1e-12)


def test_latency_counts_the_steps_of_each_tier():
    """A ring of 16 takes 15 steps: of a round, 14 inside the two nodes and one between them. A tree takes fewer."""
    fits = ideal(collective={"scale_up": {"step": 1e-6}, "fabric": {"step": 1e-5, "start": 1e-4}})
    on = rates(efficiency=fits)
    assert seconds("all_gather", 16, on=on, payload=0.0)[0] == pytest.approx(1e-4 + 14e-6 + 1e-5, rel=1e-12)
    # chains of seven links within the nodes, one level between them; up and down
    assert seconds("all_reduce", 16, on=on, payload=0.0)[0] == pytest.approx(1e-4 + 14e-6 + 2e-5, rel=1e-12)
    # the tier that a group does not reach adds nothing
    assert seconds("all_gather", 8, on=on, payload=0.0)[0] == pytest.approx(7e-6, rel=1e-12)


def test_an_oversubscribed_fabric_is_slower_by_as_much():
    whole = seconds("all_gather", 2, 8, on=rates(cluster(16, oversubscription=3.0)))[0]
    assert whole == pytest.approx(3 * PAYLOAD / 2 / OUT, rel=1e-12)


def test_switches_reduce_for_more_than_four_ranks():
    """What the switch adds up: NVLink SHARP is used from five ranks on; other kinds never change."""
    reducing = device(scale_up={"name": "switch", "bandwidth": UP, "domain_size": 8, "topology": "switch",
                                "in_network_reduction": True})  # fmt: skip
    fits = ideal(collective={"scale_up": {"all_reduce": 0.5, "in_network": 1}})
    on, off = rates(cluster(8, device=reducing), fits), rates(cluster(8), fits)
    for ranks in (2, 3, 4):
        assert seconds("all_reduce", ranks, on=on)[0] == seconds("all_reduce", ranks, on=off)[0]
    for ranks in (5, 6, 8):
        # the ring at half of the link sends 2 (p - 1) / p twice as slowly as the switch takes (p + 1) / p
        assert seconds("all_reduce", ranks, on=on)[0] == pytest.approx(
            PAYLOAD * (ranks + 1) / ranks / UP, rel=1e-12
        )
        assert seconds("all_reduce", ranks, on=off)[0] == pytest.approx(
            4 * PAYLOAD * (ranks - 1) / ranks / UP, rel=1e-12
        )
    for kind in ("all_gather", "reduce_scatter", "all_to_all", "send"):
        assert seconds(kind, 8, on=on) == seconds(kind, 8, on=off)


def test_a_torus_gathers_over_all_its_axes():
    """All of a closed 8 x 8 x 8 torus: both ways along three axes (Austin et al. 2025)."""
    fits = ideal(collective={"scale_up": {"step": 1e-6}})
    on = rates(Cluster.load("tpu-v5p-host", devices=512), fits)
    tier = on.tiers[0]
    assert (tier.axes, tier.side, tier.wraps) == (3, 8, True)
    shape = {"ranks": 512, "axes": 3, "link_bandwidth": tier.link}
    bytes_ = torus_all_gather(**shape, payload=PAYLOAD, latency=0.0)
    hops = torus_all_gather(**shape, payload=0.0, latency=1e-6)
    by_resource = seconds("all_gather", 512, on=on)[1]
    # latency and bytes joined by the fit's exponent of one; the formula credits a device's own share of the hops
    assert by_resource["scale_up"] == pytest.approx(bytes_, rel=1e-12)
    assert by_resource["network_latency"] == pytest.approx(hops * 512 / 511, rel=1e-12)
    # 8 neighbours have one axis, 64 have two
    for ranks, axes in ((8, 1), (64, 2)):
        assert seconds("all_gather", ranks, on=on)[1]["scale_up"] == pytest.approx(
            PAYLOAD * (ranks - 1) / ranks / (2 * axes * tier.link), rel=1e-12
        )


def test_an_open_torus_has_half_the_links():
    closed, open_ = (rates(Cluster.load("tpu-v5e-host", devices=n)) for n in (256, 64))
    assert (closed.tiers[0].wraps, open_.tiers[0].wraps) == (True, False)
    both = PAYLOAD * 255 / 256 / (2 * 2 * closed.tiers[0].link)
    assert seconds("all_gather", 256, on=closed)[0] == pytest.approx(both, rel=1e-12)
    one = PAYLOAD * 63 / 64 / (2 * open_.tiers[0].link)
    assert seconds("all_gather", 64, on=open_)[0] == pytest.approx(one, rel=1e-12)


def test_a_mesh_offers_a_group_only_its_own_links():
    """Eight MI300X have seven links each, one to every other: two of them talk over one link."""
    on = rates(Cluster.load("mi300x-8", devices=8))
    link = on.tiers[0].link
    assert on.tiers[0].bandwidth == pytest.approx(7 * link)
    for ranks in (2, 4, 8):
        shape = {"payload": PAYLOAD, "ranks": ranks, "bandwidth": (ranks - 1) * link, "latency": 0.0}
        assert seconds("all_gather", ranks, on=on)[0] == pytest.approx(ring_all_gather(**shape), rel=1e-12)
    assert seconds("send", 2, on=on)[0] == pytest.approx(PAYLOAD / link, rel=1e-12)


# --- sends --------------------------------------------------------------------------------------------------------


def test_a_send_takes_the_innermost_tier_that_holds_both():
    on = rates(cluster(64))
    for stride, resource, bandwidth in (
        (1, "scale_up", UP),
        (4, "scale_up", UP),
        (8, "fabric", OUT),
        (32, "fabric", OUT),
    ):
        whole, by_resource = seconds("send", 2, stride, on=on)
        assert whole == pytest.approx(PAYLOAD / bandwidth, rel=1e-12)
        assert by_resource[resource] == whole


def test_a_send_is_as_long_over_many_stages_as_over_two():
    assert seconds("send", 2, 8) == seconds("send", 64, 8)


def test_a_send_starts_once_and_takes_one_step():
    fits = ideal(
        collective={"scale_up": {"start": 1e-6, "step": 2e-6}, "fabric": {"start": 3e-5, "step": 4e-5}}
    )
    on = rates(cluster(64), fits)
    assert seconds("send", 2, 1, on=on, payload=0.0)[0] == pytest.approx(3e-6)
    assert seconds("send", 2, 8, on=on, payload=0.0)[0] == pytest.approx(7e-5)


# --- scaling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(
    room=clusters(64), fits=efficiencies(), ranks=st.sampled_from([2, 4, 8, 16, 64]), stride=st.sampled_from([1, 2, 8]),
    payload=spread(1, 1e12), tier=st.integers(0, 1), faster=st.floats(1, 50),
)  # fmt: skip
def test_a_faster_link_is_never_slower(kind, room, fits, ranks, stride, payload, tier, faster):
    tiers = list(room.tiers)
    tiers[tier] = tiers[tier].replace(bandwidth=faster * tiers[tier].bandwidth)
    before, after = (
        seconds(kind, ranks, stride, on=rates(each, fits), payload=payload)[0]
        for each in (room, room.replace(tiers=tuple(tiers)))
    )
    assert after <= before * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(
    fits=efficiencies(), ranks=st.sampled_from([2, 8, 64]), payload=spread(1, 1e12), factor=st.floats(1, 100)
)
def test_more_bytes_never_travel_faster(kind, fits, ranks, payload, factor):
    on = rates(cluster(64), fits)
    before, after = (seconds(kind, ranks, on=on, payload=size)[0] for size in (payload, factor * payload))
    assert before <= after * (1 + 1e-12)
    assert after <= factor * before * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(fits=efficiencies())
def test_columns_of_groups_and_payloads_are_their_rows(kind, fits):
    on = rates(cluster(64), fits)
    rows = [
        (ranks, stride, payload)
        for ranks in (1, 2, 8, 16)
        for stride in (1, 2, 8)
        for payload in (0.0, 1e3, 1e9)
    ]
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    together = seconds(kind, *columns[:2], on=on, payload=columns[2])
    alone = [seconds(kind, ranks, stride, on=on, payload=payload) for ranks, stride, payload in rows]
    np.testing.assert_allclose(together[0], [whole for whole, _ in alone], rtol=1e-12)
    for name, column in together[1].items():
        # a part is what is left of the whole: right to the whole's last digits
        off = column - [by_resource[name] for _, by_resource in alone]
        assert np.all(np.abs(off) <= 1e-12 * together[0])
