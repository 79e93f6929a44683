"""Offload: what leaves the device is moved over its own link, is gone from the device, and is found in the host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.costs import training_costs
from perfmodel.costs.training import training_pass
from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.hardware import Cluster
from perfmodel.parallel import Parallel
from perfmodel.work import Transfer, kernels, total
from perfmodel.workload import Offload, Training
from tests.strategies import device, ideal

MODEL = decoder(layers=4, hidden=64, heads=4, kv_heads=2, inner=96, vocabulary=128)
ROWS, PASSES, RANKS = 2 * 16, 3, 4
LAYER = (64 * 64 * 2 + 2 * 64 * 32) + 3 * 64 * 96 + 2 * 64
"""Parameters of a layer: four projections, three products, two norms."""


def training(**changes):
    fields = {"global_batch": 2 * PASSES * RANKS, "sequence_length": 16}
    return Training(**(fields | changes))


def layout(**changes):
    return Parallel(**({"dp": RANKS, "micro_batch": 2, "sharding": "zero3"} | changes))


def costs(**changes):
    given = {key: changes.pop(key) for key in ("sharding", "reshard") if key in changes}
    return training_costs(MODEL, training(**changes), layout(**given))


def moved(tree, link="host_link", name=""):
    """Bytes on a link in one step."""

    def measure(leaf):
        return leaf.bytes if isinstance(leaf, Transfer) and leaf.link == link and name in leaf.name else 0

    return total(tree, measure)


# --- what is counted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "elements"),
    [
        (("layer input",), 64),
        (("decoder_layer_input", "query_proj", "out_proj"), 3 * 64),
        (("key", "value"), 64),
    ],
)
def test_named_activations_leave_and_come_back(names, elements):
    """Elements of 2 bytes, 4 layers, 3 passes, there and back."""
    kept = {"recompute": "full", "recompute_keep": ("query", "key", "value", "output")}
    here, away = costs(**kept), costs(**kept, offload={"activations": names})
    assert moved(away.tree) == 2 * PASSES * 4 * ROWS * elements * 2
    stage, before = away.memory[0], here.memory[0]
    assert stage.offloaded == 4 * ROWS * elements * 2
    assert before.activations - stage.activations == stage.offloaded
    assert stage.buffers - before.buffers == 2 * ROWS * elements * 2


def test_everything_that_is_kept_can_leave():
    stage = costs(offload={"activations": ("everything",)}).memory[0]
    ends = sum(
        layer.saved(training_pass(MODEL, training(), layout())) for layer in (*MODEL.entry, *MODEL.exit)
    )
    assert stage.activations == ends


def test_weights_come_for_forward_and_for_backward():
    """This rank's shard of every layer and of the ends, 2 bytes a parameter, twice a pass."""
    away = costs(offload={"weights": 1})
    assert moved(away.tree, name="weights in") == 2 * PASSES * MODEL.parameters / RANKS * 2
    assert away.memory[0].weights == 0
    assert away.memory[0].offloaded == MODEL.parameters / RANKS * 2


@pytest.mark.parametrize(("sharding", "times"), [("zero3", PASSES), ("zero1", 1)])
def test_gradients_leave_as_often_as_they_are_reduced(sharding, times):
    away = costs(offload={"gradients": 1}, sharding=sharding)
    assert moved(away.tree, name="gradients out") == times * MODEL.parameters / RANKS * 4
    assert away.memory[0].gradients == 0


def test_the_host_updates_what_it_holds():
    """AdamW on a shard: gradient twice, two moments in and out, master copy in and out, new weight: 44 - 2 bytes."""
    away, here = costs(offload={"optimizer": 1}), costs()
    shard = MODEL.parameters / RANKS
    assert moved(away.tree, "host_memory") == shard * (2 * 4 + 2 * 8 + 2 * 4 + 2)
    assert moved(away.tree, name="gradients out") == shard * 4
    assert moved(away.tree, name="weights back") == shard * 2
    assert (here.memory[0].optimizer, away.memory[0].optimizer) == (shard * 12, 0)
    assert away.memory[0].offloaded == shard * 12


def test_storage_streams_all_states_in_and_out():
    away = costs(offload={"optimizer": 1, "to": "nvme"})
    assert moved(away.tree, "storage", "states") == 2 * MODEL.parameters / RANKS * 12


