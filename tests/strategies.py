"""Hypothesis strategies: models, jobs that keep every rule, clusters and efficiencies that need not exist."""

from typing import NamedTuple

from hypothesis import reject
from hypothesis import strategies as st

from perfmodel.decoder import decoder
from perfmodel.efficiency import CollectiveFit, Efficiency
from perfmodel.encoder import encoder
from perfmodel.errors import InputError
from perfmodel.hardware import Cluster, Device
from perfmodel.layers import MixtureOfExperts
from perfmodel.layers.state_space import Mamba2
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = [
    "Job", "any_jobs", "cluster", "clusters", "device", "efficiencies", "gpt", "ideal", "jobs", "models", "spread",
]  # fmt: skip

DEPTH = st.integers(1, 12)
NO_LOSS = {"host_link": 1, "storage": 1, "host_memory": 1e11}
INVENTED = {"sources": ("invented for a test",), "confidence": "estimate"}


class Job(NamedTuple):
    """What `estimate` is given."""

    model: Model
    work: Training
    layout: Parallel
    cluster: Cluster
    efficiency: Efficiency

    @property
    def arguments(self) -> dict:
        return {"model": self.model, "work": self.work, "layout": self.layout, "cluster": self.cluster,
                "efficiency": self.efficiency}  # fmt: skip


def gpt(layers=2, hidden=64, heads=4, **changes) -> Model:
    """A GPT of the classic kind: layer norms, biases, learned positions, tied head."""
    fields = {
        "name": "gpt", "inner": 4 * hidden, "vocabulary": 128, "gated": False, "norm": "layer", "norm_bias": True,
        "qkv_bias": True, "output_bias": True, "mlp_bias": True, "tied": True, "rotary": False, "positions": 2048,
    }  # fmt: skip
    return decoder(layers=layers, hidden=hidden, heads=heads, **(fields | changes))


def models(*, tp: int = 1, depth: st.SearchStrategy[int] = DEPTH) -> st.SearchStrategy[Model]:
    """Dense decoders of every variant, small, that tp ranks can share."""
    power = st.sampled_from([1, 2, 4])
    return st.builds(
        lambda groups, repeats, kv, multiple, **fields: decoder(
            heads=tp * groups * kv, kv_heads=kv * (tp if multiple else 1) if tp > 1 else kv,
            hidden=64 * repeats, **fields,
        ),
        groups=power, repeats=st.integers(1, 4), kv=power, multiple=st.booleans(),
        layers=depth, head_dim=st.sampled_from([16, 64, 128]),
        inner=st.integers(1, 16).map(lambda n: 8 * tp * n), vocabulary=st.sampled_from([64, 1000, 32000]),
        gated=st.booleans(), arrangement=st.sampled_from(["pre", "post", "sandwich", "parallel"]),
        norm=st.sampled_from(["layer", "rms"]), norm_bias=st.booleans(), qkv_bias=st.booleans(),
        mlp_bias=st.booleans(), tied=st.booleans(), rotary=st.booleans(), positions=st.sampled_from([0, 128]),
        qk_norm=st.sampled_from(["none", "shared", "full"]),
        windows=st.sampled_from([(None,), (64,), (128, None)]),
    )  # fmt: skip


def device(**changes) -> Device:
    """A made-up accelerator: 1 PFLOP/s, 2 TB/s, 80 GiB, eight of them on a 400 GB/s switch."""
    fields = {
        "id": "invented", "name": "Invented", "vendor": "nobody", "architecture": "invented", "year": 2026,
        "kind": "gpu", "peak": {"bf16": 1e15, "fp16": 1e15, "fp32": 6e13, "tf32": 5e14},
        "memory": {"capacity": 80 * 2**30, "bandwidth": 2e12},
        "scale_up": {"name": "switch", "bandwidth": 4e11, "domain_size": 8, "topology": "switch"},
        **INVENTED,
    }  # fmt: skip
    return Device(**(fields | changes))


def cluster(devices=16, *, scale_out=5e10, **changes) -> Cluster:
    """Nodes of eight made-up accelerators; changes are those of `Cluster.of`."""
    one = changes.pop("device", None) or device()
    return Cluster.of(one, devices, devices_per_node=min(8, devices), scale_out=scale_out, **changes)


