"""Costs: FLOPs by convention, states and activations by hand, and nothing lost between the devices."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.costs import MEMORY_KINDS, full_attention_flops, training_costs
from perfmodel.costs.stages import shares
from perfmodel.decoder import decoder
from perfmodel.formulas.training import palm_flops_per_token
from perfmodel.layers import Pass, Projection, SelfAttention
from perfmodel.parallel import Parallel
from perfmodel.work import Collective, Pipeline, Stream, flops, leaves, total
from perfmodel.workload import Training
from tests.strategies import gpt, jobs

STATES = ("weights", "gradients", "optimizer")
DIVIDED = {
    "none": set(), "zero1": {"optimizer"}, "zero2": {"optimizer", "gradients"}, "zero3": set(STATES),
}  # fmt: skip
ONE = Parallel(dp=1)
SOME = settings(max_examples=50)


def training(**changes):
    return Training(**({"global_batch": 8, "sequence_length": 32} | changes))


def costs(model=None, *, layout=ONE, **work):
    return training_costs(model or gpt(), training(**work), layout)


def llama(**changes):
    """No biases, no scales: every parameter but the embedding multiplies."""
    fields = {"layers": 4, "hidden": 64, "heads": 4, "inner": 96, "vocabulary": 128, "norm_weight": False}
    return decoder(**(fields | changes))


def forward_flops(model, work, *, part="all"):
    """Exact FLOPs of the whole step's forward, of its blocks or of their attention cores."""
    whole = Pass(*map(Fraction, (work.global_batch, work.sequence_length, work.sequence_length)))
    if part == "all":
        return total(model.forward(whole), flops)
    work_of = {"blocks": lambda layer: layer.forward(whole), "cores": lambda layer: layer.core(whole)}[part]
    return sum(
        block.repeat * total(work_of(layer), flops) for block in model.blocks for layer in block.layers
    )


def messages(work, axis):
    return [
        (leaf.kind, leaf.payload)
        for leaf in leaves(work)
        if isinstance(leaf, Collective) and leaf.axis == axis
    ]


# --- operations ---------------------------------------------------------------------------------------------------


@SOME
@given(jobs())
def test_model_flops_are_three_times_forward(job):
    found = training_costs(job.model, job.work, job.layout)
    assert found.model_flops == pytest.approx(3 * float(forward_flops(job.model, job.work)), rel=1e-12)
    assert found.model_flops == pytest.approx(
        job.model.flops(
            batch=job.work.global_batch, sequence_length=job.work.sequence_length, mode="training"
        ),
        rel=1e-12,
    )
    assert found.tokens == job.work.tokens


@given(
    layers=st.integers(1, 6),
    heads=st.sampled_from([1, 2, 8]),
    head_dim=st.sampled_from([16, 64]),
    batch=st.integers(1, 9),
)
def test_the_palm_convention_is_its_formula(layers, heads, head_dim, batch):
    model, work = llama(layers=layers, heads=heads, head_dim=head_dim), training(global_batch=batch)
    embedding = model.parameters_by_kind()["embedding"]
    token = palm_flops_per_token(
        parameters=model.parameters - embedding,
        layers=layers,
        heads=heads,
        head_dim=head_dim,
        sequence_length=32,
    )
    assert full_attention_flops(model, work, ONE) == pytest.approx(work.tokens * token, rel=1e-12)


def test_conventions_differ_by_half_of_attention():
    model, work = llama(), training()
    causal, full = costs(model).model_flops, full_attention_flops(model, work, ONE)
    # a causal mask leaves S (S + 1) / 2 of S² pairs
    attention = 3 * 4 * work.tokens * 32 * 4 * 64
    assert full - causal == attention * (1 - 33 / 64)


@SOME
@given(jobs())
def test_model_flops_do_not_depend_on_the_kernels(job):
    """Eager attention computes what the mask drops, but the convention does not count it."""
    fused, eager = (
        training_costs(job.model, job.work.replace(attention=kind), job.layout)
        for kind in ("flash", "unfused")
    )
    assert (fused.model_flops, fused.hardware_flops) == (eager.model_flops, eager.hardware_flops)


