"""A batch of inference: laws that hold for any model and machine, bytes counted by hand, and what bad input is told."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.costs.inference import inference_costs
from perfmodel.efficiency import EngineRecipe
from perfmodel.errors import InputError
from perfmodel.estimation.inference import counted_batch, fullest, phases
from perfmodel.estimation.machine import machine
from perfmodel.parallel import Parallel
from perfmodel.work import flops, total
from tests.strategies import KINDS, any_model, clusters, efficiencies

SOME = settings(max_examples=40)
ROUNDING = 1 + 1e-9
DECODERS = [kind for kind in KINDS if kind != "encoder"]
ONE = pm.Cluster.load("dgx-h100", devices=1)
LLAMA = pm.Model.load("llama-3.1-8b")
LENGTHS = {"batch": 8, "input_length": 1024, "output_length": 128}


def run(model=LLAMA, layout=None, cluster=ONE, software=None, efficiency=None, **job):
    name = pm.Model.load(model) if isinstance(model, str) else model
    work = pm.Inference(**(LENGTHS | job))
    return pm.estimate(name, work, layout or Parallel(), cluster, software=software, efficiency=efficiency)


@st.composite
def batches(draw, *, tp=(1, 2, 4), pp=(1, 2), dp=(1, 2)):
    """Arguments of `estimate` that break no rule: any kind of decoder, any formats that every device has."""
    t, p, d = (draw(st.sampled_from(degrees)) for degrees in (tp, pp, dp))
    kind = draw(st.sampled_from(DECODERS))
    work = pm.Inference(
        batch=d * draw(st.integers(1, 8)) * p,
        input_length=draw(st.sampled_from([0, 1, 64, 1000])),
        output_length=draw(st.sampled_from([2, 3, 100])),
        weight_dtype=draw(st.sampled_from(["bf16", "fp16", "fp32", "int8_wo", "int4_g128", "gguf_q4_k_m"])),
        kv_dtype=draw(st.sampled_from([None, "fp8", "int4"])),
        attention=draw(st.sampled_from(["flash", "unfused"])),
        graphs=draw(st.booleans()),
    )
    layers = draw(st.integers(p, 4 * p))
    return {
        "model": any_model(kind, layers=layers + layers % 2, tp=t),
        "work": work,
        "layout": Parallel(tp=t, pp=p, dp=d),
        "cluster": draw(clusters(t * p * d)),
        "efficiency": draw(efficiencies()),
    }


def estimated(job, **changes):
    return pm.estimate(**(job | changes))


# --- laws ---------------------------------------------------------------------------------------------------------


@SOME
@given(job=batches())
def test_phases_terms_and_resources_add_up(job):
    est = estimated(job)
    assert est.latency == pytest.approx(est.prefill_time + job["work"].steps * est.decode_time, rel=1e-9)
    for shares in (est.terms, est.resources):
        assert sum(shares.values()) == pytest.approx(est.latency, rel=1e-9)
        assert min(shares.values()) >= 0
    assert sum(est.memory.by_kind.values()) == pytest.approx(est.memory.total)
    assert 0 <= est.prefill_mfu <= ROUNDING
    assert 0 < est.mbu <= ROUNDING
    assert repr(est)


@SOME
@given(job=batches(), factor=st.floats(1, 10))
def test_bandwidth_buys_at_most_itself(job, factor):
    device = job["cluster"].device
    faster = job["cluster"].replace(device=device.replace(memory__bandwidth=factor * device.memory_bandwidth))
    before, after = estimated(job), estimated(job, cluster=faster)
    for phase in ("prefill_time", "decode_time"):
        old, new = getattr(before, phase), getattr(after, phase)
        assert new <= old * ROUNDING
        assert new * factor * ROUNDING >= old


@SOME
@given(job=batches(), times=st.integers(2, 4))
def test_a_larger_batch_takes_longer_and_gives_more(job, times):
    few = estimated(job)
    many = estimated(job, work=job["work"].replace(batch=times * job["work"].batch))
    assert many.tpot * ROUNDING >= few.tpot
    assert many.ttft * ROUNDING >= few.ttft
    assert many.latency <= times * few.latency * ROUNDING
    assert many.memory.total >= few.memory.total


@SOME
@given(job=batches(), more=st.integers(1, 4000))
def test_a_longer_context_takes_longer(job, more):
    short = estimated(job)
    long = estimated(job, work=job["work"].replace(input_length=job["work"].input_length + more))
    assert long.tpot * ROUNDING >= short.tpot
    assert long.ttft * ROUNDING >= short.ttft
    assert long.memory.cache >= short.memory.cache


@SOME
@given(job=batches(tp=(1,), pp=(1,), dp=(1,)), ranks=st.sampled_from([2, 4]))
def test_tensor_ranks_never_beat_the_ideal(job, ranks):
    alone = estimated(job)
    fits = job["efficiency"]
    share = estimated(
        job, layout=Parallel(tp=ranks), cluster=job["cluster"].replace(devices=ranks), efficiency=fits
    )
    for phase in ("prefill_time", "decode_time"):
        assert getattr(share, phase) * ranks * ROUNDING >= getattr(alone, phase)
    assert share.memory.weights * ranks * ROUNDING >= alone.memory.weights
    assert share.memory.cache * ranks * ROUNDING >= alone.memory.cache


@pytest.mark.parametrize("tp", [1, 2])
def test_replicas_of_a_dense_model_do_not_meet(tp):
    one = run(layout=Parallel(tp=tp), cluster=ONE.replace(devices=tp))
    four = run(layout=Parallel(tp=tp), cluster=ONE.replace(devices=4 * tp), batch=32)
    assert four.layout.dp == 4
    assert four.latency == pytest.approx(one.latency, rel=1e-12)
    assert four.memory.total == one.memory.total
    assert four.output_tokens_per_second == pytest.approx(4 * one.output_tokens_per_second, rel=1e-12)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b"])
@pytest.mark.parametrize("device", ["a100-sxm-80gb", "h100", "mi300x"])
def test_decode_alone_is_bound_by_memory_and_long_prompts_by_compute(model, device):
    est = run(model, cluster=pm.Cluster.of(device, 1), batch=1, input_length=4096)
    assert est.limiters["decode"].name == "memory_bandwidth"
    many = run(model, cluster=pm.Cluster.of(device, 1), batch=8, input_length=4096)
    assert many.limiters["prefill"].name == "compute"


@SOME
@given(factor=st.floats(1, 8), tp=st.sampled_from([1, 2, 8]), context=st.sampled_from([512, 8192]))
def test_room_for_more_sequences_never_costs_throughput(factor, tp, context):
    cluster = pm.Cluster.load("dgx-h100", devices=tp)
    larger = cluster.replace(
        device=cluster.device.replace(memory__capacity=factor * cluster.device.memory_capacity)
    )
    work = pm.Serving(input_length=context, output_length=256)
    few, many = (pm.estimate(LLAMA, work, Parallel(tp=tp), on) for on in (cluster, larger))
    assert many.max_concurrency >= few.max_concurrency
    assert many.output_tokens_per_second * ROUNDING >= few.output_tokens_per_second


# --- more than the cache has room for ------------------------------------------------------------------------------

MANY = {"batch": 2000, "input_length": 2048, "output_length": 512}


def test_a_server_takes_as_many_as_it_has_room_for():
    """vLLM reserves nothing: its cache is always full, and the batch takes as often as it is larger."""
    est = run(software="vllm", **MANY)
    most = est.memory.most_sequences
    alone = run(software="vllm", **(MANY | {"batch": int(most)}))
    assert alone.waves == 1
    assert est.waves == pytest.approx(2000 / most)
    assert est.sequences_together == pytest.approx(most)
    assert est.latency == pytest.approx(2000 / most * alone.latency, rel=1e-9)
    assert est.tpot == pytest.approx(alone.tpot, rel=1e-9)
    assert est.mfu == pytest.approx(alone.mfu, rel=1e-9)
    assert est.output_tokens_per_second == pytest.approx(alone.output_tokens_per_second, rel=1e-9)
    assert est.ttft == pytest.approx(alone.ttft + (est.waves - 1) / 2 * alone.latency, rel=1e-9)
    assert est.fits
    assert est.memory.cache == pytest.approx(most * est.memory.per_sequence)
    assert sum(est.terms.values()) == pytest.approx(est.latency, rel=1e-9)
    assert "one after the other" in repr(est)
    assert est.to_dict()["waves"] == est.waves


def test_a_server_that_reserves_the_output_has_whole_waves():
    est = run(software="tensorrt-llm", **MANY)
    assert est.waves == np.ceil(2000 / est.memory.most_sequences)
    assert est.sequences_together == 2000 / est.waves <= est.memory.most_sequences
    one_more = int(est.memory.most_sequences) + 1
    assert run(software="tensorrt-llm", **(MANY | {"batch": one_more})).waves == 2


@pytest.mark.parametrize(("software", "job"), [("faster-transformer", {}), ("vllm", {"continuous": False})])
def test_what_is_not_scheduled_runs_together_or_not_at_all(software, job):
    est = run(software=software, **MANY, **job)
    assert est.waves == 1
    assert est.sequences_together == 2000
    assert not est.fits
    assert "does NOT fit" in repr(est)
    assert run(software=software, **MANY, continuous=True).fits


def test_a_model_without_room_for_one_sequence_does_not_fit():
    est = run("llama-3.1-70b", software="vllm", **MANY)
    assert not est.fits
    assert est.sequences_together == 1
    over = est.memory.total - est.memory.available
    assert f"does NOT fit ({over / 2**30:.2f} GiB over)" in repr(est)
    assert "would fit with         tp = 2, devices = 2" in repr(est)


def test_replicas_have_caches_of_their_own():
    one = run(software="vllm", **MANY)
    four = run(software="vllm", cluster=ONE.replace(devices=4), **(MANY | {"batch": 8000}))
    assert four.waves == one.waves
    assert four.latency == pytest.approx(one.latency, rel=1e-12)


@SOME
@given(
    factor=st.floats(1, 8),
    batch=st.integers(1, 4000),
    context=st.sampled_from([512, 8192]),
    software=st.sampled_from(["vllm", "tensorrt-llm"]),
)
def test_a_larger_cache_never_slows_a_batch(factor, batch, context, software):
    device = ONE.device.replace(memory__capacity=factor * ONE.device.memory_capacity)
    job = {"batch": batch, "input_length": context, "software": software}
    few, many = (run(cluster=on, **job) for on in (ONE, ONE.replace(device=device)))
    assert many.waves <= few.waves * ROUNDING
    assert many.output_tokens_per_second * ROUNDING >= few.output_tokens_per_second


@SOME
@given(job=batches(), times=st.integers(2, 4), continuous=st.booleans())
def test_a_larger_batch_in_waves_takes_longer_and_gives_no_less(job, times, continuous):
    work = job["work"].replace(continuous=continuous)
    few, many = (estimated(job, work=work.replace(batch=n * work.batch)) for n in (1, times))
    assert many.latency * ROUNDING >= few.latency
    assert many.latency <= times * few.latency * ROUNDING
    assert many.latency == pytest.approx(
        many.waves * (many.prefill_time + work.steps * many.decode_time), rel=1e-9
    )


def test_the_share_of_the_cache_is_of_what_is_free():
    memory = run(software="tensorrt-llm").memory
    rest = memory.weights + memory.activations + memory.overhead
    assert memory.room == pytest.approx(0.9 * (80 * 2**30 - rest))
    assert memory.overhead == (1 + 2.5) * 2**30
    assert memory.most_sequences == np.floor(memory.room / memory.per_sequence)
    for batch in (1, 200, 300, 400):
        held = run(software="tensorrt-llm", batch=batch, continuous=False).memory
        assert held.fits == (held.cache <= held.room) == (held.free >= 0) == (batch < 300)


def test_waves_of_columns_are_those_of_each():
    column = [1, 64, 400, 5000]
    found = pm.sweep(LLAMA, pm.Inference(**MANY), ONE, software="vllm", batch=column, tp=[1])
    each = [run(software="vllm", **(MANY | {"batch": batch})) for batch in column]
    np.testing.assert_allclose(found["latency"].ravel(), [est.latency for est in each], rtol=1e-12)
    np.testing.assert_allclose(found["waves"].ravel(), [est.waves for est in each], rtol=1e-12)
    assert found["feasible"].all()


def test_waves_may_be_a_symbol():
    batch = sympy.Symbol("batch", positive=True)
    work = pm.Inference.model_construct(**(MANY | {"batch": batch}))
    fits = pm.Efficiency.serving("Hopper", "vLLM", device=ONE.device.id)
    counted = counted_batch(LLAMA, work, Parallel(dp=1), ONE, fits)
    for number in (16.0, 1000.0):
        plain = counted_batch(
            LLAMA, pm.Inference(**(MANY | {"batch": int(number)})), Parallel(dp=1), ONE, fits
        )
        found = [sympy.N(value.subs(batch, number)) for value in (counted.waves, counted.memory.total)]
        assert found == pytest.approx([float(plain.waves), float(plain.memory.total)])


# --- bytes counted by hand ----------------------------------------------------------------------------------------

MATRICES = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
ENDS, NORMS = 2 * 128_256 * 4096, 65 * 4096


@pytest.mark.parametrize(
    ("dtype", "held"),
    [
        ("bf16", 16_060_522_496),
        ("fp8", MATRICES + 2 * (ENDS + NORMS)),
        ("int8_wo", MATRICES + 2 * (ENDS + NORMS)),
        ("int4_g128", MATRICES * (4 + (16 + 4) / 128) / 8 + 2 * (ENDS + NORMS)),
        ("nvfp4", MATRICES * 4.5 / 8 + 2 * (ENDS + NORMS)),
        ("gguf_q4_k_m", (MATRICES + ENDS) * 4.85 / 8 + 2 * NORMS),
        ("fp32", 4 * 8_030_261_248),
    ],
)
def test_weights_are_held_in_their_format(dtype, held):
    cluster = pm.Cluster.of("b200", 1)
    assert run(weight_dtype=dtype, cluster=cluster).memory.weights == pytest.approx(held, rel=1e-12)


def test_tensor_ranks_split_matrices_and_copy_norms():
    est = run(layout=Parallel(tp=2), cluster=ONE.replace(devices=2))
    assert est.memory.weights == MATRICES + ENDS + 2 * NORMS


@pytest.mark.parametrize(
    "model",
    ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v2-lite", "gemma-3-12b", "gpt-oss-20b", "falcon-7b", "phi-2"],
)
@pytest.mark.parametrize(("kv", "size"), [(None, 2), ("fp8", 1), ("int4", 4.5 / 8)])
def test_the_cache_is_the_models_own(model, kv, size):
    est = run(model, kv_dtype=kv)
    longest = est.work.longest
    assert longest == 1024 + 127
    kept = est.model.kv_bytes(context=longest, dtype_bytes=size, reserved=True)
    assert est.memory.per_sequence == pytest.approx(kept, rel=1e-12)
    assert est.memory.cache == pytest.approx(8 * kept, rel=1e-12)


def test_operations_are_the_models_own():
    est = run(output_length=1)
    wanted = 8 * LLAMA.flops(sequence_length=1024, mode="prefill", logits="last")
    assert est.costs.prefill_flops == pytest.approx(wanted, rel=1e-12)
    step = run(output_length=2)
    assert step.costs.decode_flops == pytest.approx(8 * LLAMA.flops(mode="decode", cached=1024), rel=1e-12)


def test_what_a_step_reads_is_weights_without_the_table_and_the_cache():
    est = run(output_length=2, batch=4)
    table = 2 * 128_256 * 4096
    read = est.memory.weights - table - 2 * NORMS + 4 * LLAMA.kv_bytes(context=1025)
    assert est.costs.held == pytest.approx(read, rel=1e-12)


def test_a_mixture_reads_the_experts_that_are_hit():
    few, all_ = run("mixtral-8x7b", batch=1), run("mixtral-8x7b", batch=512)
    weights = few.memory.weights
    assert few.costs.held < 0.35 * weights
    assert all_.costs.held > weights


# --- float, array, symbol -----------------------------------------------------------------------------------------


def seconds_and_bytes(batch, tp, bandwidth, cluster=None):
    """Prefill, a step of decode and memory, whatever kind of number the inputs are."""
    layout = Parallel.model_construct(tp=tp, dp=1)
    work = pm.Inference.model_construct(batch=batch, input_length=1024, output_length=128)
    costs = inference_costs(LLAMA, work, layout)
    on = pm.Cluster.load("dgx-h100", devices=8)
    rates = machine(on, pm.Efficiency.serving("Hopper"), (costs.dtype, costs.core_dtype))
    fits = {
        name: rate._replace(bandwidth=rate.bandwidth / rates.bandwidth * bandwidth)
        for name, rate in rates.matmul.items()
    }
    rates = rates._replace(bandwidth=bandwidth, matmul=fits)
    prefill, decode = phases(costs, rates, True)
    limits = (rates.capacity, rates.efficiency.overhead, EngineRecipe())
    held = fullest(costs.memory, costs.groups, *limits, sequences=costs.samples / layout.dp)
    return prefill.seconds, decode.seconds, held.total


ROWS = [(1.0, 1.0, 2e12), (64.0, 2.0, 3.35e12), (300.0, 8.0, 8e12), (7.0, 4.0, 1e11)]


def test_float_is_array_is_symbol():
    rows = np.array([[float(one) for one in seconds_and_bytes(*row)] for row in ROWS])
    columns = seconds_and_bytes(*(np.array(column) for column in zip(*ROWS, strict=True)))
    np.testing.assert_allclose(np.array(columns).T, rows, rtol=1e-12)
    names = sympy.symbols("batch tp bandwidth", positive=True)
    closed = sympy.lambdify(names, list(seconds_and_bytes(*names)), "math", cse=True)
    np.testing.assert_allclose([closed(*row) for row in ROWS], rows, rtol=1e-9)


# --- every kind of model ------------------------------------------------------------------------------------------

READ = {"batch": 4, "input_length": 256}
KINDS_OF_MODELS = {
    "mla": ("deepseek-v2-lite", READ | {"output_length": 32}),
    "experts": ("mixtral-8x7b", READ | {"output_length": 32, "weight_dtype": "int4_g128"}),
    "experts in four bits": ("gpt-oss-20b", READ | {"output_length": 32, "weight_dtype": "mxfp4_moe"}),
    "windows": ("gemma-3-12b", READ | {"output_length": 32, "kv_dtype": "fp8"}),
    "states": ("mamba2-1.3b", READ | {"output_length": 32}),
    "states and attention": ("jamba-v0.1", READ | {"output_length": 32}),
    "linear attention": ("qwen3-next-80b-a3b", READ | {"output_length": 32}),
    "recurrent": ("rwkv-4-3b", READ | {"output_length": 32}),
    "encoder and decoder": ("t5-large", READ | {"source_length": 512, "output_length": 32}),
    "speech": ("whisper-large-v3", {"batch": 4, "input_length": 4, "output_length": 100}),
    "encoder": ("bert-large", READ),
    "sentence": ("bge-large-en", READ),
    "patches": ("vit-large", {"batch": 4}),
    "convolutions": ("resnet-50", {"batch": 4}),
    "larger images": ("resnet-50", {"batch": 4, "image_size": 448}),
    "signal": ("wav2vec2-base-960h", {"batch": 4}),
    "rows of a table": ("dlrm-mlperf", {"batch": 4096}),
}


@pytest.mark.parametrize("kind", KINDS_OF_MODELS)
def test_every_kind_of_model_runs(kind):
    name, job = KINDS_OF_MODELS[kind]
    est = pm.estimate(pm.Model.load(name), pm.Inference(**job), Parallel(), ONE)
    assert est.latency > 0
    assert est.samples_per_second == pytest.approx(job["batch"] / est.latency)
    generates = job.get("output_length", 1) > 1
    assert (est.decode is not None) == generates
    assert (est.memory.cache > 0) == generates
    assert total(est.costs.prefill, flops) > 0
    for view in (repr(est), est._repr_html_(), est.explain()):
        assert name in view
    assert est.to_dict()["latency"] == est.latency


def test_absorbed_latents_cost_little_memory():
    latent, full = run("deepseek-v2-lite"), run("llama-3.1-8b")
    assert latent.memory.per_token == 27 * (512 + 64) * 2
    assert full.memory.per_token == 32 * 2 * 8 * 128 * 2


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "job", "layout", "told"),
    [
        (
            "gpt2",
            {"input_length": 2000},
            {},
            "exceeds the 1024 positions of gpt2; nearest: input_length = 1024",
        ),
        ("gpt2", {"input_length": 1000, "output_length": 100}, {}, "nearest: output_length = 25"),
        ("llama-3.1-8b", {"input_length": 140_000}, {}, "exceeds the 131072 positions"),
        ("bert-large", {"input_length": 128, "output_length": 8}, {}, "nearest: output_length = 1"),
        ("vit-large", {"input_length": None, "output_length": 8}, {}, "reads and generates nothing"),
        ("llama-3.1-8b", {"input_length": None}, {}, "input_length is missing"),
        ("vit-large", {"input_length": 100, "output_length": 1}, {}, "leave it out"),
        ("llama-3.1-70b", {}, {"tp": 5}, "tp = 5 does not divide the 64 attention heads"),
        ("llama-3.1-8b", {}, {"vpp": 2, "pp": 2}, "vpp = 2"),
        ("llama-3.1-8b", {"batch": 3}, {"dp": 2}, "nearest: batch = "),
        ("llama-3.1-8b", {}, {"ep": 2}, "ep = 2"),
        ("llama-3.1-8b", {}, {"cp": 2}, "cp = 2 cuts the prompts"),
    ],
)
def test_a_job_that_cannot_be_names_what_can(model, job, layout, told):
    devices = layout.get("tp", 1) * layout.get("pp", 1) * layout.get("cp", 1) * layout.get("dp", 1)
    devices *= layout.get("ep", 1)
    with pytest.raises(InputError, match=told):
        run(model, Parallel(**layout), pm.Cluster.of("h100", devices), **job)


def test_all_rules_are_told_at_once():
    layout = Parallel(tp=5, vpp=2)
    with pytest.raises(InputError) as error:
        run("gpt2", layout, pm.Cluster.of("h100", 5), input_length=5000, output_length=10)
    for told in ("tp = 5", "vpp = 2", "input_length = 5000"):
        assert told in str(error.value)


def test_key_value_heads_are_copied_where_ranks_exceed_them():
    est = run("llama-3.1-8b", Parallel(tp=16), pm.Cluster.of("h100", 16))
    half = run("llama-3.1-8b", Parallel(tp=8), pm.Cluster.of("h100", 8))
    assert est.memory.per_token == half.memory.per_token
    with pytest.raises(InputError, match="tp"):
        run("llama-2-13b", Parallel(tp=16), pm.Cluster.of("h100", 16))


@pytest.mark.parametrize("dtype", ["fp8", "nvfp4", "fp8_block"])
def test_a_format_without_a_peak_names_those_that_run(dtype):
    cluster = pm.Cluster.of("a100-sxm-80gb", 1)
    with pytest.raises(InputError) as error:
        run(cluster=cluster, weight_dtype=dtype)
    for told in ("NVIDIA A100", "bf16", "int8", "weight-only", "int4_g128"):
        assert told in str(error.value)
    for weights in ("fp8_wo", "int8_wo", "int4_g128", "nvfp4_wo", "gguf_q4_k_m", "mxfp4_moe", "int8", "fp32"):
        assert run(cluster=cluster, weight_dtype=weights).fits


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"weight_dtype": "fp9"}, "did you mean fp8"),
        ({"weight_dtype": "int4_g0"}, "unknown weight_dtype"),
        ({"kv_dtype": "int3"}, "unknown kv_dtype"),
        ({"activation_dtype": "int8"}, "valid: fp32, tf32, bf16, fp16"),
        ({"input_length": 0, "output_length": 0}, "leave nothing to do; nearest: output_length = 1"),
        ({"input_length": 8, "cached_length": 8}, "nearest: cached_length = 7"),
        ({"batch": 0}, "batch"),
        ({"input_length": -1}, "input_length"),
        ({"lenght": 5}, "lenght"),
        ({"input_length": float("nan")}, "input_length"),
    ],
)
def test_a_field_that_cannot_be_is_one_clear_error(fields, told):
    with pytest.raises(InputError, match=told):
        pm.Inference(**fields)


def test_every_fault_of_the_fields_is_told():
    with pytest.raises(InputError) as error:
        pm.Inference(input_length=0, output_length=0, weight_dtype="fp9", kv_dtype="int3", cached_length=0)
    for told in ("fp9", "int3", "nothing to do"):
        assert told in str(error.value)


def test_an_unknown_engine_is_told_with_the_known():
    with pytest.raises(InputError, match="vllm"):
        run(software="vlm")


@pytest.mark.parametrize("name", ["gemma-3-12b", "whisper-large-v3", "t5-large", "jamba-v0.1"])
def test_requests_may_bring_what_the_model_was_made_for(name):
    work = pm.Serving(input_length=64, output_length=16, concurrency=4)
    est = pm.estimate(pm.Model.load(name), work, Parallel(), ONE)
    alone = pm.estimate(est.model, pm.Inference(input_length=64, output_length=16), Parallel(), ONE)
    assert est.tpot >= alone.tpot
    assert name in est.explain()
