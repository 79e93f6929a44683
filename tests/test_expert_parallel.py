"""Expert parallelism counted by hand: parameters, states, gradients, messages, memory, rules and groups."""

import numpy as np
import pytest

from perfmodel.costs import entering, training_costs
from perfmodel.costs.parameters import held
from perfmodel.costs.parts import parts
from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.layers import MixtureOfExperts
from perfmodel.parallel import Group, Parallel, groups
from perfmodel.parallel.placement import Spread
from perfmodel.work import Collective, Matmul, Overlap, Repeat, Serial, Work, flops, leaves, total
from perfmodel.workload import Training
from tests.strategies import cluster, gpt, ideal

EXPERTS = MixtureOfExperts(hidden=64, inner=32, experts=8, top_k=2)
SHARED = EXPERTS.replace(shared_inner=48)
LAYERS, VOCABULARY = 3, 128
ROUTED = 8 * 3 * 64 * 32
"""Parameters of the routed experts of a layer."""
WORK = Training(global_batch=64, sequence_length=128)
WIDE = {"tp": 2, "dp": 8, "sequence_parallel": True}


def model(experts=EXPERTS):
    return decoder(layers=LAYERS, hidden=64, heads=4, vocabulary=VOCABULARY, feeds=(experts,))


def training_pass(work, layout):
    return entering.training_pass(model(), work, layout)


def costs(layout, *, work=WORK, experts=EXPERTS):
    layout.check(model(experts), work)
    return training_costs(model(experts), work, layout)


def messages(work: Work, axis: str, times=1) -> list[tuple[str, str, float]]:
    """Name, kind and payload of every message of an axis that is sent at all."""
    if isinstance(work, Collective):
        return [(work.name, work.kind, float(work.payload))] if work.axis == axis and times else []
    if isinstance(work, Serial):
        return [found for part in work.parts for found in messages(part, axis, times)]
    if isinstance(work, Repeat):
        return messages(work.work, axis, times * work.times)
    return messages(work.work, axis, times) if isinstance(work, Overlap) else []


# --- groups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "by_hand"),
    [
        ({"tp": 2, "dp": 8}, {"expert tp": (2, 1), "ep": (1, 2), "expert data": (8, 2)}),
        ({"tp": 2, "dp": 8, "ep": 4}, {"expert tp": (1, 1), "ep": (4, 1), "expert data": (4, 4)}),
        (
            {"tp": 2, "dp": 8, "ep": 4, "expert_tp": 2},
            {"expert tp": (2, 1), "ep": (4, 2), "expert data": (2, 8)},
        ),
        ({"cp": 2, "dp": 8, "ep": 16, "pp": 4}, {"expert tp": (1, 1), "ep": (16, 1), "expert data": (1, 16)}),
    ],
)
def test_experts_are_dealt_anew_to_the_ranks_of_a_stage(fields, by_hand):
    """As Megatron-Core's second rank generator: expert tp, ep, expert data, innermost first; stages stay farthest."""
    placed = groups(Parallel(**fields))
    assert {name: placed[name] for name in by_hand} == {name: Group(*one) for name, one in by_hand.items()}


def test_without_experts_apart_the_groups_are_those_of_dense_layers():
    placed = groups(Parallel(tp=4, cp=2, dp=8))
    assert placed["expert tp"] == placed["tp"]
    assert placed["expert data"] == placed["data"]


@pytest.mark.parametrize(
    ("ep", "by_hand"),
    [
        (2, {"ep": Spread(2, 1, 2, 8), "expert data": Spread(8, 8, 1, 8)}),
        (4, {"ep": Spread(4, 1, 2, 8), "expert data": Spread(4, 16, 1, 16)}),
    ],
)
def test_stages_may_lie_between_the_ranks_that_share_experts(ep, by_hand):
    """Devices 0 and 1 are of the first stage, and so are 8 and 9: the ranks of four stages take turns."""
    placed = groups(Parallel(tp=2, pp=4, dp=8, ep=ep, order=("tp", "cp", "pp", "dp")))
    assert {name: placed[name] for name in by_hand} == by_hand


