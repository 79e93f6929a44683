"""A measured row -> the job that perfmodel is asked about. Reads the configuration, never the measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from perfmodel.efficiency import Software
from perfmodel.errors import UnsupportedError
from perfmodel.hardware import Cluster, Device
from perfmodel.layers import BatchNorm
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.validation.models import row_model
from perfmodel.validation.recipes import expert_recipe
from perfmodel.workload import PRECISIONS, Offload, Training

__all__ = ["Job", "memory_metric", "row_software", "training_job"]

Row = Mapping[str, Any]

HIDDEN_FROM_PREDICTION = ("measured", "id", "source", "date", "notes")
"""A prediction may not look at these fields of a row."""

POLICIES = {
    "selective:per-op SAC": "torchtitan_op",
    "minimal_flash": "minimal_flash",
    "custom keep decoder_layer_input": "nothing_saveable",
}
"""Policies of frameworks, by how a row's description of them begins."""


class Job(NamedTuple):
    """What `estimate` is given for a row."""

    model: Model
    work: Training
    layout: Parallel
    cluster: Cluster


def training_job(row: Row) -> Job:
    """The job of a training row.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`

    Returns
    -------
    model, workload, layout and cluster

    Raises
    ------
    UnsupportedError
        the row uses something that is not built yet; the message is the reason
    """
    configuration = {key: value for key, value in row.items() if key not in HIDDEN_FROM_PREDICTION}
    model = row_model(configuration)
    return Job(model, _work(configuration, model), _layout(configuration), _cluster(configuration))


def memory_metric(row: Row) -> str:
    """How the row's tool tells peak memory: allocated or reserved where its description says so, else the device's.

    Examples
    --------
    >>> memory_metric({"memory_metric": "torchtitan max reserved, GiB"}), memory_metric({})
    ('reserved', 'device')
    """
    told = str(row.get("memory_metric") or "")
    return next((metric for metric in ("reserved", "allocated") if metric in told), "device")


def _work(row: Row, model: Model) -> Training:
    if row["precision"] not in PRECISIONS:
        raise UnsupportedError(f"precision {row['precision']} is not built yet")
    recipe = row_software(row).recipe
    return Training(
        global_batch=int(row["global_batch"]),
        **_samples(row, model),
        precision=row["precision"],
        **_recompute(row),
        gradient_dtype=recipe.gradient_dtype,
        gradient_copy=recipe.gradient_copy.get(row["precision"]),
        weight_dtype=recipe.weight_dtype,
        attention=row.get("attention") or "flash",
        dropout=row.get("attention") == "unfused",
    )


def _samples(row: Row, model: Model) -> dict[str, Any]:
    """What the samples are; nets of images are trained by SGD with momentum, or by LARS, which keeps as much."""
    if model.input == "tokens" and model.fixed_length is None:
        return {"sequence_length": int(row["sequence_length"])}
    if not any(isinstance(layer, BatchNorm) for layer, _ in model.layers()):
        return {}
    return {"optimizer": "sgd_momentum", "kernels": row_software(row).recipe.kernels}


def _recompute(row: Row) -> dict[str, Any]:
    """The policy: named modules as Megatron-Core lists them, or what a framework's policy keeps."""
    detail, what = str(row.get("recompute_detail") or ""), row["recompute"]
    if what == "full" and str(row.get("software")).startswith("MaxText"):
        return {"recompute": what, "recompute_policy": "nothing_saveable"}
    for name, policy in POLICIES.items():
        if detail.startswith(name):
            return {"recompute": what, "recompute_policy": policy}
    if detail.startswith("custom: offload "):  # all that is kept lies in the host's memory
        names = tuple(detail.removeprefix("custom: offload ").split("+"))
        kept = tuple(name for name in names if name != "decoder_layer_input")
        given = {"recompute_policy": "nothing_saveable", "recompute_keep": kept}
        return {"recompute": what, **given, "offload": Offload(activations=names)}
    modules = detail.removeprefix("selective").lstrip(":").partition("(")[0].strip()
    if what != "selective" or not modules:
        return {"recompute": what}
    return {"recompute": what, "recompute_modules": tuple(modules.split(","))}


def row_software(row: Row) -> Software:
    """The stack that a row ran on. A benchmark's submissions are told apart by what they train.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`

    Returns
    -------
    its set of constants; the default one where nobody knows the stack
    """
    stated = str(row.get("software") or "")
    images = row["model"].get("image_size") is not None
    return Software.of(f"{stated} images" if images and stated.startswith("MLPerf") else stated)


def _layout(row: Row) -> Parallel:
    given, recipe, experts = row["parallel"], row_software(row).recipe, expert_recipe(row)
    return Parallel(
        tp=given["tp"],
        pp=given["pp"],
        vpp=given.get("vpp", 1),
        cp=given["cp"],
        ep=given.get("ep", 1),
        dp=given["dp"],
        micro_batch=int(row["micro_batch"]),
        sharding=given["sharding"],
        shards=_shards(row) if given["sharding"] == "hsdp" else None,
        sequence_parallel=given["sp"],
        bucket=recipe.bucket,
        overlap=(*recipe.hides, "ep") if experts and experts.overlapped else recipe.hides,
        dispatch=experts.dispatch if experts and experts.dispatch else recipe.dispatch,
        tp_overlap=recipe.tp_overlap,
    )


def _shards(row: Row) -> int:
    """Ranks that split the states: the devices of a slice where there are several, else those of a node."""
    devices = int(row["devices"])
    slices = re.search(r"(\d+) slices", str(row.get("network") or ""))
    return devices // int(slices[1]) if slices else min(int(row["devices_per_node"]), devices)


def _cluster(row: Row) -> Cluster:
    device, per_node = Device.load(row["hardware"]), min(int(row["devices_per_node"]), int(row["devices"]))
    return Cluster.of(
        device,
        int(row["devices"]),
        devices_per_node=per_node,
        scale_out=stated_bandwidth(str(row.get("network") or ""), per_node),
    )


def stated_bandwidth(network: str, devices_per_node: int) -> float | None:
    """Scale-out bandwidth of one device, where the row's free text states it for a node.

    Parameters
    ----------
    network : the row's description of its fabric
    devices_per_node : that share the node's adapters [-]

    Returns
    -------
    one direction, per device, or None where nothing is stated [B/s]

    Examples
    --------
    >>> stated_bandwidth("NVLink3 intra-node; 4x100 Gb/s Omni-Path per node", 8)
    6250000000.0
    >>> stated_bandwidth("BF3 200Gbps for NS and 2xBF3 400Gbps for EW", 4)
    25000000000.0
    >>> stated_bandwidth("NVLink4 single node", 8) is None
    True
    """
    several = re.search(r"(\d+)\s*x\s*(\d+)\s*G(?:b/s)?\b[^;]*per node", network)
    several = several or re.search(r"(\d+)x\w+ (\d+)Gbps for EW", network)  # east-west: between the devices
    if several:
        return int(several[1]) * int(several[2]) * 1e9 / 8 / devices_per_node
    one = re.search(r"(\d+)\s*Gb/s per node", network)
    return int(one[1]) * 1e9 / 8 / devices_per_node if one else None
