"""Engines of consumer cards: kernels around products, a kernel a node, queues of launches, matrices split by rows."""

from __future__ import annotations

from typing import Any

import pytest

import perfmodel as pm
from perfmodel.costs.inference import decode_pass, forward, prefill_pass
from perfmodel.efficiency import Efficiency, Engine
from perfmodel.estimation.machine import machine
from perfmodel.estimation.operators import matmul_seconds, stream_seconds
from perfmodel.formulas.pipeline import queued_parts
from perfmodel.layers import Pass
from perfmodel.layers.products import linear_forward
from perfmodel.work import (
    Collective,
    Matmul,
    Repeat,
    Stream,
    Work,
    flops,
    kernels,
    leaves,
    memory_bytes,
    total,
)

LLAMA = pm.Model.load("llama-3.1-8b")
GGML = {"kernels": "ggml", "attention": "unfused", "activation_dtype": "fp16"}


def work(**fields: Any) -> pm.Inference:
    given = {"batch": 1, "input_length": 512, "output_length": 2, "weight_dtype": "gguf_q4_k_m", **GGML}
    return pm.Inference(**given | fields)


def prompt(layout: pm.Parallel | None = None, **fields: Any) -> Work:
    """The pass of a prompt through all layers."""
    job, layout = work(**fields), layout or pm.Parallel(dp=1)
    return forward(LLAMA, prefill_pass(LLAMA, job, layout, sequences=1.0), job)


def layer_kernels(tree: Work) -> Any:
    """Kernels of one layer, messages apart."""
    body = next(part for part in tree.parts if isinstance(part, Repeat))  # type: ignore[union-attr]
    return total(body.work, lambda leaf: 0 if isinstance(leaf, Collective) else kernels(leaf))


# --- kernels around products --------------------------------------------------------------------------------------


def test_a_layer_of_llama_cpp_takes_fifty_kernels() -> None:
    """Norm 2, q k v 12, rotation 2, core 12, output 4, sum 1, norm 2, up and gate 8, activation 2, down 4, sum 1."""
    assert layer_kernels(prompt(products="library")) == 50
    assert layer_kernels(prompt(products="library", weight_dtype="fp16")) == 50 - 7  # nothing to unpack
    assert layer_kernels(prompt()) == 50 - 7 - 2 * 7 - 6  # nothing to cast, by products or by the core


def test_the_librarys_product_is_unpacked_and_cast_around() -> None:
    p = Pass(1, 8, 8, kernels="ggml", products="library", element_bytes=4, weight_bytes=0.5)
    found = linear_forward("up", p, tokens=8, inputs=64, outputs=32, matrices=2)
    unpacked, cast = 64 * 32 * (0.5 + 2), 8 * (2 * 64 + 32) * (4 + 2)
    assert found.quantise_bytes == unpacked + cast
    assert found.launches == 2 * (1 + 1 + 2)
    assert memory_bytes(found) == 2 * (8 * 64 + 64 * 32 + 8 * 32) + unpacked + cast
    assert linear_forward("up", p._replace(decode=True), tokens=1, inputs=64, outputs=32).weight_bytes == 0.5


def test_whose_products_run_does_not_change_the_arithmetic() -> None:
    alike = {total(prompt(products=products), flops) for products in ("own", "library", "rows")}
    assert len(alike) == 1


def test_nodes_hand_each_other_32_bits_and_the_cache_keeps_16() -> None:
    on = pm.Cluster.of("rtx-a6000", 1)
    narrow, wide = (
        pm.estimate(LLAMA, work(kernels=each, attention="flash"), pm.Parallel(), on)
        for each in ("fused", "ggml")
    )
    assert wide.memory.cache == narrow.memory.cache
    assert wide.memory.weights == narrow.memory.weights
    assert wide.memory.activations > 1.5 * narrow.memory.activations


# --- pipelines ----------------------------------------------------------------------------------------------------


def test_a_queue_that_holds_no_pass_of_its_stage_leaves_a_third() -> None:
    """Of 4000 launches 1000 wait: the next part begins when three quarters of the last one are done."""
    assert queued_parts(launches=4000.0, queue=1000.0, stages=3) == pytest.approx(4 / 3)
    assert queued_parts(launches=4000.0, queue=1000.0, stages=2) == pytest.approx(4 / 3)
    assert queued_parts(launches=4000.0, queue=1000.0, stages=8) == 3


def test_prompts_of_a_small_model_fill_a_pipeline_and_those_of_a_large_one_do_not() -> None:
    long = {"input_length": 8192, "output_length": 1, "prompt_chunk": 512, "products": "library"}
    gain = {}
    for name, stages in (("llama-3.1-8b", 4), ("llama-3.1-70b", 3)):
        model = pm.Model.load(name)
        one, more = (
            pm.estimate(
                model,
                work(**long),
                pm.Parallel(pp=count),
                pm.Cluster.of("a100-sxm-80gb", count),
                software="llama.cpp",
            ).prefill_time
            for count in (1, stages)
        )
        gain[name] = one / more
    assert 2.3 < gain["llama-3.1-8b"] < 3.1
    assert 1.2 < gain["llama-3.1-70b"] < 1.4


