"""Pointwise work by whose kernels do it, and what becomes of sharded and quantised weights on their way."""

import pytest

from perfmodel import Model, Parallel, Training
from perfmodel.costs import training_costs
from perfmodel.decoder import decoder
from perfmodel.layers import Mlp, Norm, Pass, Residual, SelfAttention
from perfmodel.layers.embedding import Head
from perfmodel.layers.kept import KERNELS, composed
from perfmodel.layers.pointwise import Crossings, activation, norm, rotation, softmax
from perfmodel.layers.state_space import Mamba2
from perfmodel.work import Stream, flops, leaves, memory_bytes, total

TOKENS = 2 * 16


def entered(kernels, **fields):
    return Pass(2, 16, 16, kernels=kernels, **fields)


def streamed(work, name):
    """Bytes and kernels of the streams of a name."""
    found = [leaf for leaf in leaves(work) if isinstance(leaf, Stream) and leaf.name == name]
    return sum(leaf.bytes for leaf in found), sum(leaf.launches for leaf in found)


# --- one operator after the other ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KERNELS)
def test_products_do_not_depend_on_whose_kernels_do_the_rest(kernels):
    layer = SelfAttention(hidden=64, heads=4, kv_heads=2, head_dim=16, qkv_bias=True, output_bias=True)
    for fused in (True, False):
        p = entered(kernels, fused_attention=fused)
        for work in ("forward", "backward"):
            mine, fusedly = (
                getattr(layer, work)(one) for one in (p, p._replace(kernels="fused"))
            )  # fmt: skip
            assert total(mine, flops) == total(fusedly, flops)
            assert total(mine, memory_bytes) >= total(fusedly, memory_bytes)


def test_root_mean_square_norm_of_transformers():
    """In tensors of 16 bits; one of 32 bits counts as two."""
    cast, square, mean, product, scale = 1 + 2, 2 + 2, 2, 2 + 2, 1 + 1
    assert norm("transformers", "rms", 2).forward == cast + square + mean + product + cast + scale
    assert norm("transformers", "rms", 4).forward == 2 + 1 + 2 + 2  # no casts
    assert (
        norm("eager", "rms", 2).forward == norm("transformers", "rms", 2).forward + 2
    )  # the scale in 32 bits, too


def test_layer_norm_is_one_kernel_in_torch_and_three_fusions_in_xla():
    p, layer = entered("eager"), Norm(width=64, kind="layer", bias=True)
    assert streamed(layer.forward(p), "norm") == (2 * TOKENS * 64 * 2, 1)
    assert streamed(layer.backward(p), "norm backward") == (5 * TOKENS * 64 * 2, 2)
    assert streamed(layer.forward(p._replace(kernels="xla")), "norm") == (4 * TOKENS * 64 * 2, 3)


def test_gated_activation_in_single_operators():
    """Sigmoid-weighted gate: read, write; product: read twice, write."""
    layer = Mlp(hidden=64, inner=96)
    assert streamed(layer.forward(entered("eager")), "activation") == ((2 + 3) * TOKENS * 96 * 2, 2)
    assert streamed(layer.backward(entered("eager")), "activation backward") == ((6 + 3) * TOKENS * 96 * 2, 3)
    assert (
        activation("eager", "gelu", gated=False)
        == Crossings(2, 3)
        == activation("fused", "gelu", gated=False)
    )


def test_a_shift_is_summed_from_a_reading_of_the_gradient():
    layer = Mlp(hidden=64, inner=96, gated=False, bias=True)
    assert streamed(layer.backward(entered("eager")), "mlp up bias backward") == (TOKENS * 96 * 2, 1)
    assert streamed(layer.backward(entered("eager")), "mlp down bias backward") == (TOKENS * 64 * 2, 1)
    assert streamed(layer.backward(entered("fused")), "mlp up bias backward") == (0, 0)


def test_dropout_by_itself_reads_and_writes_once_more():
    layer = Residual(width=64)
    alone, fused = (
        streamed(layer.forward(entered(kernels, dropout=True)), "residual") for kernels in ("eager", "fused")
    )
    assert alone == (fused[0] + 2 * TOKENS * 64 * 2, 2)
    assert streamed(layer.forward(entered("eager")), "residual") == (3 * TOKENS * 64 * 2, 1)