@pytest.mark.parametrize("layout", [ONE, Parallel(tp=2, pp=2, dp=2, sequence_parallel=True)])
def test_recomputation_adds_what_it_repeats(layout):
    model = gpt(layers=4)
    plain, core, full = (
        costs(model, layout=layout, recompute=what) for what in ("none", "selective", "full")
    )
    assert plain.model_flops == core.model_flops == full.model_flops == plain.hardware_flops
    assert core.hardware_flops - plain.hardware_flops == forward_flops(model, training(), part="cores")
    assert full.hardware_flops - plain.hardware_flops == forward_flops(model, training(), part="blocks")


@SOME
@given(jobs())
def test_all_devices_together_do_the_hardware_flops(job):
    """Nothing is lost or done twice between tensor, context, data ranks and stages."""
    layout = job.layout
    copied = any(
        isinstance(layer, SelfAttention) and layer.kv_heads < layout.tp for layer, _ in job.model.layers()
    )
    if copied or any(isinstance(layer, Projection) for layer, _ in job.model.layers()):
        return
    found = training_costs(job.model, job.work, layout)
    done = layout.replica * layout.dp * total(found.tree, flops)
    cores = float(forward_flops(job.model, job.work, part="cores"))
    if job.work.attention == "flash":
        beyond = cores / 2  # the backward kernel computes the scores again, which no convention counts
    else:  # eager kernels compute what the mask drops: forward, twice in backward, once more where recomputed
        full = float(forward_flops(job.model.attending("full"), job.work, part="cores"))
        beyond = (3 if job.work.recompute == "none" else 4) * (full - cores)
    assert done == pytest.approx(found.hardware_flops + beyond, rel=1e-9)


# --- model states -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gradient_dtype", "each"), [("fp32", 18), ("bf16", 16)])
def test_mixed_precision_is_18_bytes_a_parameter(gradient_dtype, each):
    model = gpt()
    for stage in costs(model, layout=Parallel(dp=1, sharding="none"), gradient_dtype=gradient_dtype).memory:
        assert stage.weights == 2 * model.parameters
        assert stage.gradients == (each - 14) * model.parameters
        assert stage.optimizer == 12 * model.parameters
        assert stage.weights + stage.gradients + stage.optimizer == each * model.parameters


@pytest.mark.parametrize("sharding", list(DIVIDED))
@SOME
@given(job=jobs())
def test_sharding_divides_the_right_states_exactly(sharding, job):
    layout = job.layout.replace(sharding=sharding)
    whole = training_costs(job.model, job.work, layout.replace(sharding="none"))
    for stage, kept in zip(whole.memory, training_costs(job.model, job.work, layout).memory, strict=True):
        for kind in STATES:
            ranks = layout.dp * layout.cp if kind in DIVIDED[sharding] else 1
            assert getattr(kept, kind) == pytest.approx(getattr(stage, kind) / ranks, rel=1e-15), kind
        assert kept.activations == stage.activations
        assert kept.buffers >= stage.buffers


@given(tp=st.sampled_from([1, 2, 4]), pp=st.sampled_from([1, 2, 3, 6]), tied=st.booleans())
def test_all_stages_and_tensor_ranks_together_hold_the_model(tp, pp, tied):
    model = gpt(layers=6, tied=tied)
    held = costs(model, layout=Parallel(tp=tp, pp=pp, dp=1, sharding="none")).memory
    first, middle, last = (stage.weights / 2 for stage in held)
    stages = first if pp == 1 else first + (pp - 2) * middle + last
    copied = sum(w.size * times for w, times in model.weights() if w.split is None)
    head = 64 * 128 if tied and pp > 1 else 0  # the last stage holds the tied table again
    assert tp * stages == pytest.approx(model.parameters + (tp - 1) * copied + head, rel=1e-12)


