"""A measured row -> the job that perfmodel is asked about. Reads the configuration, never the measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from perfmodel.costs.entering import training_pass
from perfmodel.costs.parts import parts
from perfmodel.costs.recompute import check_names
from perfmodel.efficiency import Software
from perfmodel.errors import InputError
from perfmodel.hardware import Cluster
from perfmodel.hardware.tiers import USUAL_NODE
from perfmodel.layers import BatchNorm
from perfmodel.layers.kept import Kernels
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.validation.clusters import row_cluster, row_device
from perfmodel.validation.layouts import Degrees, degrees, fitted, whole_number
from perfmodel.validation.models import row_model
from perfmodel.validation.recipes import expert_recipe
from perfmodel.validation.stated import (
    attention_kernel,
    parts_stated,
    plain_precision,
    plain_recompute,
    plain_sharding,
    runs_as,
)
from perfmodel.workload import Offload, Training

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


def training_job(row: Row, notes: list[str] | None = None) -> Job:
    """The job of a training row: as it is stated, else the nearest that can be counted.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`
    notes : what had to be assumed, or taken as something near, is added to these

    Returns
    -------
    model, workload, layout with dp set, and cluster

    Raises
    ------
    InputError
        the row lacks something that no usual value stands in for
    UnsupportedError
        the row uses something that is not built yet; the message is the reason
    """
    told = [] if notes is None else notes
    configuration = {key: value for key, value in row.items() if key not in HIDDEN_FROM_PREDICTION}
    given = _completed(configuration, told)
    model = row_model(given, told)
    cluster = row_cluster(given, told)
    layout, work = fitted(_layout(given), _work(given, model), model, told)
    return Job(model, _understood(model, work, layout, told), layout, cluster)


def _completed(row: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The row with its words in the format's own terms, and the numbers that follow from others."""
    row["model"], stated = parts_stated(row)
    row["devices"] = whole_number(row.get("devices"))
    if row["devices"] is None:
        raise KeyError("devices")
    row["devices_per_node"] = whole_number(row.get("devices_per_node"))
    device = row_device(row, notes)
    row["hardware"] = device.id
    row["precision"] = runs_as(plain_precision(row, notes), device, notes)
    spread = degrees(row, notes)
    row["parallel"] = {**stated, **spread, "sp": bool(stated.get("sp"))}
    sharding, row["offload"] = plain_sharding(stated.get("sharding"), notes)
    row["parallel"]["sharding"] = sharding
    row["recompute"] = plain_recompute(row.get("recompute"), row.get("recompute_detail"), notes)
    row["attention"] = row.get("attention") and attention_kernel(row["attention"])
    ranks = whole_number(stated.get("dp"), spread["dp"]) or spread["dp"]
    cores = ranks // spread["dp"] if ranks % spread["dp"] == 0 else 1
    return row | _batch(row, spread, cores, notes)


def _batch(row: Row, spread: Degrees, cores: int, notes: list[str]) -> dict[str, int]:
    """Global and micro batch, one from the other where only one is stated.

    Without gradient accumulation all sequences of a rank are one pass; a pipeline has them one by one. Where data ranks
    are parts of a device, so many passes are one of the device.
    """
    whole, micro = whole_number(row.get("global_batch")), whole_number(row.get("micro_batch"))
    if whole is None and micro is None:
        raise KeyError("global_batch")
    if whole is None:
        whole = (micro or 1) * spread["dp"] * cores * spread["pp"]
        notes.append(f"the global batch is not stated: taken as one round of micro-batches, {whole}")
    if micro is None:
        micro = 1 if spread["pp"] > 1 else max(whole // (spread["dp"] * cores), 1)
        notes.append(f"the micro batch is not stated: taken as {micro}")
    return {"global_batch": whole, "micro_batch": micro * cores}


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
    recipe, recompute = row_software(row).recipe, _recompute(row)
    if row["offload"]:
        recompute["offload"] = recompute.get("offload", Offload()).replace(**row["offload"])
    return Training(
        global_batch=int(row["global_batch"]),
        **_samples(row, model),
        precision=row["precision"],
        **recompute,
        gradient_dtype=recipe.gradient_dtype,
        gradient_copy=recipe.gradient_copy.get(row["precision"]),
        weight_dtype=recipe.weight_dtype,
        kernels=_kernels(row),
        scaling="current" if str(row.get("precision_recipe")).endswith("-cs") else recipe.scaling,
        attention=row.get("attention") or "flash",
        dropout=row.get("attention") == "unfused",
    )


def _samples(row: Row, model: Model) -> dict[str, Any]:
    """What the samples are; nets of images are trained by SGD with momentum, or by LARS, which keeps as much."""
    if model.input == "tokens" and model.fixed_length is None:
        length = whole_number(row.get("sequence_length"))
        if length is None:
            raise KeyError("sequence_length")
        return {"sequence_length": length}
    if not any(isinstance(layer, BatchNorm) for layer, _ in model.layers()):
        return {}
    return {"optimizer": "sgd_momentum"}


def _kernels(row: Row) -> Kernels:
    """Those of the stack's recipes; XLA where the name of the stack says so."""
    return "xla" if "(XLA)" in str(row.get("software")) else row_software(row).recipe.kernels


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
    return {"recompute": what, "recompute_modules": tuple(name.strip() for name in modules.split(","))}


def _understood(model: Model, work: Training, layout: Parallel, notes: list[str]) -> Training:
    """The job, without names of modules or results that its model does not have."""

    def known(job: Training) -> bool:
        try:
            check_names(parts(model, training_pass(model, job, layout)), job)
        except InputError:
            return False
        return True

    policy = work.recomputation
    if not (policy.modules or policy.keep or work.offload.activations) or known(work):
        return work
    modules = tuple(name for name in work.recompute_modules if known(work.replace(recompute_modules=(name,))))
    plain = {"recompute_keep": (), "offload": work.offload.replace(activations=())}
    usual = {"recompute_policy": None, "recompute_modules": ("attention core",)}
    choices: tuple[dict[str, Any], ...] = (
        *([{"recompute_modules": modules}] if modules else []),
        plain,
        plain | usual,
        plain | usual | {"recompute": "none"},
    )
    found = next(job for job in (work.replace(**changes) for changes in choices) if known(job))
    notes.append(f"recompute = {work.policy}, of which {model.name} has not all: taken as {found.policy}")
    return found


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
        **{name: given[name] for name in ("tp", "pp", "vpp", "cp", "ep", "dp")},
        micro_batch=row["micro_batch"],
        sharding=given["sharding"],
        shards=_shards(row) if given["sharding"] == "hsdp" else None,
        sequence_parallel=given["sp"],
        bucket=recipe.bucket,
        packing=recipe.packing,
        overlap=(*recipe.hides, "ep") if experts and experts.overlapped else recipe.hides,
        dispatch=experts.dispatch if experts and experts.dispatch else recipe.dispatch,
        tp_overlap=recipe.tp_overlap,
    )


def _shards(row: Row) -> int:
    """Ranks that split the states: the devices of a slice where there are several, else those of a node."""
    devices = int(row["devices"])
    slices = re.search(r"(\d+) slices", str(row.get("network") or ""))
    return devices // int(slices[1]) if slices else min(row["devices_per_node"] or USUAL_NODE, devices)