# --- matrices split by rows ---------------------------------------------------------------------------------------


def test_rows_are_copied_to_each_device_and_back() -> None:
    """Seven products a layer, each with an input to every other device and a share of the result from it."""
    job, layout = work(weight_dtype="fp16"), pm.Parallel(tp=4, dp=1)
    p = decode_pass(job, prefill_pass(LLAMA, job, layout, sequences=1.0), sequences=1.0, context=100.0)
    body = next(part for part in forward(LLAMA, p, job).parts if isinstance(part, Repeat))
    copies = total(body.work, lambda leaf: float(leaf.name == "row copy"))
    assert copies == 7 * 2 * 3
    sent = next(leaf for leaf in leaves(body.work) if leaf.name == "row copy")
    assert isinstance(sent, Collective)
    assert (sent.kind, sent.payload) == ("send", 4096 * 4 * (1 + 1 / 4) / 2)


def test_one_device_sends_nothing() -> None:
    assert not any(isinstance(leaf, Collective) and leaf.name == "row copy" for leaf in leaves(prompt()))


# --- seconds ------------------------------------------------------------------------------------------------------


def rates(device: str, **changes: Any) -> Any:
    """Of a device, with some constants of its products changed."""
    on = pm.Cluster.of(device, 1)
    fits = pm.Efficiency.of(on.device.architecture, device=on.device.id)
    changed = fits.replace(matmul={"default": fits.matmul_for("fp16").replace(**changes)})
    return machine(on, changed, ("fp16",))


def test_cores_limit_a_kernel_for_few_rows_where_memory_is_fast() -> None:
    """108 cores of 1.41 GHz and 7 bytes a cycle take in 1.07 TB/s, 84 of 1.8 GHz as much: HBM has more, GDDR less."""
    row = Matmul("up", 1, 28672, 8192, dtype="fp16", kernel="vector")
    slower = []
    for device in ("a100-sxm-80gb", "rtx-a6000"):
        free = matmul_seconds(row, rates(device))[0]
        slower.append(matmul_seconds(row, rates(device, core=7.0))[0] / free)
    assert slower[0] > 1.35
    assert slower[1] < 1.1
    product = row._replace(kernel="product")
    assert matmul_seconds(product, rates("a100-sxm-80gb", core=7.0)) == matmul_seconds(
        product, rates("a100-sxm-80gb")
    )


def test_a_kernel_for_one_row_streams_the_matrix_for_each() -> None:
    m = rates("rtx-4090")

    def seconds(rows: int) -> Any:
        return matmul_seconds(
            Matmul("up", rows, 14336, 4096, dtype="fp16", weight_bytes=0.52, kernel="rows"), m
        )[0]

    assert seconds(4) == pytest.approx(seconds(1), rel=0.1)  # once from memory, which takes as long
    assert seconds(512) == pytest.approx(2 * seconds(256), rel=0.1)


def test_what_one_kernel_leaves_for_the_next_lies_in_the_cache() -> None:
    """Where there is room, and where its rate was measured."""
    small, large = Stream("norm", 8e6, "norm"), Stream("norm", 8e8, "norm")
    fast, slow = rates("l40s"), rates("rtx-a6000")
    assert fast.cache == pytest.approx(0.459 * 96 * 2**20)
    assert slow.cache is None

    def rate(one: Stream, m: Any) -> Any:
        return one.bytes / stream_seconds(one, m)[1]["memory_bandwidth"]

    assert rate(small, fast) > 4 * rate(large, fast)
    assert rate(small, slow) == pytest.approx(rate(large, slow))


@pytest.mark.parametrize(
    ("card", "held"), [("l40s", True), ("l4", True), ("rtx-4080", False), ("l40", False)]
)
def test_power_holds_some_cards_of_a_generation(card: str, held: bool) -> None:
    device = pm.Device.load(card)
    fits = pm.Efficiency.of(device.architecture, device=device.id)
    assert (fits.matmul_for("bf16").compute < 0.6) is held
    assert device.tdp is not None
    assert (device.tdp / device.peak_for("bf16") < 1e-12) is held


@pytest.mark.parametrize(
    ("card", "checked"), [("l40s", True), ("l40", True), ("rtx-4090", False), ("rtx-6000-ada", False)]
)
def test_check_bits_beside_the_data_take_bandwidth(card: str, checked: bool) -> None:
    device = pm.Device.load(card)
    assert (Efficiency.of(device.architecture, device=device.id).matmul_for("fp16").memory < 0.8) is checked


@pytest.mark.parametrize(
    ("stated", "id", "products"),
    [
        ("AutoAWQ 0.1.6 GEMV kernel", "awq-gemv", "rows"),
        ("AutoAWQ 0.1.6 GEMM kernel", "awq", "own"),
        ("llama.cpp Vulkan", "llama-cpp-vulkan", "own"),
        ("llama.cpp (May 2024) CUDA", "llama-cpp", "own"),
    ],
)
def test_kernels_of_another_kind_are_a_set_of_their_own(stated: str, id: str, products: str) -> None:
    engine = Engine.of(stated)
    assert (engine.id, engine.recipe.products) == (id, products)
