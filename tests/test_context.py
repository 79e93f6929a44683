"""A sequence that ranks share, tensor messages in a ring, and the order in which axes are placed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.costs import training_costs
from perfmodel.costs.messages import messages
from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.layers import Pass, SelfAttention
from perfmodel.parallel import AXES, Group, Parallel, Spread, groups
from perfmodel.work import Collective, flops, total
from perfmodel.workload import Training
from tests.strategies import cluster, gpt, ideal

LAYER = SelfAttention(hidden=256, heads=16, kv_heads=4, head_dim=16)
WAYS = ("ring", "all_gather", "ulysses")
STRATEGY = {"all_gather": "cp all-gather", "ulysses": "ulysses"}


def core(cp, context, *, backward=False, **changes):
    p = Pass(sequences=2, queries=64, keys=64, cp=cp, context=context, **changes)
    return LAYER._core(p, backward=backward)


def bytes_of(work, kind):
    return total(work, lambda leaf: leaf.payload if getattr(leaf, "kind", "") == kind else 0)


# --- the sequence -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", WAYS)
@pytest.mark.parametrize("backward", [False, True])
@given(cp=st.sampled_from([1, 2, 4, 8, 16]))
def test_ranks_share_the_work_evenly(context, backward, cp):
    whole, part = (total(core(ranks, context, backward=backward), flops) for ranks in (1, cp))
    assert cp * part == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("backward", [False, True])
def test_messages_by_hand(backward):
    """2 sequences of 64 tokens, 2 bytes: keys and values are 2 · 64 wide, queries and results 256."""
    whole = 2 * 64 * 2 * 64 * 2
    for context in ("ring", "all_gather"):
        work = core(4, context, backward=backward)
        assert bytes_of(work, "all_gather") == whole
        assert bytes_of(work, "reduce_scatter") == (whole if backward else 0)
    tokens = 2 * 64 / 4
    assert bytes_of(core(4, "ulysses", backward=backward), "all_to_all") == tokens * (2 * 256 + 2 * 64) * 2
    # 8 ranks share 4 key-value heads: each is sent twice
    assert (
        bytes_of(core(8, "ulysses", backward=backward), "all_to_all") == tokens / 2 * (2 * 256 + 4 * 64) * 2
    )


@pytest.mark.parametrize("context", ["all_gather", "ulysses"])
def test_a_step_sends_what_the_strategy_of_that_name_sends(context):
    model = decoder(layers=3, hidden=256, heads=16, kv_heads=4, inner=512, vocabulary=64)
    work, layout = Training(global_batch=4, sequence_length=64), Parallel(cp=4, dp=2, context=context)
    told = sum(message.bytes for message in messages(model, work, layout, STRATEGY[context]))

    def measure(leaf):
        return leaf.payload if isinstance(leaf, Collective) and leaf.axis == "cp" else 0

    assert total(training_costs(model, work, layout).tree, measure) == told


@pytest.mark.parametrize("context", WAYS)
def test_one_rank_costs_nothing_more(context):
    work, fits = Training(global_batch=2, sequence_length=512), ideal()
    one, ring = (
        estimate(gpt(), work, Parallel(context=name), cluster(1), efficiency=fits)
        for name in (context, "ring")
    )
    assert one.step_time == ring.step_time
    assert one.terms["cp"] == 0


def test_eager_attention_waits_for_all_keys():
    work = core(4, "ring", fused_attention=False, overlap_context=True)
    assert bytes_of(work, "all_gather") == 2 * 64 * 2 * 64 * 2


def test_whole_heads_for_every_rank():
    model = gpt(heads=8)
    with pytest.raises(InputError) as error:
        Parallel(tp=2, cp=8, dp=1, context="ulysses").check(
            model, Training(global_batch=1, sequence_length=64)
        )
    assert str(error.value) == (
        "Parallel: context = 'ulysses' gives heads to tp · cp = 2 · 8 = 16 ranks, which does not divide the 8 "
        "attention heads; valid: 1, 2, 4; nearest: 4 for cp"
    )


# --- tensor-parallel overlap --------------------------------------------------------------------------------------


def tensor(tp_overlap=None, overlap=(), *, scale_up=4e11, peak=1e15):
    on = cluster(8)
    on = on.replace(device=on.device.replace(peak={"bf16": peak}))
    on = on.replace(tiers=tuple(tier.replace(bandwidth=scale_up) for tier in on.tiers))
    layout = Parallel(tp=8, sequence_parallel=True, tp_overlap=tp_overlap, overlap=overlap)
    return estimate(
        gpt(heads=8, hidden=512),
        Training(global_batch=2, sequence_length=512),
        layout,
        on,
        efficiency=ideal(),
    )


def test_tp_in_overlap_is_pipelined():
    assert Parallel(overlap=("tp",)).tensor_overlap == "pipelined"
    assert Parallel().tensor_overlap == "none"
    assert tensor("pipelined").step_time == tensor(overlap=("tp",)).step_time
    with pytest.raises(InputError, match="overlap has tp, and tp_overlap = 'none' hides nothing"):
        Parallel(overlap=("tp",), tp_overlap="none")


def test_a_ring_hides_all_but_what_compute_is_too_short_for():
    """Endless compute: pipelined messages show one piece of 8, those in a ring nothing but the ends of the model."""
    apart, pieces, ring = (tensor(how, peak=1e9).overlap["tp"] for how in ("none", "pipelined", "ring"))
    assert apart.hidden == 0
    assert ring.exposed < pieces.exposed < apart.exposed
    assert pieces.hidden + pieces.exposed == pytest.approx(apart.exposed)
    assert ring.hidden + ring.exposed == pytest.approx(apart.exposed)  # a ring of sends moves as much


def test_overlap_is_told_by_axis_and_adds_up():
    est = estimate(
        gpt(heads=8, hidden=512, layers=8), Training(global_batch=16, sequence_length=512),
        Parallel(tp=2, cp=2, pp=2, vpp=2, sequence_parallel=True, overlap=("tp", "cp", "dp", "pp")), cluster(32),
        efficiency=ideal(),
    )  # fmt: skip
    assert set(est.overlap) == {"tp", "cp", "dp", "pp"}
    assert sum(hidden for hidden, _ in est.overlap.values()) == pytest.approx(est.tree.hidden)
    for axis, (_, exposed) in est.overlap.items():
        assert exposed == est.terms.get(axis, 0.0)
    assert est.to_dict()["overlap"]["tp"] == est.overlap["tp"]._asdict()
    assert "of them" in repr(est)
    assert "overlap: tensor-parallel messages" in est.explain()


# --- order --------------------------------------------------------------------------------------------------------


def test_axes_lie_as_they_are_told():
    layout = Parallel(tp=2, cp=3, dp=5, pp=7, order=("pp", "tp", "dp", "cp"))
    placed = groups(layout)
    by_hand = {
        "pp": Group(7, 1),
        "tp": Group(2, 7),
        "dp": Group(5, 14),
        "cp": Group(3, 70),
        "data": Group(15, 14),
    }
    assert {axis: placed[axis] for axis in by_hand} == by_hand


def test_data_ranks_apart_lie_in_blocks():
    """Megatron's use-tp-pp-dp-mapping: the 2 context ranks are neighbours, their 8 copies lie 8 devices apart."""
    placed = groups(
        Parallel(tp=2, cp=2, pp=2, dp=8, order=("tp", "cp", "pp", "dp"), sharding="hsdp", shards=4)
    )
    assert placed["data"] == Spread(16, 2, 2, 8)
    assert [placed["data"].within(size) for size in (1, 4, 8, 16, 128)] == [1, 2, 2, 4, 16]
    assert placed["shard"] == Spread(4, 2, 2, 8)
    assert placed["replicate"] == Spread(4, 16, 1, 16)
    few = groups(Parallel(tp=2, cp=4, pp=2, dp=8, order=("tp", "cp", "pp", "dp"), sharding="hsdp", shards=2))
    assert (few["shard"], few["replicate"]) == (Spread(2, 2, 2, 16), Spread(16, 4, 2, 16))