@given(
    shares=st.fixed_dictionaries({kind: st.floats(0, 1) for kind in ("weights", "gradients", "optimizer")}),
    sharding=st.sampled_from(["none", "zero1", "zero2", "zero3"]),
)
def test_nothing_is_lost_on_the_way(shares, sharding):
    here, away = costs(sharding=sharding).memory[0], costs(sharding=sharding, offload=shares).memory[0]
    states = ("weights", "gradients", "optimizer")
    left = sum(getattr(away, kind) for kind in states)
    assert left + away.offloaded == pytest.approx(sum(getattr(here, kind) for kind in states))


def test_copies_are_no_kernels_of_the_host():
    assert total(costs(offload={"weights": 1}).tree, kernels) == total(costs().tree, kernels)


# --- what it takes --------------------------------------------------------------------------------------------------


def machine(link="100 GB/s", **changes):
    return Cluster.of(device(host_link={"name": "PCIe", "bandwidth": link}), RANKS, **changes)


def predicted(cluster=None, **offload):
    return estimate(MODEL, training(offload=offload), layout(), cluster or machine(), efficiency=ideal())


def test_nothing_offloaded_is_no_offload():
    none, zero = predicted(), predicted(weights=0.0, activations=())
    assert zero.step_time == none.step_time
    assert zero.memory == none.memory
    assert "host_link" not in none.resources


@pytest.mark.parametrize("offload", [{"weights": 1}, {"gradients": 1}, {"activations": ("everything",)}])
def test_an_infinite_link_is_free(offload):
    assert predicted(machine("1e30 B/s"), **offload).step_time == pytest.approx(predicted().step_time)


def test_a_slow_link_sets_the_pace():
    est = predicted(machine("1 MB/s"), weights=1)
    assert est.limiter.name == "host_link"
    expected = 2 * PASSES * MODEL.parameters / RANKS * 2 / 1e6
    assert est.step_time == pytest.approx(expected, rel=0.05)
    assert est.terms["offload"] == pytest.approx(est.resources["host_link"])


def test_copies_take_no_cores_from_compute():
    losing = ideal(overlap={"slowdown": 0.5})
    work = training(offload={"weights": 1})
    est = estimate(MODEL, work, layout(overlap=()), machine("1e30 B/s"), efficiency=losing)
    assert est.terms["contention"] == 0


def test_the_slower_of_link_and_storage_counts():
    fast, slow = (
        predicted(machine("1 GB/s", storage=rate), weights=1, to="nvme") for rate in ("1 TB/s", "1 MB/s")
    )
    assert fast.limiter.name == "host_link"
    assert slow.limiter.name == "storage"
    assert slow.memory.storage == MODEL.parameters / RANKS * 2
    assert slow.memory.host == 0


@given(st.sampled_from(["weights", "gradients", "optimizer"]), st.floats(0, 1), st.floats(0, 1))
def test_more_offload_takes_longer_and_needs_less(kind, a, b):
    less, more = (predicted(machine("1 MB/s"), **{kind: share}) for share in sorted((a, b)))
    assert less.step_time <= more.step_time * (1 + 1e-9)
    assert more.memory.states <= less.memory.states * (1 + 1e-9)


# --- what is told ---------------------------------------------------------------------------------------------------


def test_a_storage_of_unknown_bandwidth_is_asked_for():
    with pytest.raises(
        InputError, match=r"the bandwidth of the storage is unknown; give it: cluster.replace\(storage="
    ):
        predicted(weights=1, to="nvme")


def test_activations_that_are_not_kept_cannot_leave():
    with pytest.raises(
        InputError, match="offload of 'query', which recompute = full does not keep; it keeps layer input"
    ):
        costs(recompute="full", offload={"activations": ("query",)})


def test_wrong_names_get_near_ones():
    with pytest.raises(InputError, match='unknown result of a layer "querry"; did you mean query'):
        costs(offload={"activations": ("querry",)})


def test_the_host_must_hold_it():
    cluster = machine(host_memory="1 MB")
    est = predicted(cluster, optimizer=1)
    assert est.memory.host_capacity == 1e6 / 8
    assert not est.fits
    assert "in the host" in repr(est)
    assert predicted(machine(host_memory="1 TB"), optimizer=1).fits


def test_a_system_knows_the_memory_of_its_host():
    cluster = pm.Cluster.load("dgx-h100", devices=16)
    work = pm.Training(global_batch=16, sequence_length=4096, offload=Offload(optimizer=1), recompute="full")
    est = pm.estimate(pm.Model.load("llama-3.1-8b"), work, pm.Parallel(sharding="zero3"), cluster)
    assert est.memory.host_capacity == 2 * 2**40 / 8
    assert est.to_dict()["memory"]["host"] == est.memory.host == 8030261248 / 16 * 12
    assert "offload optimizer to host" in repr(est)
    assert "link = host memory" in est.explain()
