"""Kernels that engines have and measured operators have not: fused quantising, fused sums, other libraries."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.efficiency import EngineFit
from perfmodel.estimation.machine import machine
from perfmodel.estimation.operators import matmul_seconds
from perfmodel.estimation.timed import leaf_times
from perfmodel.work import Attention, Matmul, held_bytes, leaves, memory_bytes

BLACKWELL = pm.Efficiency.load("blackwell")
EIGHT = pm.Cluster.of("b200", 8)
LATENT = pm.Model.load("deepseek-v2-lite")


def seconds(product: Matmul, fits: pm.Efficiency) -> float:
    return float(matmul_seconds(product, machine(EIGHT, fits, (product.dtype,)))[0])


def linear(dtype: str = "fp8", kernel: str = "product", quantise: float = 3 * 16 * 8192) -> Matmul:
    return Matmul("up", 16, 28672, 8192, 1, dtype, 1, 2, quantise_bytes=quantise, kernel=kernel)


def decode(model: pm.Model, fits: pm.Efficiency, tp: int = 8, **work: object) -> pm.InferenceEstimate:
    given = {"batch": 16, "input_length": 512, "output_length": 64, **work}
    return pm.estimate(model, pm.Inference(**given), pm.Parallel(tp=tp), EIGHT, efficiency=fits)


def test_what_writes_the_format_itself_spares_a_kernel_and_its_bytes() -> None:
    fused = BLACKWELL.replace(fused_quantise=True)
    fit = BLACKWELL.matmul_for("fp8")
    spared = fit.quantise_latency + 3 * 16 * 8192 / (fit.memory * 8e12)
    assert seconds(linear(), BLACKWELL) - seconds(linear(), fused) == pytest.approx(spared)
    assert seconds(linear(quantise=0), BLACKWELL) == pytest.approx(seconds(linear(), fused))


def test_scales_of_blocks_are_found_in_a_kernel_of_its_own() -> None:
    fused = BLACKWELL.replace(fused_quantise=True)
    assert seconds(linear(kernel="blocks"), fused) == seconds(linear(kernel="blocks"), BLACKWELL)
    assert seconds(linear(kernel="blocks"), fused) > seconds(linear(), fused)


def test_casts_around_a_product_of_a_library_are_spared_by_nobody() -> None:
    cast = linear("bf16")._replace(launches=3)
    assert seconds(cast, BLACKWELL.replace(fused_quantise=True)) == seconds(cast, BLACKWELL)
    assert seconds(cast, BLACKWELL) > seconds(linear("bf16"), BLACKWELL)


def test_an_engine_names_the_library_whose_products_it_calls() -> None:
    called = BLACKWELL.replace(libraries={"fp4": "fp4_flashinfer"})
    assert called.matmul_for("fp4") == BLACKWELL.matmul["fp4_flashinfer"]
    assert called.matmul_for("fp8") == BLACKWELL.matmul["fp8"]
    nobody = BLACKWELL.replace(libraries={"fp4": "unheard of"})
    assert nobody.matmul_for("fp4") == BLACKWELL.matmul["fp4"]


def test_fewer_bits_are_no_slower_to_decode() -> None:
    model = pm.Model.load("llama-3.1-70b")
    for engine in ("vllm", "sglang", "tensorrt-llm"):
        fits = pm.Efficiency.serving("Blackwell", engine)
        for tp in (1, 8):
            bf16, fp8, fp4 = (
                decode(model, fits, tp, weight_dtype=name).decode_time for name in ("bf16", "fp8", "nvfp4")
            )
            assert fp8 < bf16
            if (
                engine != "tensorrt-llm"
            ):  # whose own products of fp4, as measured, do not split the inner length
                assert fp4 < fp8


def test_an_all_reduce_takes_in_the_residual_and_the_norm() -> None:
    model, fused = pm.Model.load("llama-3.1-8b"), BLACKWELL.replace(fused_reduction=True)
    joined = 2 * 32 + 2 * 32 + 1  # residuals and norms, and the last norm
    whole, spared = decode(model, BLACKWELL).decode_time, decode(model, fused).decode_time
    assert whole - spared == pytest.approx(joined * BLACKWELL.stream.latency)
    assert decode(model, fused, tp=1).decode_time == decode(model, BLACKWELL, tp=1).decode_time


def test_faster_streams_of_weights_also_walk_faster() -> None:
    twice = BLACKWELL.applied(EngineFit(bandwidth=1.25), "newest")
    fit, quick = BLACKWELL.matmul_for("fp8"), twice.matmul_for("fp8")
    assert quick.inner_step == pytest.approx(fit.inner_step / 1.25)
    assert fit.memory < quick.memory < min(fit.memory * 1.25, 1.0)
    fastest = BLACKWELL.applied(EngineFit(bandwidth=2.0), "newest").matmul_for("fp8").memory
    assert quick.memory < fastest <= 1.0  # weights stream from memory, however good the kernels are


def test_a_latent_is_read_once_for_keys_and_values() -> None:
    core = Attention("core", 1, 16, 1, 544, 1, 1000, 1000, decode=True, cached_dims=576)
    assert held_bytes(core) == 1000 * 576 * 2
    assert memory_bytes(core) == 1000 * 576 * 2 + 2 * 16 * 544 * 2
    step = decode(LATENT, BLACKWELL, tp=1)
    found = [leaf for leaf in leaves(step.costs.decode) if isinstance(leaf, Attention)]
    assert {leaf.kv_dims for leaf in found} == {512 + 64}


def test_nvfp4_leaves_latent_attention_in_16_bits() -> None:
    few, many = (decode(LATENT, BLACKWELL, 1, weight_dtype=name) for name in ("nvfp4", "bf16"))
    formats = {leaf.name: leaf.dtype for leaf in leaves(few.costs.decode) if isinstance(leaf, Matmul)}
    assert formats["output"] == "bf16"
    assert formats["mlp up"] == "fp4"
    attention = 27 * sum(
        weight.size for weight in LATENT.blocks[0].layers[1].weights() if weight.kind == "matrix"
    )
    rest = few.memory.weights - 2 * attention
    assert rest < (many.memory.weights - 2 * attention) / 2


def test_both_latents_are_one_product_where_nothing_is_trained() -> None:
    wide = pm.Model.load("deepseek-v3")
    step = decode(wide, BLACKWELL, 8, weight_dtype="fp8_block")
    products = {leaf.name: leaf for leaf in leaves(step.costs.decode) if isinstance(leaf, Matmul)}
    assert products["q and kv down"].n == 1536 + 512 + 64
    assert products["q and kv down"].kernel == "blocks"
    assert {"q down", "kv down"}.isdisjoint(products)
    assert all(leaf.work is not None for _, leaf in leaf_times(step.decode) if leaf.name == "q up")
