"""Sample arguments of every public formula: each is a column, so that a formula has its limits in one call.

A new formula gets its line here, in the same change.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType

import perfmodel.formulas


def modules() -> list[ModuleType]:
    """Every module of perfmodel.formulas, sub-packages included."""
    found = pkgutil.walk_packages(perfmodel.formulas.__path__, "perfmodel.formulas.")
    return [importlib.import_module(each.name) for each in found]


def public_formulas() -> dict:
    """Every public function that a module of perfmodel.formulas defines, as `module.function`."""
    return {
        f"{module.__name__.removeprefix('perfmodel.formulas.')}.{name}": function
        for module in modules()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    }


SAMPLES = {
    # collectives: one rank, few, many; no payload
    "collectives.all_reduce_factor": {"ranks": [1, 2, 8, 1024]},
    "collectives.gather_factor": {"ranks": [1, 2, 8, 1024]},
    "collectives.alpha_beta": {
        "steps": [0, 7, 3],
        "traffic": [0, 1e9, 5e5],
        "bandwidth": [1e11, 4.5e11, 2.5e10],
        "latency": [1e-6, 2e-6, 0],
    },
    "collectives.ring_all_reduce": {
        "payload": [8e9, 0, 1e3, 1e9],
        "ranks": [8, 4, 1, 1000],
        "bandwidth": [4e11, 1e11, 1e11, 2.5e10],
        "latency": [1e-6, 1e-6, 1e-6, 5e-6],
    },
    "collectives.ring_all_gather": {
        "payload": [8e9, 0, 1e3, 1e9],
        "ranks": [8, 4, 1, 1000],
        "bandwidth": [4e11, 1e11, 1e11, 2.5e10],
        "latency": [1e-6, 1e-6, 1e-6, 5e-6],
    },
    "collectives.torus_all_gather": {
        "payload": [1e9, 1e3, 0, 1e9],
        "ranks": [16, 64, 8, 1],
        "axes": [2, 3, 1, 1],
        "link_bandwidth": [4.5e10, 9e10, 4.5e10, 4.5e10],
        "latency": [1e-6, 2e-6, 1e-6, 1e-6],
    },
    "collectives.send": {
        "payload": [4e9, 0, 1e3],
        "bandwidth": [4e10, 4e10, 1e9],
        "latency": [2e-5, 1e-6, 0],
    },
    "collectives.smooth_alpha_beta": {
        "start": [5e-6, 1e-5, 0],
        "steps": [4, 14, 0],
        "latency": [1e-6, 7e-7, 1e-6],
        "traffic": [9e5, 0, 1e9],
        "bandwidth": [1e11, 4.5e11, 2.5e10],
        "exponent": [1.0, 0.62, 2.0],
    },
    # all-reduces beside the ring: one rank, few, many; no payload
    "all_reduce.tree_all_reduce": {
        "payload": [8e9, 0, 1e3, 1e9],
        "ranks": [8, 4, 1, 1000],
        "bandwidth": [4e11, 1e11, 1e11, 2.5e10],
        "latency": [1e-6, 1e-6, 1e-6, 5e-6],
    },
    "all_reduce.halving_doubling_all_reduce": {
        "payload": [8e9, 0, 1e3, 1e9],
        "ranks": [8, 4, 1, 1024],
        "bandwidth": [4e11, 1e11, 1e11, 2.5e10],
        "latency": [1e-6, 1e-6, 1e-6, 5e-6],
    },
    "all_reduce.hierarchical_all_reduce": {
        "payload": [8e9, 0, 1e3, 1e9],
        "ranks": [16, 8, 1, 1024],
        "domains": [2, 1, 1, 128],
        "bandwidth": [4e11, 1e11, 1e11, 4.5e11],
        "outer_bandwidth": [5e10, 1e10, 1e11, 2.5e10],
        "latency": [1e-6, 1e-6, 1e-6, 0],
        "outer_latency": [5e-6, 1e-6, 1e-6, 1e-5],
    },
    "all_reduce.in_switch_factor": {"ranks": [1, 2, 8, 72]},
    "all_reduce.nvls_all_reduce": {
        "payload": [8e9, 0, 1e3],
        "ranks": [8, 5, 72],
        "bandwidth": [4e11, 1e11, 9e11],
        "latency": [1e-5, 2e-5, 0],
    },
    "all_reduce.sharp_all_reduce": {
        "payload": [8e9, 0, 1e3],
        "inside": [8, 8, 1],
        "bandwidth": [4e11, 1e11, 9e11],
        "outer_bandwidth": [5e10, 1e10, 1e11],
        "latency": [1e-6, 2e-6, 0],
        "outer_latency": [3e-5, 1e-5, 0],
    },
    # exchanges
    "exchange.pairwise_all_to_all": {
        "payload": [8e9, 0, 1e3],
        "ranks": [8, 4, 1],
        "bandwidth": [4e11, 1e11, 1e11],
        "latency": [1e-6, 1e-6, 1e-6],
    },
    "exchange.rail_aligned_all_to_all": {
        "payload": [8e9, 0, 1e3],
        "ranks": [16, 8, 1024],
        "domains": [2, 1, 128],
        "bandwidth": [4e11, 1e11, 1e11],
        "outer_bandwidth": [5e10, 1e10, 1e11],
        "latency": [1e-6, 1e-6, 1e-6],
        "outer_latency": [5e-6, 1e-6, 1e-6],
    },
    "exchange.distinct_domains": {"domains": [4.0, 1.0, 64.0], "copies": [2.0, 8.0, 1.0]},
    "exchange.dispatch_factor": {
        "domains": [4.0, 1.0, 64.0],
        "siblings": [4.0, 1.0, 8.0],
        "copies": [2.0, 8.0, 1.0],
    },
    # torus: one member of an axis, a ring, an open axis, every second device
    "torus.axis_bandwidth": {
        "members": [1.0, 16.0, 8.0, 4.0],
        "spacing": [1.0, 1.0, 1.0, 2.0],
        "closed": [0.0, 1.0, 0.0, 1.0],
        "link_bandwidth": [4.5e10, 9e10, 4.5e10, 1e11],
    },
    "torus.axis_hops": {
        "members": [1.0, 16.0, 8.0, 4.0],
        "spacing": [1.0, 1.0, 1.0, 2.0],
        "closed": [0.0, 1.0, 0.0, 1.0],
    },
    "torus.axis_all_to_all": {
        "payload": [1e9, 1e9, 0.0, 1e6],
        "members": [1.0, 16.0, 8.0, 4.0],
        "spacing": [1.0, 1.0, 1.0, 2.0],
        "closed": [0.0, 1.0, 0.0, 1.0],
        "link_bandwidth": [4.5e10, 9e10, 4.5e10, 1e11],
    },
    # memory
    "memory.copy_time": {"payload": [0, 1e9, 4096], "bandwidth": [1e9, 5e10, 2e9]},
    "memory.sharded": {"size": [16e9, 0, 7], "ranks": [8, 3, 1]},
    "memory.activation_bytes_gpt_layer": {
        "sequence_length": [2048, 1, 8192],
        "micro_batch": [1, 4, 2],
        "hidden": [12288, 64, 4096],
        "heads": [96, 4, 32],
        "tp": [8, 1, 2],
    },
    # pipeline: one stage, plain, interleaved; few micro-batches
    "pipeline.bubble_fraction": {"stages": [1, 8, 4], "micro_batches": [4, 28, 2], "chunks": [1, 1, 3]},
    "pipeline.bubble_time": {"stages": [1, 8, 4], "forward": [1.0, 0.5, 2.0], "backward": [2.0, 1.5, 0.0]},
    "pipeline.zero_bubble_time": {
        "stages": [1, 8, 4],
        "forward": [1.0, 0.5, 2.0],
        "backward": [2.0, 1.5, 2.0],
        "weight": [1.0, 0.5, 1.5],
    },
    "pipeline.dual_pipe_bubble_time": {
        "stages": [2, 8, 16],
        "overlapped": [3.0, 2.0, 4.0],
        "backward": [2.0, 1.5, 2.0],
        "weight": [1.0, 0.5, 0.5],
    },
    "pipeline.pipeline_time": {
        "slowest": [1.0, 1.5, 0.25],
        "through": [1.0, 4.0, 1.75],
        "micro_batches": [1, 8, 64],
        "chunks": [1, 1, 3],
    },
    "pipeline.queued_parts": {
        "launches": [1000, 4200, 3800, 1500, 4000],
        "queue": [1000, 1000, 1000, 1000, 1e9],
        "stages": [1, 4, 4, 8, 8],
    },
    "pipeline.live_micro_batches": {
        "stage": [0, 3, 0, 2, 0],
        "stages": [1, 4, 4, 4, 8],
        "micro_batches": [7, 16, 16, 16, 2],
        "chunks": [1, 1, 3, 3, 1],
    },
    # roofline: compute-bound, memory-bound, no work
    "roofline.arithmetic_intensity": {"flops": [1e12, 0, 3.0], "memory_bytes": [2e9, 1, 7.0]},
    "roofline.roofline_time": {
        "flops": [1e12, 1e15, 0],
        "memory_bytes": [2e9, 1e6, 1e9],
        "peak": [1e15, 9.9e14, 1e15],
        "bandwidth": [1e12, 3.35e12, 1e12],
    },
    "roofline.smooth_maximum": {
        "a": [3.0, 0.0, 1e-6, 2.0],
        "b": [4.0, 2.0, 3.0, 2.0],
        "exponent": [2.0, 0.6, 40.0, 1.0],
    },
    "roofline.smooth_parts": {
        "a": [3.0, 0.0, 1e-6, 0.0],
        "b": [4.0, 2.0, 3.0, 0.0],
        "exponent": [2.0, 0.6, 7.0, 1.0],
    },
    "roofline.operator_time": {
        "flops": [8e12, 0, 1e6],
        "memory_bytes": [3e9, 1e9, 0],
        "peak": [1e15, 3.12e14, 1e15],
        "bandwidth": [3e12, 2e12, 1e12],
        "compute_efficiency": [0.8, 0.75, 1.0],
        "memory_efficiency": [0.8, 0.74, 1.0],
        "latency": [3e-6, 5e-6, 0],
        "exponent": [2.0, 1.4, 2.4],
    },
    "roofline.flash_attention_flops": {
        "sequences": [1, 4, 2],
        "heads": [1, 32, 8],
        "head_dim": [128, 64, 256],
        "queries": [256, 1000, 1],
        "pairs": [256 * 257 / 2, 1e6, 77],
        "products": [2, 5, 2],
        "softmax_dims": [0, 50, 58.6],
        "tile": [128, 128, 64],
    },
    "roofline.split_walk_time": {
        "length": [1000.0, 65536, 0],
        "step": [2e-9, 1e-9, 3e-8],
        "split": [1000.0, 2500, 600],
    },
    "roofline.cached_share": {
        "size": [1e6, 4e8, 0],
        "capacity": [1e6, 1e8, 5e7],
    },
    # training
    # queueing: idle and busy, one server and many, nothing drafted and everything accepted
    "queueing.closed_loop_batch": {
        "users": [32, 1, 256, 8],
        "away": [0.0, 0.1, 2.0, 1.0],
        "steps": [100, 1, 1000, 10],
        "fixed": [0.01, 0.005, 0.02, 0.01],
        "slope": [1e-4, 0, 1e-4, 0],
    },
    "queueing.open_loop_batch": {
        "rate": [5.0, 0.1, 0],
        "steps": [100, 10, 100],
        "fixed": [0.01, 0.02, 0.01],
        "slope": [1e-3, 0, 1e-3],
    },
    "queueing.gated_wait": {
        "rate": [5.0, 0, 1.0],
        "service": [0.1, 0.1, 0.5],
        "passing": [0.04, 0.02, 1.5],
        "together": [1, 4, 64],
    },
    "queueing.pollaczek_khinchine_wait": {
        "rate": [5.0, 0, 1.0],
        "service": [0.1, 0.1, 0.5],
        "variation": [0, 1, 0.5],
    },
    "queueing.sakasegawa_wait": {
        "rate": [5.0, 0.1, 30.0],
        "service": [0.1, 1.0, 1.0],
        "servers": [1, 4, 64],
        "variation": [0, 1, 0.5],
    },
    "queueing.mean_burst_wait": {"requests": [1, 5, 128], "service": [0.1, 0.0, 0.05]},
    "queueing.speculated_tokens": {"drafted": [0, 3, 5], "acceptance": [0.5, 0.8, 0.0]},
    "inference.model_bandwidth_utilisation": {
        "held": [14e9, 0, 1e6],
        "bandwidth": [2e12, 3.35e12, 1e11],
        "time": [0.014, 0.01, 1e-3],
    },
    "training.model_flops_utilisation": {
        "flops": [4e15, 0],
        "devices": [8, 1],
        "peak": [1e15, 3.12e14],
        "step_time": [1.0, 2.5],
    },
    "training.palm_flops_per_token": {
        "parameters": [1e9, 175e9],
        "layers": [10, 96],
        "heads": [8, 96],
        "head_dim": [128, 128],
        "sequence_length": [1000, 2048],
    },
    "training.optimizer_steps_time": {
        "tokens": [15e12, 0],
        "tokens_per_step": [16e6, 4e6],
        "step_time": [10.0, 1.0],
    },
}