@given(order=st.permutations(AXES))
def test_any_order_is_as_good_on_one_switch(order):
    """Where every device is as near as any other, placement changes nothing."""
    model, work = gpt(heads=8, layers=4), Training(global_batch=8, sequence_length=512)
    layout = Parallel(tp=2, cp=2, pp=2, order=tuple(order))
    on = cluster(16, scale_out=4e11)
    plain = estimate(model, work, layout.replace(order=AXES), on, efficiency=ideal())
    found = estimate(model, work, layout, on, efficiency=ideal())
    assert found.tree.parts[0].seconds > 0
    assert found.memory == plain.memory
    assert found.step_time >= 0.3 * plain.step_time


def test_the_inner_axis_has_the_fast_links():
    model, work = gpt(heads=8, hidden=512, layers=4), Training(global_batch=16, sequence_length=512)
    near, far = (
        estimate(
            model, work, Parallel(tp=8, order=order), cluster(16, scale_out=1e9), efficiency=ideal()
        ).terms["tp"]
        for order in (AXES, ("dp", "cp", "tp", "pp"))
    )
    assert near < far


@pytest.mark.parametrize(
    "order", [("tp", "cp", "dp"), ("tp", "tp", "dp", "pp"), ("tp", "cp", "dp", "pp", "pp")]
)
def test_every_axis_has_one_place(order):
    with pytest.raises(InputError, match="must name each of tp, cp, dp, pp once; nearest: tp, cp, dp, pp"):
        Parallel(order=order)