def spread(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of any magnitude between two bounds."""
    return st.floats(0, 1).map(lambda share: low * (high / low) ** share)


def clusters(devices: int) -> st.SearchStrategy[Cluster]:
    """Clusters with rates from a phone's to tomorrow's, one node or many."""
    return st.builds(
        lambda peak, memory, fast, out, adds: cluster(
            devices, scale_out=out,
            device=device(
                peak=dict.fromkeys(("bf16", "fp16", "tf32", "fp32"), peak),
                memory={"capacity": 80 * 2**30, "bandwidth": memory},
                scale_up={"name": "switch", "bandwidth": fast, "domain_size": 8, "topology": "switch",
                          "in_network_reduction": adds},
            ),
        ),
        peak=spread(1e13, 1e16), memory=spread(1e11, 2e13), fast=spread(1e10, 2e12), out=spread(1e9, 4e11),
        adds=st.booleans(),
    )  # fmt: skip


def ideal(**changes) -> Efficiency:
    """Software that gets all of the machine at once: every fraction 1, every latency 0, every ridge sharp as a sum."""
    message = {"start": 0, "step": 0, "exponent": 1, "all_reduce": 1, "in_network": 1, "all_gather": 1, "all_to_all": 1,
               "send": 1}  # fmt: skip
    fields = {
        "id": "ideal", "name": "Ideal", "residual": "not measured",
        "matmul": {"default": {"compute": 1, "memory": 1, "latency": 0, "exponent": 1}},
        "attention": {"compute": 1, "backward": 1, "memory": 1, "latency": 0, "exponent": 1, "softmax_dims": 0},
        "stream": {"latency": 0, "memory": {"copy": 1}}, "collective": {"default": message},
        "overlap": {"slowdown": 0}, "host": {"launch": 0}, "offload": NO_LOSS,
        "overhead": {"context": 0, "communication": 0, "fragmentation": 0}, **INVENTED,
    }  # fmt: skip
    messages = {tier: message | given for tier, given in changes.pop("collective", {}).items()}
    return Efficiency(**(fields | changes | {"collective": {"default": message} | messages}))


def _share() -> st.SearchStrategy[float]:
    return st.floats(0.3, 1)


def _micros(high: float = 20) -> st.SearchStrategy[float]:
    return st.floats(0, high).map(lambda us: us * 1e-6)


def _nanos(high: float = 5) -> st.SearchStrategy[float]:
    return st.floats(0, high).map(lambda ns: ns * 1e-9)


def _collective_fits() -> st.SearchStrategy[CollectiveFit]:
    return st.builds(
        CollectiveFit, start=_micros(), step=_micros(5), exponent=st.floats(0.4, 2), all_reduce=_share(),
        in_network=_share(), all_gather=_share(), all_to_all=_share(), send=_share(),
        crowding=st.none() | _share(), direct=st.none() | _share(), direct_start=st.none() | _micros(),
        direct_barrier=_micros(),
    )  # fmt: skip


def efficiencies() -> st.SearchStrategy[Efficiency]:
    """Fits that nobody has measured."""
    ridge = st.floats(0.8, 4)
    matmul = st.fixed_dictionaries(
        {"compute": _share(), "memory": _share(), "latency": _micros(), "exponent": ridge, "sustained": _share(),
         "accumulate": _share(), "inner_step": _nanos(), "inner_split": st.floats(100, 1e4), "cached": st.floats(1, 4)}
    )  # fmt: skip
    attention = st.fixed_dictionaries(
        {"compute": _share(), "backward": _share(), "memory": _share(), "latency": _micros(), "exponent": ridge,
         "softmax_dims": st.floats(0, 64), "block": _nanos(20), "walk": _nanos(30), "walk_split": st.floats(100, 1e4),
         "decode_walk": _nanos(20), "decode_tile": st.floats(0, 200), "decode_narrow": _share()}
    )  # fmt: skip
    stream = st.fixed_dictionaries(
        {"latency": _micros(), "memory": st.fixed_dictionaries({"copy": _share(), "norm": _share()})}
    )
    overhead = {"context": 2**30, "communication": 2**28, "fragmentation": 0.05}
    return st.builds(
        lambda matmul, attention, stream, inner, outer, slowdown, launch: Efficiency(
            id="invented", name="Invented", residual="not measured", matmul={"default": matmul}, attention=attention,
            stream=stream, collective={"scale_up": inner, "default": outer}, overlap={"slowdown": slowdown},
            host={"launch": launch}, offload=NO_LOSS, overhead=overhead, **INVENTED,
        ),
        matmul, attention, stream, _collective_fits(), _collective_fits(), st.floats(0, 0.5), _micros(10),
    )  # fmt: skip


@st.composite
def jobs(draw, *, degrees=(1, 2, 4), overlap=None) -> Job:
    """Jobs that break no rule: any mixture of parallelism, on a cluster of just the right size."""
    tp, pp, cp, dp = (draw(st.sampled_from(degrees)) for _ in range(4))
    vpp = draw(st.sampled_from([1, 2, 3])) if pp > 1 else 1
    depth = st.integers(pp * vpp, 4 * pp * vpp) if pp > 1 else st.integers(1, 8)
    micro_batch, rounds = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 6))
    axes = st.lists(st.sampled_from(["tp", "cp", "dp", "pp"]), unique=True).map(tuple)
    layout = Parallel(
        tp=tp, pp=pp, vpp=vpp, cp=cp, dp=dp, micro_batch=micro_batch,
        sharding=draw(st.sampled_from(["none", "zero1", "zero2", "zero3"])), sequence_parallel=draw(st.booleans()),
        overlap=draw(axes) if overlap is None else overlap,
    )  # fmt: skip
    work = Training(
        global_batch=dp * micro_batch * rounds * (pp if vpp > 1 else 1),
        sequence_length=draw(st.sampled_from([64, 512, 2048, 8192])),
        precision=draw(st.sampled_from(["bf16", "fp16", "tf32", "fp32"])),
        recompute=draw(st.sampled_from(["none", "selective", "full"])),
        attention=draw(st.sampled_from(["flash", "unfused"])), dropout=draw(st.booleans()),
    )  # fmt: skip
    return Job(
        draw(models(tp=tp, depth=depth)),
        work,
        layout,
        draw(clusters(tp * pp * cp * dp)),
        draw(efficiencies()),
    )


# --- any job at all -----------------------------------------------------------------------------------------------

FEW, WIDTH = 8, 64
"""Experts of a layer, and width of a model, of `any_model`."""
STACKS = ("megatron-lm", "nemo", "torchtitan", "maxtext", "pytorch-fsdp", "megatron-deepspeed", "default")
ARCHITECTURES = ("Hopper", "Ampere", "Blackwell", "CDNA3", "TPU", "Volta", "some new chip")
SCHEDULES = ("gpipe", "1f1b", "looped-bfs", "interleaved-1f1b", "zbv", "dualpipev", "interleaved-zero-bubble")
KINDS = ("dense", "experts", "hybrid", "encoder")


def any_model(kind: str, *, layers: int, tp: int, **changes) -> Model:
    """A small model of a kind, that tp ranks can share."""
    heads, inner = max(4, tp), 32 * tp
    if kind == "encoder":
        fields = {
            "layers": layers,
            "hidden": WIDTH,
            "heads": heads,
            "inner": inner,
            "vocabulary": 1000,
            "positions": 8192,
        }
        return encoder(masked_head=True, **(fields | changes))
    experts = MixtureOfExperts(hidden=WIDTH, inner=8 * tp, experts=FEW, top_k=2, shared_inner=8 * tp)
    mixer = Mamba2(hidden=WIDTH, heads=heads, head_dim=16, state=8, groups=heads)
    fields = {
        "layers": layers,
        "hidden": WIDTH,
        "heads": heads,
        "head_dim": 16,
        "inner": inner,
        "vocabulary": 1000,
    }
    if kind in ("experts", "hybrid"):
        fields["feeds"] = (None, experts)
    if kind == "hybrid":
        fields["mixers"] = (None, mixer)
    return decoder(**(fields | changes))


def _any_layout(draw, kind: str, tp: int, pp: int, cp: int, dp: int) -> dict:
    """Fields of `Parallel` that go together."""
    overlap = draw(st.lists(st.sampled_from(["tp", "cp", "ep", "dp", "pp"]), unique=True).map(tuple))
    sharding = draw(st.sampled_from(["none", "zero1", "zero2", "zero3", "hsdp"]))
    routed = kind in ("experts", "hybrid")
    return {
        "tp": tp, "pp": pp, "cp": cp, "dp": dp, "overlap": overlap, "sharding": sharding,
        "schedule": draw(st.sampled_from(SCHEDULES)) if pp > 1 else "auto",
        "shards": draw(st.sampled_from([1, cp, cp * dp])) if sharding == "hsdp" else None,
        "ep": draw(st.sampled_from([n for n in (1, 2, 4, 8) if (tp * cp * dp) % n == 0])) if routed else 1,
        "expert_tp": draw(st.sampled_from([None, 1])) if routed else None,
        "dispatch": draw(st.sampled_from(["all_to_all", "deduplicated"])),
        "overlap_shared": draw(st.booleans()) and "ep" not in overlap,
        "context": draw(st.sampled_from(["ring", "all_gather", "ulysses"])),
        "tp_overlap": draw(st.sampled_from([None, "ring", "pipelined", "userbuffers"])),
        "sequence_parallel": draw(st.booleans()), "reshard": draw(st.booleans()), "prefetch": draw(st.booleans()),
        "gradient_sync": draw(st.sampled_from([None, "every", "last"])),
        "bucket": draw(st.sampled_from([None, 1000, 10**5])),
    }  # fmt: skip


def _any_work(draw, sequences: int, kind: str) -> Training:
    """A step of so many sequences."""
    recompute = draw(st.sampled_from(["none", "selective", "full"]))
    return Training(
        global_batch=sequences, sequence_length=draw(st.sampled_from([64, 512, 2048, 8192])),
        precision=draw(st.sampled_from(["bf16", "fp16", "tf32", "fp32", "fp8", "mxfp8"])), recompute=recompute,
        recompute_every=draw(st.sampled_from([1, 2])) if recompute != "none" else 1,
        optimizer=draw(st.sampled_from(["adamw", "adafactor", "sgd_momentum", "muon"])),
        attention=draw(st.sampled_from(["flash", "unfused"])), dropout=draw(st.booleans()),
        kernels=draw(st.sampled_from(["fused", "eager"])), fused_optimizer=draw(st.booleans()),
        expert_imbalance=draw(st.sampled_from([1, 1.5])) if kind in ("experts", "hybrid") else 1,
    )  # fmt: skip


def _any_efficiency(draw) -> Efficiency:
    if draw(st.booleans()):
        return draw(efficiencies())
    return Efficiency.of(draw(st.sampled_from(ARCHITECTURES)), draw(st.sampled_from(STACKS)))


def _any_cluster(draw, devices: int) -> Cluster:
    made = draw(clusters(devices))
    peak = dict(made.device.peak.known().items())
    fast = peak["bf16"] * draw(st.sampled_from([1, 2]))
    port = {"name": "port", "bandwidth": draw(spread(1e9, 5e11))}
    return made.replace(device=made.device.replace(peak=peak | {"fp8": fast}, host_link=port))


@st.composite
def any_jobs(draw, *, degrees=(1, 2, 4), kinds=KINDS, **fixed) -> Job:
    """Jobs that break no rule, of every kind of model, schedule, sharding, message, format and software.

    Parameters
    ----------
    degrees : of tp, pp, cp and dp
    kinds : of models
    fixed : fields of the layout
    """
    kind = draw(st.sampled_from(kinds))
    tp, pp, cp, dp = (draw(st.sampled_from(degrees)) for _ in range(4))
    cp = 1 if kind == "hybrid" else cp
    layout = _any_layout(draw, kind, tp, pp, cp, dp) | fixed
    folded = layout["schedule"] in ("zbv", "dualpipev")
    if layout["schedule"] in ("looped-bfs", "interleaved-1f1b", "interleaved-zero-bubble"):
        layout["vpp"] = draw(st.sampled_from([1, 2, 3]))
    if folded:
        layout["vpp"] = 2
    micro_batch, rounds = draw(st.sampled_from([1, 2])), draw(st.integers(1, 4))
    rounds = rounds * pp * (2 if folded else 1) if pp > 1 else rounds
    chunks = layout["pp"] * layout.get("vpp", 1)
    model = any_model(kind, layers=chunks * draw(st.integers(1, 2)), tp=tp, gated=draw(st.booleans()))
    devices = tp * pp * cp * dp
    try:
        placed = Parallel(micro_batch=micro_batch, **layout)
        work = _any_work(draw, dp * micro_batch * rounds, kind)
        placed.check(model, work)
    except InputError:
        reject()
    return Job(model, work, placed, _any_cluster(draw, devices), _any_efficiency(draw))