def test_one_stage_is_the_whole_model_whatever_it_is_called():
    first, middle, last = costs(layout=Parallel(dp=1)).memory
    assert first[1:] == middle[1:] == last[1:]
    assert (first.stage, middle.stage, last.stage) == ("first", "middle", "last")
    assert first.total == sum(getattr(first, kind) for kind in MEMORY_KINDS)


def test_gathered_layers_of_zero_3_are_buffers():
    """Two gathered layers of 2 bytes a parameter and the gradient of one in 4."""
    model = gpt()
    layer = sum(layer.local_parameters(1) for layer in model.blocks[0].layers)
    sharded, whole = (costs(model, layout=Parallel(dp=4, sharding=s)).memory[0] for s in ("zero3", "none"))
    assert sharded.buffers - whole.buffers == layer * (2 * 2 + 4)


# --- activations --------------------------------------------------------------------------------------------------


def megatron(layers, hidden, heads, *, pp, vpp, micro_batch, recompute, together):
    """Costs of one of the four models of arXiv:2205.05198, table 3, eight-way tensor parallel."""
    model = gpt(layers=layers, hidden=hidden, heads=heads, vocabulary=51200)
    work = training(
        global_batch=8 * pp * micro_batch, sequence_length=2048, precision="fp16", recompute=recompute,
        attention="unfused", dropout=True,
    )  # fmt: skip
    layout = Parallel(
        tp=8, pp=pp, vpp=vpp, micro_batch=micro_batch, dp=1, sharding="none", sequence_parallel=together
    )
    return model, training_costs(model, work, layout)


MEGATRON = {
    "22B": {"layers": 48, "hidden": 6144, "heads": 64, "pp": 1, "vpp": 1, "micro_batch": 4},
    "175B": {"layers": 96, "hidden": 12288, "heads": 96, "pp": 8, "vpp": 3, "micro_batch": 1},
    "530B": {"layers": 105, "hidden": 20480, "heads": 128, "pp": 35, "vpp": 3, "micro_batch": 1},
    "1T": {"layers": 128, "hidden": 25600, "heads": 160, "pp": 64, "vpp": 1, "micro_batch": 1},
}
GIB = 2**30


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "recompute", "together", "measured"),
    [  # arXiv:2205.05198 figure 1, GiB a device, as in calculon's validation file (calculon/llm/validation.py)
        ("22B", "none", False, 59.25), ("22B", "selective", True, 9.5625),
        ("175B", "none", False, 66.84375), ("175B", "selective", True, 12.3515625),
        ("530B", "none", False, 114.0234375), ("530B", "selective", True, 23.076171875),
        ("1T", "none", False, 131.25), ("1T", "selective", True, 26.5625),
    ],
)  # fmt: skip
def test_activations_of_megatron(name, recompute, together, measured):
    """The figure counts the layers alone; the first of many stages holds little else, a single one holds the head."""
    _, found = megatron(**MEGATRON[name], recompute=recompute, together=together)
    first = found.memory[0].activations / GIB
    if name == "22B":
        rows = 4 * 2048 / (8 if together else 1)
        # tokens, input of the final norm, input of the head, logits in 32 bits
        first -= (4 * 2048 * 8 + 2 * rows * 6144 * 2 + 4 * 2048 * 51200 / 8 * 4) / GIB
    assert first == pytest.approx(measured, rel=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "measured"), [("22B", 45.5625), ("175B", 45.5625), ("530B", 31.640625), ("1T", 32.958984375)]
)
def test_states_of_megatron(name, measured):
    """Weights, gradients and optimizer of the layers, 18 bytes a parameter: figure 1 as in calculon's validation file.

    It leaves out biases and norms: 12 h² a layer are the matrices.
    """
    model, found = megatron(**MEGATRON[name], recompute="none", together=False)
    middle = found.memory[1]
    states = middle.weights + middle.gradients + middle.optimizer
    if name == "22B":  # a single stage holds the tables, too
        states -= 18 * (51200 * 6144 / 8 + 2048 * 6144 + 2 * 6144)
    assert states / GIB == pytest.approx(measured, rel=8e-4)
    matrices = sum(w.size * times for w, times in model.weights() if w.kind == "matrix")
    assert 18 * matrices / 8 / MEGATRON[name]["pp"] / GIB == measured