# --- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"dp": 6, "ep": 3},
            "ep = 3 does not divide the 8 routed experts; valid: 1, 2, 4, 8; nearest: 2",
        ),
        (
            {"dp": 2, "ep": 8},
            "ep = 8, with 1 ranks an expert, does not divide the tp · cp · dp = 2 ranks of a stage; valid: 1, 2; "
            "nearest: 2",
        ),
        (
            {"tp": 2, "dp": 2, "ep": 4, "expert_tp": 2},
            "ep = 4, with 2 ranks an expert, does not divide the tp · cp · dp = 4 ranks of a stage; valid: 1, 2; "
            "nearest: 2",
        ),
        (
            {"dp": 3, "expert_tp": 3},
            "expert_tp = 3 does not divide the 32 expert columns; valid: 1, 2, 4, 8, 16, 32; nearest: 2",
        ),
        (
            {"tp": 4, "dp": 1, "expert_tp": 8},
            "expert_tp = 8 does not divide the tp · cp · dp = 4 ranks of a stage; valid: 1, 2, 4; nearest: 4",
        ),
    ],
)
def test_rules_of_experts(fields, sentence):
    with pytest.raises(InputError) as error:
        Parallel(**fields).check(model(), WORK.replace(global_batch=6 * 64))
    assert list(error.value.faults) == [sentence]


@pytest.mark.parametrize(("field", "nearest"), [("ep", 1), ("expert_tp", "none")])
def test_a_model_without_experts_shares_none(field, nearest):
    with pytest.raises(InputError) as error:
        Parallel(dp=2, **{field: 2}).check(gpt(), WORK)
    told = f"{field} = 2 shares routed experts, and the model has none; nearest: {field} = {nearest}"
    assert list(error.value.faults) == [told]


def test_columns_of_experts_are_whole_on_the_ranks_that_share_one():
    """With experts on ranks of their own, tp has to divide the columns of shared experts only."""
    odd = model(EXPERTS.replace(inner=31))
    Parallel(tp=2, dp=4, ep=4).check(odd, WORK)
    with pytest.raises(InputError, match="tp = 2 does not divide the 31 expert columns"):
        Parallel(tp=2, dp=4).check(odd, WORK)


def test_messages_are_hidden_once():
    with pytest.raises(InputError, match="leave one of them out"):
        Parallel(overlap=("ep",), overlap_shared=True)


def test_room_and_imbalance_exclude_each_other():
    with pytest.raises(InputError, match="leave one of them out"):
        WORK.replace(capacity_factor=1.25, expert_imbalance=1.5)


# --- parameters, gradients, memory --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ep", "expert_tp", "ranks"), [(1, None, 2), (4, None, 4), (4, 2, 8), (8, None, 8), (8, 2, 16)]
)
def test_parameters_of_a_rank(ep, expert_tp, ranks):
    layout = Parallel(**WIDE, ep=ep, expert_tp=expert_tp)
    attention = (64 * 3 * 64 + 64 * 64) / 2
    dense = attention + 64 * 8 + 2 * 64
    found = parts(model(), training_pass(WORK, layout)).body_parameters()
    assert found == {"data": LAYERS * dense, "expert data": LAYERS * ROUTED / ranks}


def test_gradients_of_experts_are_reduced_over_those_that_hold_the_same():
    """Two messages: dense over all 8 data ranks, experts over 16 / 4 = 4 ranks; 32-bit gradients, 16-bit weights."""
    layout = Parallel(**WIDE, ep=4, sharding="zero1")
    tree = costs(layout).tree
    ends = (2 * VOCABULARY * 64) / 2 + 64
    body = LAYERS * ((64 * 3 * 64 + 64 * 64) / 2 + 64 * 8 + 2 * 64)
    assert messages(tree, "data") == [
        ("join gradients", "reduce_scatter", 4 * (body + ends)),
        ("gather weights", "all_gather", 2 * (body + ends)),
    ]
    assert messages(tree, "expert data") == [
        ("join gradients of experts", "reduce_scatter", 4 * LAYERS * ROUTED / 4),
        ("gather weights of experts", "all_gather", 2 * LAYERS * ROUTED / 4),
    ]


def test_sharded_experts_are_gathered_where_they_are_used():
    layout = Parallel(dp=8, ep=4, sharding="zero3")
    layer = training_costs(model(), WORK, layout).tree.parts[0].body
    found = messages(layer, "expert data")
    gather = ("gather weights of experts", "all_gather", 2 * ROUTED / 4)
    scatter = ("reduce gradients of experts", "reduce_scatter", 4 * ROUTED / 4)
    assert set(found) == {gather, scatter}


def test_copies_of_experts_join_their_gradients():
    """Hybrid sharding in fours of 8 ranks, 2 of which share the experts: 2 ranks split them, 2 copies join."""
    layout = Parallel(dp=8, ep=2, sharding="hsdp", shards=4)
    placed = groups(layout)
    assert (placed["expert shard"], placed["expert replicate"]) == (Group(2, 2), Group(2, 4))
    layer = training_costs(model(), WORK, layout).tree.parts[0].body
    assert set(messages(layer, "expert replicate")) == {
        ("reduce gradients of experts of copies", "all_reduce", 4 * ROUTED / 2 / 2)
    }


