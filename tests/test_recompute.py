"""Recomputation: bytes given up and work repeated belong together, whatever the policy."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.costs import training_costs
from perfmodel.costs.parts import parts
from perfmodel.costs.recompute import recomputed
from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.layers import MixtureOfExperts, Pass
from perfmodel.layers.kept import KERNELS
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.model import Block
from perfmodel.parallel import Parallel
from perfmodel.work import flops, total
from perfmodel.workload import POLICIES, Training
from tests.strategies import gpt, models

ROWS = 2 * 16


def training(**changes):
    return Training(**({"global_batch": 2, "sequence_length": 16} | changes))


def again(*modules, model=None, **changes):
    """What one repetition gives up for the modules, on one device in exact arithmetic."""
    p = Pass(*map(Fraction, (2, 16, 16, 1, 1)))._replace(**changes)
    work = training(recompute="selective", recompute_modules=modules)
    chosen = model or gpt()
    return recomputed(parts(chosen, p).blocks[0], work)


def llama(**changes):
    return decoder(**({"layers": 4, "hidden": 64, "heads": 4, "inner": 96, "vocabulary": 128} | changes))


def test_a_feed_forward_block_keeps_its_input():
    """GPT: before and after the activation, 4 h each; a gated one keeps gate, up and product."""
    assert again("mlp").spared == ROWS * 8 * 64 * 2
    assert again("mlp", model=llama()).spared == ROWS * 3 * 96 * 2
    assert again("mlp", model=llama(), kernels="eager").spared == ROWS * 4 * 96 * 2


def test_an_activation_gives_up_what_the_down_projection_reads():
    assert again("activation").spared == ROWS * 4 * 64 * 2
    assert again("activation", model=llama()).spared == ROWS * 96 * 2
    assert again("activation", model=llama(), kernels="transformers").spared == ROWS * 2 * 96 * 2


def test_a_norm_gives_up_its_output_where_the_next_layer_would_keep_it():
    """Two norms of a GPT layer; plain PyTorch also has its copies and statistics to give up."""
    assert again("norm").spared == 2 * ROWS * 64 * 2
    assert again("norm", "mlp").spared == ROWS * 64 * 2 + ROWS * 8 * 64 * 2
    assert again("norm", model=llama(), kernels="eager").spared == 2 * ROWS * (64 * 8 + 4)
    assert again("norm", model=llama(arrangement="post")).spared == 0


def test_attention_stands_for_its_core():
    whole, core = again("attention"), again("attention core")
    assert whole.spared == ROWS * 4 * 64 * 2 + core.spared
    assert again("attention", "attention core") == whole._replace(
        work=again("attention", "attention core").work
    )
    assert core.spared == ROWS * 4 * 4


def test_modules_of_every_kind_of_layer_have_its_name():
    experts = MixtureOfExperts(hidden=64, inner=32, experts=4, top_k=2)
    model = gpt(layers=1)
    model = model.replace(blocks=(Block(layers=(*model.blocks[0].layers, experts)),))
    p = Pass(2, 16, 16)
    assert again("experts", model=model).spared == experts.saved(p) - experts.saved_input(p)
    assert again("mixture of experts", model=model).spared == again("experts", model=model).spared


@given(
    model=models(depth=st.integers(1, 6)), kernels=st.sampled_from(KERNELS), fused=st.booleans(),
    chosen=st.sets(st.sampled_from(["attention core", "attention", "mlp", "activation", "norm"]), min_size=1),
)  # fmt: skip
def test_no_policy_gives_up_more_than_there_is(model, kernels, fused, chosen):
    found = again(*sorted(chosen), model=model, kernels=kernels, fused_attention=fused)
    p = Pass(*map(Fraction, (2, 16, 16, 1, 1)))._replace(kernels=kernels, fused_attention=fused)
    everything = sum(layer.saved(p) for layer in model.blocks[0].layers)
    assert 0 <= found.moment <= found.spared <= everything


@pytest.mark.parametrize("modules", [("mlp",), ("attention core", "mlp"), ("attention", "norm")])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_bytes_given_up_and_work_repeated_belong_together(modules, every):
    """Five layers: of every two or three, one is recomputed: two or one in all."""
    model, applied = gpt(layers=5), 5 // every
    changes = {"recompute": "selective", "recompute_modules": modules, "recompute_every": every}
    one = again(*modules, model=model)

    def costs(**work):
        return training_costs(model, training(**work), Parallel(dp=1, micro_batch=2))

    plain, less = costs(), costs(**changes)
    assert plain.memory[0].activations - less.memory[0].activations == pytest.approx(applied * one.spared)
    repeated = applied * total(one.work, flops)
    assert less.hardware_flops - plain.hardware_flops == pytest.approx(float(repeated))
    # the kernel of attention computes in backward what no convention counts, with and without recomputation
    assert total(less.tree, flops) - total(plain.tree, flops) == pytest.approx(float(repeated))


@pytest.mark.parametrize("every", [1, 2, 4])
def test_whole_layers_keep_the_stream_and_the_others_everything(every):
    model = gpt(layers=4)
    work = training(recompute="full", recompute_every=every)
    p = Pass(2, 16, 16)
    layer = sum(layer.saved(p) for layer in model.blocks[0].layers)
    ends = sum(layer.saved(p) for layer in (*model.entry, *model.exit))
    found = training_costs(model, work, Parallel(dp=1, micro_batch=2)).memory[0]
    assert found.activations == (4 // every) * ROWS * 64 * 2 + (4 - 4 // every) * layer + ends
    assert found.buffers == max(layer, ROWS * 128 * 4)


def test_the_attention_core_is_what_selective_means():
    named = training(recompute="selective", recompute_modules=("attention core",))
    assert named == training(recompute="selective")
    assert named.policy == "selective"


def test_a_policy_in_words():
    assert training().policy == "none"
    assert training(recompute="full", recompute_every=2).policy == "full, one layer of 2"
    work = training(recompute="selective", recompute_modules=("mlp", "norm"))
    assert work.policy == "selective: mlp, norm"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"recompute": "full", "recompute_modules": ("mlp",)},
            "recompute_modules are those of recompute = 'selective'",
        ),
        ({"recompute_every": 2}, "recompute_every = 2, but recompute = 'none'"),
        ({"recompute": "full", "recompute_every": 0}, "recompute_every must be greater than 0"),
    ],
)
def test_contradictions_are_refused(fields, told):
    with pytest.raises(InputError, match=told):
        training(**fields)


def test_a_module_that_no_layer_has_is_told():
    work = training(recompute="selective", recompute_modules=("mpl",))
    with pytest.raises(InputError, match='unknown module "mpl"; did you mean mlp'):
        training_costs(gpt(), work, Parallel(dp=1))


# --- policies that frameworks name ----------------------------------------------------------------------------------


def keeping(policy, *keep, model=None, **changes):
    """One repetition under a policy, or without one in full, on one device in exact arithmetic."""
    p = Pass(*map(Fraction, (2, 16, 16, 1, 1)))._replace(**changes)
    chosen = model or llama()
    work = training(recompute="full", recompute_policy=policy, recompute_keep=keep)
    return recomputed(parts(chosen, p).blocks[0], work)


QUERY = OUTPUT = 2 * ROWS * 64 * 64
KEY = VALUE = 2 * ROWS * 64 * 32
GATE = UP = DOWN = 2 * ROWS * 64 * 96
CORE = 2 * 2 * 2 * 4 * (16 * 17 / 2) * 16
GROUPED = llama(kv_heads=2)


@pytest.mark.parametrize(
    ("policy", "keep", "repeated", "elements"),
    [
        (None, (), QUERY + KEY + VALUE + CORE + OUTPUT + GATE + UP + DOWN, 0),
        ("nothing_saveable", (), QUERY + KEY + VALUE + CORE + OUTPUT + GATE + UP, 0),
        ("torchtitan_op", (), KEY + OUTPUT + UP, 64 + 32 + 64 + 96),
        ("minimal", (), CORE, 64 + 32 + 32 + 64 + 96 + 96),
        ("minimal_flash", (), 0, 64 + 32 + 32 + 64 + 96 + 96 + 64),
        ("save_qkv_proj", (), CORE + OUTPUT + GATE + UP, 64 + 32 + 32),
        ("save_out_proj", (), QUERY + KEY + VALUE + CORE + GATE + UP, 64),
        (None, ("out_proj", "query_proj", "key_proj", "value_proj"), CORE + GATE + UP, 64 + 32 + 32 + 64),
        ("save_out_proj", ("context", "mlpwi"), QUERY + KEY + VALUE, 64 + 64 + 96 + 96),
    ],
)
def test_a_policy_repeats_what_it_does_not_keep(policy, keep, repeated, elements):
    """A layer of width 64 with 4 heads, 2 of keys, inner width 96: the input stays, 2 bytes an element."""
    found = keeping(policy, *keep, model=GROUPED)
    p = Pass(2, 16, 16)
    everything = sum(layer.saved(p) for layer in GROUPED.blocks[0].layers)
    softmax = ROWS * 4 * 4 if "context" in keep or policy in {"torchtitan_op", "minimal_flash"} else 0
    assert total(found.work, flops) == repeated
    assert everything - found.spared == ROWS * (64 + elements) * 2 + softmax


def test_a_framework_may_name_a_module_its_own_way():
    assert again("core_attn").spared == again("attention core").spared
    assert again("layernorm") == again("norm")._replace(work=again("layernorm").work)
    model = gpt(layers=1)
    experts = MixtureOfExperts(hidden=64, inner=32, experts=4, top_k=2, shared_inner=48)
    model = model.replace(blocks=(Block(layers=(*model.blocks[0].layers, experts)),))
    assert again("moe_act", model=model).spared == ROWS * 2 * 32 * 2
    assert again("shared_experts", model=model).spared == ROWS * 3 * 48 * 2
    assert total(again("shared_experts", model=model).work, flops) == 3 * 2 * ROWS * 64 * 48


def test_projections_up_from_latents_are_a_module():
    """Queries, keys and values of 4 heads are given up: 2 · (8 + 4) and 8 a head; two products are repeated."""
    latent = LatentAttention(
        hidden=64, heads=4, plain_dim=8, rotary_dim=4, value_dim=8, kv_rank=16, q_rank=32
    )
    model = gpt(layers=1)
    model = model.replace(blocks=(Block(layers=(latent,)),))
    found = again("mla_up_proj", model=model)
    assert found.spared == ROWS * 4 * (2 * 12 + 8) * 2
    assert total(found.work, flops) == 2 * ROWS * 4 * (32 * 12 + 16 * (8 + 8))
    assert found.spared < latent.saved(Pass(2, 16, 16))


@given(model=models(depth=st.integers(1, 3)), policy=st.sampled_from(sorted(POLICIES)), fused=st.booleans())
def test_what_is_kept_and_what_is_repeated_make_the_whole(model, policy, fused):
    """Forward is the repeated work and that of the results at hand, whatever the policy."""
    p = Pass(*map(Fraction, (2, 16, 16, 1, 1)))._replace(fused_attention=fused)
    work = training(recompute="full", recompute_policy=policy)
    found = recomputed(parts(model, p).blocks[0], work)
    layers = model.blocks[0].layers
    forward = sum(total(layer.forward(p), flops) for layer in layers)
    results = [pair for layer in layers for pair in layer.results(p).items()]
    keep = POLICIES[policy].keep
    at_hand = sum(total(one.work, flops) for name, one in results if name in keep)
    spared = forward - total(found.work, flops) - at_hand
    assert spared in {0, total(results[-1][1].work, flops)}
    assert 0 <= total(found.work, flops) <= forward
    assert found.moment >= 0


ORDER = ["nothing_saveable", "save_qkv_proj", "save_dot_except_mlp", "minimal", "minimal_flash"]


def test_a_policy_that_keeps_more_repeats_less():
    def costs(**policy):
        found = training_costs(GROUPED, training(**policy), Parallel(dp=1, micro_batch=2))
        return found.memory[0].activations, -found.hardware_flops

    found = [costs(recompute="full", recompute_policy=policy) for policy in ORDER]
    assert found == sorted(found)
    assert found[-1][1] <= costs(recompute="none")[1]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"recompute": "full", "recompute_policy": "minimal_flsh"},
            'unknown recompute policy "minimal_flsh"; did you mean minimal_flash',
        ),
        ({"recompute_keep": ("query",)}, "recompute_keep are results kept by recompute = 'full'"),
        ({"recompute": "selective", "recompute_keep": ("query",)}, "recompute is 'selective'"),
        ({"recompute_policy": "minimal"}, "it goes with recompute = 'selective' or 'full'"),
    ],
)
def test_policies_are_checked(fields, told):
    with pytest.raises(InputError, match=told):
        training(**fields)


def test_a_result_that_no_layer_has_is_told():
    work = training(recompute="full", recompute_keep=("out_prj",))
    with pytest.raises(InputError, match='unknown result of a layer "out_prj"'):
        training_costs(gpt(), work, Parallel(dp=1))


def test_kept_results_stand_in_the_policys_words():
    assert training(recompute="full", recompute_keep=("query", "key")).policy == "full but for query, key"