def test_full_recomputation_keeps_the_input_of_each_layer():
    """2 sbh a layer, and one layer's activations for a moment."""
    model, layout = gpt(), Parallel(dp=1, tp=2, micro_batch=2)
    plain, full = (costs(model, layout=layout, recompute=what).memory[0] for what in ("none", "full"))
    rows, ends = 2 * 32 * 64, 2 * 32 * 8 + 2 * 32 * 64 * 4 + 2 * 32 * 128 / 2 * 4
    assert full.activations == 2 * (2 * rows) + ends
    layer = (plain.activations - ends) / 2
    assert full.buffers == layer


@given(pp=st.sampled_from([1, 2, 4]), rounds=st.integers(1, 8))
def test_stages_hold_the_micro_batches_in_flight(pp, rounds):
    model, layout = gpt(layers=4), Parallel(pp=pp, dp=1)
    first, _, last = costs(model, layout=layout, global_batch=rounds).memory
    whole = costs(model, layout=Parallel(dp=1), global_batch=1).memory[0].activations
    ends = 32 * 8, 32 * 64 * 4 + 32 * 128 * 4
    body = whole - sum(ends)
    if pp > 1:
        assert first.activations == min(rounds, pp) * (body / pp + ends[0])
        assert last.activations == body / pp + ends[1]
    else:
        assert first.activations == whole


def test_tensor_parallelism_with_sharded_sequences_divides_all_activations():
    one, eight = (
        costs(gpt(hidden=64, heads=8), layout=Parallel(tp=tp, dp=1, sequence_parallel=True))
        .memory[0]
        .activations
        for tp in (1, 8)
    )
    tokens = 32 * 8  # token numbers are held by every rank
    assert 8 * (eight - tokens) == one - tokens


# --- messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sharding", "kinds"),
    [
        ("none", [("all_reduce", 4)]),
        ("zero1", [("reduce_scatter", 4), ("all_gather", 2)]),
        ("zero2", [("reduce_scatter", 4), ("all_gather", 2)]),
        ("zero3", [("all_gather", 2), ("all_gather", 2), ("reduce_scatter", 4)]),
    ],
)
@pytest.mark.parametrize("overlap", [("dp",), ()])
def test_data_parallel_ranks_join_every_gradient_once(sharding, kinds, overlap):
    """Bytes a parameter for one micro-batch (ZeRO, arXiv:1910.02054, section 7): ZeRO-3 gathers once more."""
    model = gpt(layers=3)
    tree = costs(model, layout=Parallel(dp=8, sharding=sharding, overlap=overlap)).tree
    payload = {kind: 0 for kind, _ in kinds}
    for kind in payload:

        def measure(leaf, kind=kind):
            return leaf.payload if getattr(leaf, "axis", "") == "data" and leaf.kind == kind else 0

        assert total(tree, measure) == model.parameters * sum(size for name, size in kinds if name == kind)


@given(micro_batches=st.integers(1, 8))
def test_only_sharded_gradients_are_joined_for_every_micro_batch(micro_batches):
    def joined(sharding):
        tree = costs(layout=Parallel(dp=2, sharding=sharding), global_batch=2 * micro_batches).tree
        return total(tree, lambda leaf: leaf.payload if getattr(leaf, "axis", "") == "data" else 0)

    parameters = gpt().parameters
    assert joined("none") == 4 * parameters
    assert joined("zero1") == 6 * parameters
    assert joined("zero2") == (2 + 4 * micro_batches) * parameters
    assert joined("zero3") == (2 + 2 + 4) * micro_batches * parameters


def test_tensor_parallel_messages_of_a_gpt_layer():
    """Four all-reduces of the activations a layer (Shoeybi et al. 2019, arXiv:1909.08053, section 3)."""
    tree = costs(gpt(layers=3), layout=Parallel(tp=4, dp=1, micro_batch=8)).tree
    pipeline = next(part for part in tree.parts if isinstance(part, Pipeline))
    activations = 8 * 32 * 64 * 2
    body = total(pipeline.body, lambda leaf: leaf.payload if getattr(leaf, "axis", "") == "tp" else 0)
    assert body == 3 * 4 * activations


