"""What inference engines make of a machine: their sets, their recipes, and what their constants do."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.costs.inference import cut
from perfmodel.efficiency import Engine, engines
from perfmodel.layers import Pass
from perfmodel.layers.attention import visible_pairs

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
        ("TensorRT-LLM 1.0.0rc3", "tensorrt-llm"),
        ("TensorRT 10.2.0, CUDA 12.4", "tensorrt"),
        ("llama.cpp (May 2024) Metal", "llama-cpp"),
        ("PyTorch 2.9 torch-neuronx, SDK 2.27.0", "neuron"),
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