def test_scores_are_scaled_and_masked_before_their_softmax():
    layer, scores = SelfAttention(hidden=64, heads=4, kv_heads=4, head_dim=16, rotary=False), 2 * 4 * 16 * 16
    for kernels, passes in (("fused", 2), ("xla", 4), ("eager", 6), ("transformers", 6)):
        p = entered(kernels, fused_attention=False)
        assert streamed(layer.forward(p), "softmax")[0] == passes * scores * 2
    turned = layer.replace(rotary=True)  # transformers' Llama: softmax reads 16 bits, writes 32, cast back
    p = entered("transformers", fused_attention=False)
    assert streamed(turned.forward(p), "softmax")[0] == (2 + 2 + 3 + 3) * scores * 2
    assert softmax("transformers", wide=2).backward == 3 + 6 + 3 + 2


def test_complex_rotation_leaves_the_compiler():
    """Cast 2 -> 4, product 4 -> 4, cast 4 -> 2: twenty bytes where one kernel moves four."""
    assert rotation("inductor", 2).forward * 2 == (2 + 4) + (4 + 4) + (4 + 2)
    assert rotation("inductor", 4).forward == rotation("fused", 4).forward


def test_grouped_keys_are_copied_to_all_heads():
    layer = SelfAttention(hidden=64, heads=4, kv_heads=2, head_dim=16)
    for kernels, fused, copied in (
        ("fused", True, 0), ("eager", True, 1), ("inductor", True, 1), ("transformers", True, 0),
        ("transformers", False, 1),
    ):  # fmt: skip
        work = layer.forward(entered(kernels, fused_attention=fused))
        assert streamed(work, "repeat keys")[0] == copied * 2 * TOKENS * (64 + 32) * 2
    alike = layer.replace(kv_heads=4)
    assert streamed(alike.forward(entered("eager")), "repeat keys") == (0, 0)


def test_a_compiled_loss_makes_no_copy_in_32_bits():
    head, logits = Head(vocabulary=100, width=64), TOKENS * 100
    moved = {"fused": (14, 10), "inductor": (4, 4), "eager": (14, 4 + 12 + 6)}
    for kernels, (forward, backward) in moved.items():
        assert streamed(head.forward(entered(kernels)), "loss")[0] == forward * logits
        assert streamed(head.backward(entered(kernels)), "loss backward")[0] == backward * logits


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("element_bytes", [2, 4])
def test_no_kernels_cross_less_often_than_fused_ones(kernels, element_bytes):
    found = (
        norm(kernels, "rms", element_bytes), norm(kernels, "layer", element_bytes), rotation(kernels, element_bytes),
        softmax(kernels), activation(kernels, "silu", gated=True), activation(kernels, "gelu_new", gated=False),
    )  # fmt: skip
    least = ((2, 3), (2, 3), (2, 2), (2, 3), (3, 5), (2, 3))
    for one, (forward, backward) in zip(found, least, strict=True):
        assert one.forward >= forward and one.backward >= backward
        assert (one.forward == forward) or composed(kernels) or kernels in ("inductor", "xla", "ggml")


# --- weights and gradients on their way ---------------------------------------------------------------------------

WORK = Training(global_batch=8, sequence_length=16)
TINY = decoder(layers=2, hidden=64, heads=4, inner=96, vocabulary=100)


def step(*, work=WORK, **layout):
    return training_costs(TINY, work, Parallel(**{"dp": 8, "sharding": "zero3"} | layout)).tree


def moved(tree, name):
    return total(tree, lambda leaf: leaf.bytes if isinstance(leaf, Stream) and leaf.name == name else 0)


def test_rows_are_unpacked_twice_and_their_gradients_packed_once():
    """Weights 2 + 2 bytes, forward and backward; gradients read in 16 bits and written in 32."""
    parameters = TINY.parameters
    assert moved(step(packing="rows"), "unpack weights") == 2 * 4 * parameters
    assert moved(step(packing="rows", reshard=False), "unpack weights") == 4 * parameters
    assert moved(step(packing="rows"), "pack gradients") == 6 * parameters
    assert moved(step(), "unpack weights") == moved(step(), "pack gradients") == 0
    assert moved(step(packing="rows", dp=1, micro_batch=8), "pack gradients") == 0


