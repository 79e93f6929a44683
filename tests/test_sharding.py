"""Sharded states: who splits them, when they travel, what hides that, and what it costs in memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.costs import training_costs
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.parallel import Group, Parallel, Spread, groups
from perfmodel.work import Collective, leaves, total
from perfmodel.workload import Training
from tests.strategies import cluster, gpt, ideal

MODEL = gpt(layers=4)
SIZE = MODEL.parameters
HSDP = Parallel(dp=16, sharding="hsdp", shards=4)


def sent(layout, *, micro_batches=1, model=MODEL):
    """Bytes of a step's data-parallel messages, by kind and group."""
    work = Training(global_batch=layout.dp * micro_batches, sequence_length=32)
    tree = training_costs(model, work, layout).tree
    kinds = {
        (leaf.kind, leaf.axis)
        for leaf in leaves(tree)
        if isinstance(leaf, Collective) and leaf.axis in ("data", "shard", "replicate")
    }

    def of(kind, axis):
        def measure(leaf):
            return (
                leaf.payload if (getattr(leaf, "kind", ""), getattr(leaf, "axis", "")) == (kind, axis) else 0
            )

        return measure

    return {key: pytest.approx(total(tree, of(*key)), rel=1e-12) for key in kinds}


def states(layout, *, micro_batches=1):
    work = Training(global_batch=layout.dp * micro_batches, sequence_length=32)
    return training_costs(MODEL, work, layout).memory[0]


# --- who splits them ----------------------------------------------------------------------------------------------


def test_copies_of_the_states_by_hand():
    """Gathered in 2 bytes among 4 neighbours, twice; reduced in 4 bytes, and a quarter of that among the 4 copies."""
    assert sent(HSDP) == {
        ("all_gather", "shard"): 4 * SIZE,
        ("reduce_scatter", "shard"): 4 * SIZE,
        ("all_reduce", "replicate"): SIZE,
    }
    placed = groups(HSDP.replace(tp=2, cp=2))
    assert (placed["shard"], placed["replicate"]) == (Group(4, 2), Group(8, 8))


def test_copies_hold_what_their_shards_hold():
    hybrid, whole = states(HSDP), states(Parallel(dp=4, sharding="zero3"))
    assert hybrid == whole


@settings(max_examples=30)
@given(dp=st.sampled_from([1, 2, 4, 16]))
def test_one_copy_is_zero_3(dp):
    """As many shards as ranks: the same bytes, the same memory, the same time."""
    work, fits = Training(global_batch=32, sequence_length=256), ideal()
    one, plain = (
        estimate(MODEL, work, Parallel(dp=dp, **how), cluster(dp), efficiency=fits)
        for how in ({"sharding": "hsdp", "shards": dp}, {"sharding": "zero3"})
    )
    assert one.step_time == pytest.approx(plain.step_time, rel=1e-12)
    assert one.memory == plain.memory


def test_copies_pay_where_the_fabric_is_slow():
    work = Training(global_batch=64, sequence_length=512)
    slow = cluster(64, scale_out=1e9)
    hybrid = estimate(gpt(hidden=512, heads=8), work, Parallel(sharding="hsdp", shards=8), slow)
    whole = estimate(gpt(hidden=512, heads=8), work, Parallel(sharding="zero3"), slow)
    assert hybrid.step_time < whole.step_time
    assert hybrid.memory.states > whole.memory.states


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sharding": "hsdp"}, "sharding = 'hsdp' needs shards"),
        (
            {"shards": 8},
            "shards = 8 are those of sharding = 'hsdp', which is 'zero1'; nearest: sharding = 'hsdp'",
        ),
    ],
)
def test_shards_go_with_hsdp(fields, words):
    with pytest.raises(InputError) as error:
        Parallel(**fields)
    assert words in str(error.value)


def test_every_copy_has_as_many_shards():
    layout = Parallel(dp=12, cp=2, sharding="hsdp", shards=5)
    with pytest.raises(InputError) as error:
        layout.check(MODEL, Training(global_batch=12, sequence_length=32))
    assert str(error.value) == (
        "Parallel: shards = 5 does not divide the dp · cp = 12 · 2 = 24 ranks that share gradients; "
        "valid: 1, 2, 3, 4, 6, 8, 12, 24; nearest: 4"
    )


# --- when they travel ---------------------------------------------------------------------------------------------


def test_weights_that_stay_are_gathered_once():
    kept = Parallel(dp=8, sharding="zero3", reshard=False)
    assert sent(kept) == {("all_gather", "data"): 2 * SIZE, ("reduce_scatter", "data"): 4 * SIZE}
    dropped, held = states(kept.replace(reshard=True)), states(kept)
    layer = sum(layer.local_parameters(1) for layer in MODEL.blocks[0].layers)
    assert held.buffers - 2 * SIZE == dropped.buffers - layer * 2 * 2
    assert held.weights == dropped.weights


@pytest.mark.parametrize("sharding", ["none", "zero1", "zero2", "zero3"])
@pytest.mark.parametrize("sync", ["every", "last", None])
@given(micro_batches=st.integers(1, 6))
def test_gradients_travel_as_often_as_they_are_reduced(sharding, sync, micro_batches):
    """No_sync: DDP and DeepSpeed below stage 2 wait for the last micro-batch, who splits gradients does not."""
    layout = Parallel(dp=4, sharding=sharding, gradient_sync=sync)
    every = sync == "every" or (sync is None and sharding in ("zero2", "zero3"))
    kind = "all_reduce" if sharding == "none" else "reduce_scatter"
    times = micro_batches if every else 1
    assert sent(layout, micro_batches=micro_batches)[kind, "data"] == times * 4 * SIZE


