"""What inference engines make of a machine: their sets, their recipes, and what their constants do."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.costs.inference import cut, inference_costs, parts_of
from perfmodel.efficiency import Engine, engines
from perfmodel.estimation.machine import machine
from perfmodel.estimation.operators import matmul_seconds
from perfmodel.estimation.timed import by_kind
from perfmodel.layers import Pass
from perfmodel.layers.attention import visible_pairs
from perfmodel.work import Matmul, kernels, memory_bytes, total

LLAMA = pm.Model.load("llama-3.1-8b")
ONE = pm.Cluster.of("h100", 1)


def run(fits: pm.Efficiency, **work: object) -> pm.InferenceEstimate:
    given = {"batch": 16, "input_length": 512, "output_length": 64, **work}
    return pm.estimate(LLAMA, pm.Inference(**given), pm.Parallel(), ONE, efficiency=fits)


@pytest.mark.parametrize(
    ("stated", "id"),
    [
        ("vLLM 0.12.0", "vllm"),
        ("vLLM (version not stated)", "vllm"),
        ("vLLM ~0.6.1", "vllm-v0"),
        ("vLLM (2023, Splitwise characterisation)", "vllm-2023"),
        ("TensorRT-LLM ~0.12 (python run.py)", "tensorrt-llm-0"),
        ("TensorRT-LLM 0.6.1 (gptSessionBenchmark, static batch)", "tensorrt-llm-2023"),
        ("TensorRT-LLM 1.0.0rc3", "tensorrt-llm"),
        ("TensorRT 10.2.0, CUDA 12.4", "tensorrt"),
        ("llama.cpp (May 2024) Metal", "llama-cpp"),
        ("PyTorch 2.9 torch-neuronx, SDK 2.27.0", "neuron"),
        ("DeepSpeed-Inference (TP)", "deepspeed"),
        ("DeepSpeed-MII", "deepspeed-fastgen"),
        ("PyTorch (NGC container)", "pytorch"),
        ("PyTorch baseline (TorchScript)", "torchscript"),
        ("TensorFlow baseline (TF XLA)", "tensorflow"),
        ("TensorFlow 1.15 (XLA, NGC)", "tensorflow-amp"),
        ("somebody's own", "default"),
    ],
)
def test_engines_are_found_by_their_names(stated: str, id: str) -> None:
    assert Engine.of(stated).id == id


def test_every_engine_has_its_sources_and_a_residual() -> None:
    for name in engines():
        engine = Engine.load(name)
        assert engine.sources
        assert engine.residual
        assert engine.residuals is not None


def test_the_host_cares_for_each_sequence() -> None:
    fits = pm.Efficiency.load("hopper")
    slow = fits.replace(host__sequence=1e-4)
    assert run(slow).decode_time - run(fits).decode_time == pytest.approx(16e-4)
    assert run(slow).prefill_time - run(fits).prefill_time == pytest.approx(16e-4)


def test_a_cache_that_heads_do_not_share_is_read_once_for_each() -> None:
    fits = pm.Efficiency.load("hopper")
    long = {"input_length": 32768, "batch": 8}
    shared, apart = run(fits, **long), run(fits, **long, grouped_cache=False)
    assert apart.decode_time > 2 * shared.decode_time
    assert apart.memory.cache == shared.memory.cache


def test_chunks_of_a_prompt_see_as_many_pairs() -> None:
    whole = visible_pairs(4096, 4096, causal=True)
    part, chunks = cut(Pass(1, 4096, 4096), 512)
    assert chunks * visible_pairs(part.queries, part.keys, causal=True, keys=part.keys) == pytest.approx(
        whole
    )
    assert cut(Pass(1, 4096, 4096), None) == (Pass(1, 4096, 4096), 1)


def test_chunks_fill_a_pipeline() -> None:
    four = pm.Cluster.of("h100", 4)
    work = pm.Inference(batch=1, input_length=8192, output_length=1)
    whole = pm.estimate(LLAMA, work, pm.Parallel(pp=4), four)
    chunked = pm.estimate(LLAMA, work.replace(prompt_chunk=512), pm.Parallel(pp=4), four)
    assert chunked.prefill_time < 0.6 * whole.prefill_time


def test_sums_in_sixteen_bits_are_faster_where_the_device_has_them_so() -> None:
    fits = pm.Efficiency.load("ada")
    work = pm.Inference(batch=1, input_length=4096, output_length=1, weight_dtype="fp16")
    cards = [pm.Cluster.of(name, 1) for name in ("rtx-4090", "l40s")]
    plain, half = (
        [pm.estimate(LLAMA, work, pm.Parallel(), card, efficiency=one).prefill_time for card in cards]
        for one in (fits, fits.replace(half_sums=True))
    )
    assert half[0] < 0.7 * plain[0]
    assert half[1] == plain[1]


def decoded(**changes: object) -> float:
    """Bytes of a step of decode."""
    work = pm.Inference(input_length=8, output_length=9, weight_dtype="int8_wo").replace(**changes)
    step = inference_costs(LLAMA, work, pm.Parallel(dp=1)).decode
    assert step is not None
    return total(step, memory_bytes)


def test_weights_that_are_written_out_first_are_written_and_read_in_16_bits() -> None:
    products = sum(weight.size * copies for weight, copies in LLAMA.weights() if weight.kind == "matrix")
    assert decoded(unpack_rows=0) - decoded() == pytest.approx(4 * products)
    assert decoded(unpack_rows=2) == decoded()  # one token of one sequence is fewer
    assert decoded(unpack_rows=2, batch=2) == decoded(unpack_rows=0, batch=2)
    assert decoded(unpack_rows=0, weight_dtype="fp16") == decoded(weight_dtype="fp16")


def test_a_product_of_unpacked_weights_is_a_plain_one() -> None:
    product = Matmul("up", 1, 4096, 4096, weight_bytes=1.0, unpacked=1.0)
    slow = pm.Efficiency.load("ampere").replace(packed={"compute": 0.5, "memory": 0.5})
    there = pm.Cluster.of("a100-sxm-80gb", 1)
    fits = {name: slow.replace(packed=one) for name, one in (("slow", slow.packed), ("plain", {}))}
    seconds = {name: matmul_seconds(product, machine(there, one, ("bf16",)))[0] for name, one in fits.items()}
    assert seconds["slow"] == seconds["plain"]
    assert kernels(product) == 2


def test_mixed_precision_casts_each_weight_in_each_pass() -> None:
    model = pm.resnet50()
    work = pm.Inference(weight_dtype="fp16", activation_dtype="fp16", kernels="eager")
    plain, mixed = (
        inference_costs(model, work.replace(casts_weights=casts), pm.Parallel(dp=1)).prefill
        for casts in (False, True)
    )
    assert plain is not None and mixed is not None
    products = [(weight, copies) for weight, copies in model.weights() if weight.kind in ("matrix", "bias")]
    more = total(mixed, memory_bytes) - total(plain, memory_bytes)
    assert more == pytest.approx((4 + 2) * sum(weight.size * copies for weight, copies in products))
    assert total(mixed, kernels) - total(plain, kernels) == sum(copies for _, copies in products)


@pytest.mark.parametrize(
    ("sequences", "stages", "length", "parts"),
    [
        (128, 3, 20, 2),  # 2560 tokens: halved once
        (256, 3, 60, 8),  # 15360 tokens: halved three times
        (16, 3, 128, 1),  # 2048 tokens are not too many
        (96, 3, 20, 3),  # the stages divide it
        (96, 3, 128, 6),  # and 4096 tokens of each part are halved
        (256, 1, 512, 1),  # no pipeline
        (2, 4, 4096, 2),  # no more parts than sequences
    ],
)
def test_parts_of_a_pipeline_are_halved(sequences: int, stages: int, length: int, parts: int) -> None:
    assert parts_of(sequences, stages, length, 2048) == parts


def test_parts_fill_the_pipeline_where_nothing_else_is_known() -> None:
    assert [parts_of(batch, 4, 128, None) for batch in (1, 3, 64)] == [1, 3, 4]


def test_hosts_that_launch_messages_make_each_longer() -> None:
    there = pm.Cluster.of("a100-sxm-80gb", 8)
    fits = pm.Efficiency.serving("Ampere", "FasterTransformer")
    quick = fits.replace(host__message=0.0)
    work = pm.Inference(batch=8, input_length=2048, output_length=2)

    def longer(tp: int, **changes: object) -> float:
        slow, fast = (
            pm.estimate(LLAMA, work.replace(**changes), pm.Parallel(tp=tp), there, efficiency=one)
            for one in (fits, quick)
        )
        return slow.decode_time - fast.decode_time

    assert longer(8) == pytest.approx((2 * 32 + 2) * fits.host.message)  # two a layer, and one at each end
    assert longer(8, graphs=True) == longer(1) == 0


def test_messages_are_launched_where_steps_are_not_captured() -> None:
    found = {
        name: Engine.load(name).recipe.launched_messages for name in ("vllm", "vllm-2023", "tensorrt-llm-0")
    }
    assert found == {"vllm": False, "vllm-2023": True, "tensorrt-llm-0": False}


def test_a_narrow_cache_streams_as_the_engine_s_kernels_do() -> None:
    """Half the bytes take half the time where an engine has kernels for them; FlashAttention-3 loses what it saves."""
    fits = pm.Efficiency.load("hopper")
    long = {"input_length": 32768, "batch": 8}

    def attention(one: pm.Efficiency, **formats: str) -> float:
        run_ = run(one, **long, **formats)
        assert run_.decode is not None
        return float(by_kind(run_.decode)["attention"])

    wide, narrow = attention(fits), attention(fits, kv_dtype="fp8")
    own = attention(fits.replace(narrow_streams=True), kv_dtype="fp8")
    assert own == pytest.approx(wide / 2, rel=0.1)
    assert narrow > 1.5 * own
    assert pm.Efficiency.serving("Hopper", "TensorRT-LLM").narrow_streams
    assert not pm.Efficiency.serving("Hopper", "vLLM").narrow_streams


def test_an_engine_runs_what_a_job_leaves_open_and_keeps_what_it_says() -> None:
    """llama.cpp's prompts go through the vendor's library, on whose devices it is; a choice of one's own stays."""
    work = pm.Inference(batch=1, input_length=512, output_length=1, weight_dtype="gguf_q4_k_m")
    runs = {
        name: pm.estimate(LLAMA, work.replace(**given), pm.Parallel(), ONE, software="llama.cpp").prefill_time
        for name, given in {
            "open": {},
            "library": {"products": "library"},
            "own": {"products": "own"},
        }.items()
    }
    assert runs["open"] == runs["library"] != runs["own"]


def test_what_is_given_is_what_an_estimate_shows() -> None:
    work = pm.Inference(batch=1, input_length=512, output_length=1)
    est = pm.estimate(LLAMA, work, pm.Parallel(), ONE, software="llama.cpp")
    assert est.work == work
    assert est.work.kernels == "fused"  # as given; what ran is in the costs
    assert est.costs.entered.kernels == est.as_run.kernels == "ggml"
    assert "pointwise work by = ggml" in est.explain()
    asked = pm.estimate(LLAMA, work.replace(kernels="fused"), pm.Parallel(), ONE, software="llama.cpp")
    assert asked.as_run.kernels == "fused"
    assert "pointwise work by" not in asked.explain()