@pytest.mark.parametrize(("pp", "vpp", "sent"), [(1, 1, 0), (2, 1, 1), (2, 3, 3), (4, 2, 2)])
def test_stages_hand_on_one_activation_and_one_gradient_a_chunk(pp, vpp, sent):
    tree = costs(gpt(layers=8), layout=Parallel(pp=pp, vpp=vpp, dp=1), global_batch=8).tree
    pipeline = next(part for part in tree.parts if isinstance(part, Pipeline))
    activations = 32 * 64 * 2
    found = total(pipeline.send, lambda leaf: leaf.payload if getattr(leaf, "axis", "") == "pp" else 0)
    assert found == sent * 2 * activations


def test_tensor_ranks_share_a_send_and_gather_it_again():
    """Scatter-gather of Narayanan et al. 2021, section 4.1; with sequence parallelism it is shared anyway."""
    for together, gathered in ((False, [("all_gather", 32 * 64 * 2)] * 2), (True, [])):
        layout = Parallel(tp=4, pp=2, dp=1, sequence_parallel=together)
        tree = costs(gpt(layers=2), layout=layout).tree
        pipeline = next(part for part in tree.parts if isinstance(part, Pipeline))
        assert messages(pipeline.send, "pp") == [("send", 32 * 64 * 2 / 4)] * 2
        assert messages(pipeline.send, "tp") == gathered


@pytest.mark.parametrize(("sharding", "ranks"), [("none", 1), ("zero1", 8), ("zero3", 8)])
def test_the_optimizer_updates_its_own_part(sharding, ranks):
    """Gradient twice (norm, update), moments in and out, master in and out, weight out: 8 + 16 + 8 + 2 bytes."""
    model = gpt()
    tree = costs(model, layout=Parallel(dp=4, cp=2, sharding=sharding)).tree
    moved = [leaf.bytes for leaf in leaves(tree) if isinstance(leaf, Stream) and leaf.kind == "optimizer"]
    assert sum(moved) == pytest.approx(34 * model.parameters / ranks, rel=1e-15)


# --- stages -------------------------------------------------------------------------------------------------------


@given(depth=st.integers(1, 200), stages=st.integers(1, 64), chunks=st.integers(1, 8))
def test_every_layer_stands_on_some_stage(depth, stages, chunks):
    """Shares add up to one, unless even two empty ends leave more room than there are layers; never below nothing."""
    if stages == 1 or stages * chunks > depth + 2:
        return
    share = shares(depth, stages, chunks)
    fullest = -(-depth // (stages * chunks)) * chunks
    assert min(share) >= 0
    assert share.middle == max(share) == pytest.approx(fullest / depth)
    if (stages - 2) * fullest <= depth:
        assert share.first + (stages - 2) * share.middle + share.last == pytest.approx(1, rel=1e-12)
    else:  # some middle stages come up short, too
        assert share.first == share.last == 0


@given(per_chunk=st.integers(1, 9), stages=st.integers(2, 64), chunks=st.integers(1, 8))
def test_layers_that_come_out_even_are_dealt_evenly(per_chunk, stages, chunks):
    share = shares(per_chunk * stages * chunks, stages, chunks)
    assert share == pytest.approx((1 / stages,) * 3, rel=1e-12)


def test_shares_by_hand():
    # Llama 3.1 405B: 126 layers on 16 stages are 8 each, less one at either end (arXiv:2407.21783, section 3.3.2)
    assert [126 * share for share in shares(126, 16, 1)] == pytest.approx([7, 8, 7])
    # 10 on 4: the last stage gives up its layer first
    assert [11 * share for share in shares(11, 4, 1)] == pytest.approx([3, 3, 2])
    assert shares(80, 1, 1) == (1.0, 1.0, 1.0)