def test_gradients_that_wait_are_held_whole():
    every, last = (states(Parallel(dp=4, sharding="zero3", gradient_sync=sync)) for sync in ("every", "last"))
    assert last.gradients == 4 * every.gradients == 4 * SIZE


# --- what hides them ----------------------------------------------------------------------------------------------


def exposed(layout, *, model=MODEL, scale_out=5e10, peak=1e15, **work):
    on = cluster(layout.dp * layout.pp, scale_out=scale_out)
    on = on.replace(device=on.device.replace(peak={"bf16": peak}))
    job = Training(**({"global_batch": layout.dp, "sequence_length": 512, "clip_gradients": False} | work))
    return estimate(model, job, layout, on, efficiency=ideal()).terms.get("dp", 0.0)


@pytest.mark.parametrize("sharding", ["none", "zero1", "zero3"])
def test_the_first_layer_has_nothing_to_hide_behind(sharding):
    """Compute that takes for ever hides all messages but those of the first layer, or of its bucket."""
    deep = gpt(layers=10, vocabulary=8, positions=0)
    one = sum(layer.local_parameters(1) for layer in deep.blocks[0].layers)
    entry = sum(layer.local_parameters(1) for layer in deep.entry)
    bucket = -(-deep.parameters // 10)
    apart = exposed(Parallel(dp=16, sharding=sharding, bucket=bucket, overlap=()), model=deep)
    beside = exposed(Parallel(dp=16, sharding=sharding, bucket=bucket), model=deep, peak=1e6)
    # of zero3, gathered once and reduced once where nothing computes, of twice gathered and once reduced in all
    alone = (one + entry) * (2 + 4) / (deep.parameters * (2 + 2 + 4))
    share = alone if sharding == "zero3" else 1 / 10
    assert beside == pytest.approx(share * apart, rel=1e-9)


def test_without_prefetch_weights_are_waited_for():
    """Every gather stands out, 2 · 2 bytes a parameter; gradients still hide."""
    ahead, late = (
        exposed(Parallel(dp=16, sharding="zero3", prefetch=prefetch), peak=1e6) for prefetch in (True, False)
    )
    apart = exposed(Parallel(dp=16, sharding="zero3", overlap=()))
    assert ahead < late < apart
    assert apart - late == pytest.approx((apart - ahead) * 4 / (4 + 2 * 2), rel=0.2)
    assert (
        states(Parallel(dp=16, sharding="zero3", prefetch=False)).buffers
        < states(Parallel(dp=16, sharding="zero3")).buffers
    )


@given(bucket=st.integers(1, 10**6))
def test_smaller_buckets_hide_more_on_a_network_without_latency(bucket):
    def seconds(size):
        return exposed(Parallel(dp=16, sharding="none", bucket=size), peak=1e6)

    assert seconds(bucket) <= seconds(2 * bucket) * (1 + 1e-9)


# --- the update ---------------------------------------------------------------------------------------------------


def updated(layout=Parallel(dp=4, tp=2, pp=2), **changes):  # noqa: B008  # frozen
    """Leaves of the optimizer's step."""
    work = Training(**({"global_batch": layout.dp, "sequence_length": 32} | changes))
    tree = training_costs(gpt(layers=4, tied=False), work, layout).tree
    return [leaf for leaf in leaves(tree) if leaf.name in ("gradient norm", "optimizer", "cast weights")]


def test_the_norm_is_read_once_and_summed_over_all_ranks():
    norm, message, update = updated()
    bare = updated(clip_gradients=False)
    assert bare == [update]
    assert norm.bytes * 30 == update.bytes * 4  # of 34 bytes a parameter, 4 are for the norm
    assert (message.kind, message.payload, message.axis) == ("all_reduce", 4, "everyone")
    assert groups(Parallel(dp=4, tp=2, pp=2))["everyone"] == Group(16, 1)
    assert updated(Parallel(dp=4, tp=2, pp=2, sharding="none"))[1].axis == "model"
    assert groups(Parallel(dp=4, tp=2, pp=2))["model"] == Spread(4, 1, 2, 8)


def test_single_tensors_have_a_kernel_each():
    """The last stage has 2 layers (two norms of 2 tensors, attention and mlp of 4 each), a norm and the head."""
    norm, _, update, cast = updated(fused_optimizer=False)
    tensors = 2 * (2 * 2 + 4 + 4) + 2 + 1
    assert (norm.launches, update.launches, cast.launches) == (tensors + 1, tensors, tensors)
    fused = updated()
    assert update.bytes + cast.bytes == pytest.approx(
        fused[2].bytes * 34 / 30
    )  # the master copy is read again


def test_gradients_travel_in_their_own_format():
    work = Training(global_batch=4, sequence_length=32)
    for dtype, size in (("bf16", 2), (None, 4)):
        tree = training_costs(MODEL, work.replace(reduce_dtype=dtype), Parallel(dp=4, sharding="none")).tree
        sent_bytes = total(tree, lambda leaf: leaf.payload if getattr(leaf, "axis", "") == "data" else 0)
        assert sent_bytes == size * SIZE
    assert work.replace(reduce_dtype="bf16").formats.gradient_bytes == 4