@pytest.mark.parametrize(("sharding", "each"), [("none", 18), ("zero1", 6 + 12 / 4), ("zero3", 18 / 4)])
def test_memory_of_experts(sharding, each):
    """States of the routed experts alone: 2 weight, 4 gradient, 12 optimizer bytes, over 4 ranks that hold the same."""
    layout = Parallel(**WIDE, ep=4, sharding=sharding)
    few, many = (
        costs(layout, experts=EXPERTS.replace(experts=n)).memory[0]
        for n in (EXPERTS.experts, 2 * EXPERTS.experts)
    )
    grown = sum(getattr(many, kind) - getattr(few, kind) for kind in ("weights", "gradients", "optimizer"))
    router = 64 * 8 * {"none": 18, "zero1": 6 + 12 / 8, "zero3": 18 / 8}[sharding]
    assert grown == pytest.approx(LAYERS * (each * ROUTED / 4 + router))


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "adafactor", "adamw_8bit"])
def test_states_of_experts_are_shared_by_all_of_their_ranks(optimizer):
    """Over every rank of the job the states add up to one copy of the model's."""
    work = WORK.replace(optimizer=optimizer)

    def states(layout):
        return costs(layout, work=work).memory[0].optimizer * layout.dp

    assert states(Parallel(dp=8, ep=8)) == pytest.approx(states(Parallel(dp=8)), rel=1e-12)


def test_one_expert_rank_changes_nothing():
    """ep = 1 is tensor parallelism inside experts: the messages and bytes that there were before."""
    p = training_pass(WORK, Parallel(**WIDE))
    together, before = EXPERTS.forward(p), EXPERTS.forward(p._replace(expert_tp=None))

    def payloads(work):
        return sorted((kind, size) for axis in ("tp", "expert tp") for _, kind, size in messages(work, axis))

    assert payloads(together) == payloads(before)
    assert total(together, flops) == total(before, flops)
    assert EXPERTS.saved(p) == EXPERTS.saved(p._replace(expert_tp=None))


# --- work and messages of a layer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence_parallel", [True, False])
@pytest.mark.parametrize(("ep", "expert_tp"), [(1, None), (4, None), (4, 2), (8, 1)])
def test_ranks_together_do_the_work_of_one(sequence_parallel, ep, expert_tp):
    """Products of the routed experts, over the tp ranks, are those of one rank without tensor parallelism."""
    layout = Parallel(tp=2, dp=8, ep=ep, expert_tp=expert_tp, sequence_parallel=sequence_parallel)

    def routed(p):
        every = (*leaves(EXPERTS.forward(p)), *leaves(EXPERTS.backward(p)))
        return sum(flops(one) for one in every if isinstance(one, Matmul) and one.name.startswith("experts"))

    p = training_pass(WORK, layout)
    assert 2 * routed(p) == pytest.approx(routed(p._replace(tp=1, ep=1, expert_tp=1)))


def sends(work):
    return [leaf.payload for leaf in leaves(work) if isinstance(leaf, Collective) and leaf.axis == "ep"]


@pytest.mark.parametrize(
    ("sequence_parallel", "expert_tp", "tokens"),
    [(True, 1, 64), (True, 2, 64), (False, 1, 64), (False, 2, 128)],
)
def test_each_rank_sends_its_tokens(sequence_parallel, expert_tp, tokens):
    """128 tokens over 2 tensor ranks, each sent to 2 experts in 16 bits of width 64; whole where both keep them all."""
    layout = Parallel(tp=2, dp=8, ep=4, expert_tp=expert_tp, sequence_parallel=sequence_parallel)
    p = training_pass(WORK, layout)
    assert sends(EXPERTS.forward(p)) == sends(EXPERTS.backward(p)) == [tokens * 2 * 64 * 2] * 2


def test_ranks_that_share_an_expert_gather_what_has_come_for_it():
    p = training_pass(WORK, Parallel(**WIDE, ep=4, expert_tp=2))
    copies = 128 * 2 * 64 * 2
    for work in (EXPERTS.forward(p), EXPERTS.backward(p)):
        assert sorted(messages(work, "expert tp")) == [
            ("expert tp all-gather", "all_gather", copies),
            ("expert tp reduce-scatter", "reduce_scatter", copies),
        ]
        assert messages(work, "tp") == []