def test_flat_parameters_are_gathered_in_place():
    """Gradients joined 2 + 2, cast 2 + 4, divided 4 + 4; in 16 bits joined and divided."""
    assert moved(step(packing="flat"), "unpack weights") == 0
    assert moved(step(packing="flat"), "pack gradients") == 18 * TINY.parameters
    short = WORK.replace(gradient_dtype="bf16")
    assert moved(step(work=short, packing="flat"), "pack gradients") == 8 * TINY.parameters


def test_weights_are_quantised_each_time_they_come_or_once():
    """Blocks alone: each way 2 + 1 bytes where they are gathered, 2 + 1 + 1 at once where they stay."""
    work = WORK.replace(precision="fp8")
    blocks = sum(block.repeat * layer.local_parameters(1) for block in TINY.blocks for layer in block.layers)
    assert moved(step(work=work), "quantise weights") == 2 * 3 * blocks
    assert moved(step(work=work, sharding="zero1"), "quantise weights") == 4 * blocks
    now = work.replace(scaling="current")
    assert moved(step(work=now), "quantise weights") == 2 * 5 * blocks
    assert moved(step(work=now, sharding="zero1"), "quantise weights") == 6 * blocks
    assert moved(step(), "quantise weights") == 0


def test_own_scales_take_another_reading():
    """A reading of 16 bits, then cast and transposed: 2 + (2 + 1 + 1)."""
    up = next(leaf for leaf in leaves(Mlp(hidden=64, inner=96).forward(entered("fused", dtype="fp8", operand_bytes=1)))
              if leaf.name == "mlp up")  # fmt: skip
    now = entered("fused", dtype="fp8", operand_bytes=1, current_scaling=True)
    other = next(leaf for leaf in leaves(Mlp(hidden=64, inner=96).forward(now)) if leaf.name == "mlp up")
    assert other.quantise_bytes == up.quantise_bytes + 2 * TOKENS * 64


def test_a_named_model_trains_with_any_kernels():
    model, layout = Model.load("llama-3.1-8b"), Parallel(dp=8, sharding="zero3", packing="rows")
    sizes = {
        kernels: total(training_costs(model, WORK.replace(kernels=kernels), layout).tree, memory_bytes)
        for kernels in KERNELS
    }
    assert sizes["fused"] < sizes["transformers"] < sizes["eager"]


def test_heads_are_copied_to_their_places():
    """Megatron-LM copies the result, and joins three gradients; single operators copy all four, each way."""
    layer, width = SelfAttention(hidden=64, heads=4, kv_heads=4, head_dim=16, rotary=False), TOKENS * 64 * 2
    for kernels, forward, backward in (("fused", 1, 3), ("eager", 4, 4), ("xla", 4, 4)):
        p = entered(kernels, fused_attention=False)
        assert streamed(layer.forward(p), "place heads")[0] == forward * 2 * width
        assert streamed(layer.backward(p), "place heads backward")[0] == backward * 2 * width
    assert streamed(layer.forward(entered("eager")), "place heads") == (0, 0)


def test_engines_place_heads_where_they_add_biases():
    plain, width = SelfAttention(hidden=64, heads=4, kv_heads=4, head_dim=16, rotary=False), TOKENS * 64 * 2
    p = entered("fused", fused_attention=False, forward_only=True)
    assert streamed(plain.forward(p), "place heads") == (2 * width, 1)
    assert streamed(plain.replace(qkv_bias=True).forward(p), "place heads") == (4 * 2 * width, 2)


def test_a_chunked_scan_computes_scores_and_states_again():
    layer = Mamba2(hidden=64, heads=8, head_dim=16, state=32, scan_chunk=8)
    p = entered("fused")
    products = {one.name: flops(one) for one in layer.chunk_products(p)}
    again = [leaf for leaf in leaves(layer.backward(p)) if leaf.name.endswith(" again")]
    assert [leaf.name for leaf in again] == [
        "convolution again", "chunk scores again", "states again", "hand on states again",
    ]  # fmt: skip
    assert sum(map(flops, again)) == products["chunk scores"] + products["states"]