def test_tokens_that_every_rank_holds_come_back_to_every_rank():
    """Without sequence parallelism each tensor rank routes half of the tokens, and all of them are gathered after."""
    p = training_pass(WORK, Parallel(tp=2, dp=8, ep=4))
    for work in (EXPERTS.forward(p), EXPERTS.backward(p)):
        assert messages(work, "tp") == [("tp all-gather tokens", "all_gather", 128 * 64 * 2)]


def test_shared_experts_keep_their_own_tensor_parallelism():
    p = training_pass(WORK, Parallel(**WIDE, ep=4))
    assert [kind for _, kind, _ in messages(SHARED.forward(p), "tp")] == ["all_gather", "reduce_scatter"]
    up = next(leaf for leaf in leaves(SHARED.forward(p)) if leaf.name == "mlp up")
    assert (up.m, up.n, up.k) == (128, 2 * 48 / 2, 64)


def test_the_busiest_rank_sets_the_pace():
    even, uneven, padded = (
        training_pass(WORK.replace(**changes), Parallel(dp=8, ep=4))
        for changes in ({}, {"expert_imbalance": 1.5}, {"capacity_factor": 1.25})
    )
    for p, load in ((uneven, 1.5), (padded, 1.25)):
        assert sends(EXPERTS.forward(p)) == [load * one for one in sends(EXPERTS.forward(even))]
        products = [
            sum(flops(one) for one in leaves(EXPERTS.forward(each)) if one.name.startswith("experts"))
            for each in (even, p)
        ]
        assert products[1] == pytest.approx(load * products[0])
    base = costs(Parallel(dp=8, ep=4))
    for changes in ({"expert_imbalance": 1.5}, {"capacity_factor": 1.25}):
        assert costs(Parallel(dp=8, ep=4), work=WORK.replace(**changes)).model_flops == base.model_flops


# --- overlap ------------------------------------------------------------------------------------------------------


def estimated(experts=SHARED, **fields):
    layout = Parallel(dp=8, ep=8, **fields)
    return estimate(model(experts), WORK, layout, cluster(8), efficiency=ideal())


def test_hidden_messages_are_told_and_a_step_is_not_slower():
    exposed, hidden = estimated(overlap=("dp",)), estimated(overlap=("dp", "ep"))
    beside_shared = estimated(overlap=("dp",), overlap_shared=True)
    assert exposed.terms["ep"] > beside_shared.terms["ep"] > 0
    assert exposed.terms["ep"] > hidden.terms["ep"] > 0
    assert hidden.tree.hidden > exposed.tree.hidden
    assert max(hidden.step_time, beside_shared.step_time) < exposed.step_time


def test_what_is_hidden_and_what_is_not_are_all_messages():
    """The first of 8 micro-batches has nobody beside it; no message is lost for it."""
    trees = [costs(Parallel(dp=8, ep=8, overlap=overlap)).tree for overlap in ((), ("ep",))]

    def sent(leaf):
        return leaf.payload if isinstance(leaf, Collective) and leaf.axis == "ep" else 0

    assert total(trees[0], sent) == pytest.approx(total(trees[1], sent))
    assert total(trees[0], flops) == pytest.approx(total(trees[1], flops))


def test_columns_are_their_rows():
    """Degrees may be columns, ep and expert_tp among them."""
    ep, expert_tp = np.array([1.0, 4.0, 4.0, 8.0]), np.array([2.0, 1.0, 2.0, 1.0])
    fields = {"tp": 2, "dp": 8, "sequence_parallel": True, "overlap": ("dp", "ep")}
    together = training_costs(
        model(SHARED), WORK, Parallel.model_construct(**fields, ep=ep, expert_tp=expert_tp)
    )
    for place in range(4):
        one = costs(Parallel(**fields, ep=int(ep[place]), expert_tp=int(expert_tp[place])), experts=SHARED)
        found = np.broadcast_to(together.memory[0].total, 4)[place]
        assert found == pytest.approx(one.memory[0].total, rel=1e-12)
        for measure in (flops, lambda leaf: leaf.payload if isinstance(leaf, Collective) else 0):
            assert np.broadcast_to(total(together.tree, measure), 4)[place] == pytest.approx(
                total(one.tree, measure)
            )


def test_held_by_hand():
    assert held((EXPERTS,), training_pass(WORK, Parallel(dp=8, ep=8))) == {
        "data": 512,
        "expert data": ROUTED / 8,
    }
