"""A measured inference row -> the job that perfmodel is asked about. Reads the configuration, never the measurement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from perfmodel.efficiency import Engine
from perfmodel.errors import UnsupportedError
from perfmodel.hardware import Cluster, Device
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.validation.clusters import row_cluster, row_device
from perfmodel.validation.formats import served_formats
from perfmodel.validation.layouts import Degrees, served_degrees, split_as_can_be, whole_number
from perfmodel.validation.models import row_model
from perfmodel.validation.rows import HIDDEN_FROM_PREDICTION
from perfmodel.validation.stated import parts_stated
from perfmodel.workload import Inference, Serving, weight_format

__all__ = ["FIXED", "InferenceJob", "inference_job", "row_engine"]

Row = Mapping[str, Any]

FIXED = ("prefill", "decode", "end_to_end")
"""Phases of a batch that begins and ends together."""
SERVED = ("serving", "offline_throughput")
"""Phases of requests that come and go; a batch that was queued at once is one of those above."""
STATIC = "static batch"
"""How software names its benchmarks of batches that are not scheduled, whatever the engine does otherwise."""
USUAL_OUTPUT = 128
"""Tokens that are generated where a row of decode does not say [-]."""
BENCHMARK_REQUESTS = 10
"""Requests of each user of a benchmark at a fixed concurrency: scripts of vLLM, TensorRT-LLM and InferenceMAX send ten
times the concurrency, all users beginning at once [-]."""
BLOCK_SCALED = ("deepseek_v3", "kimi_k2")
"""Families whose own weights are fp8 in blocks of 128 x 128 (DeepSeek-AI 2024, arXiv:2412.19437, section 3.3)."""
USUAL_IMAGES = 256
"""Images that a device has at once where only the largest throughput was asked for [-]."""


class InferenceJob(NamedTuple):
    """What `estimate` is given for a row."""

    model: Model
    work: Inference | Serving
    layout: Parallel
    cluster: Cluster
    engine: Engine


def inference_job(row: Row, notes: list[str] | None = None) -> InferenceJob:
    """The job of an inference row: as it is stated, else the nearest that can be counted.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`
    notes : what had to be assumed, or taken as something near, is added to these

    Returns
    -------
    model, workload, layout with dp set, cluster and engine

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
    device = row_device(given, told)
    model = row_model(given, told)
    cluster = row_cluster(given, told)
    spread = given["parallel"]
    layout = Parallel(**{name: spread[name] for name in ("tp", "pp", "ep", "dp")})
    work = _work(given, model, device, told)
    layout = split_as_can_be(layout, work, model, told)
    return InferenceJob(model, _shared(work, layout, told), layout, cluster, row_engine(given))


def row_engine(row: Row) -> Engine:
    """The engine that a row ran on; the default one where nobody knows it.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`
    """
    return Engine.of(str(row.get("software") or ""))


def _completed(row: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The row with its words in the format's own terms, and the numbers that follow from others."""
    row["model"], stated = parts_stated(row)
    row["devices"] = whole_number(row.get("devices"), 1)
    row["devices_per_node"] = whole_number(row.get("devices_per_node"))
    row["hardware"] = row_device(row, notes).id
    spread = served_degrees(row, notes)
    row["cores"] = _cores(stated, spread)
    row["parallel"] = spread
    row["sequence_length"] = _longest(row)
    row["model"] = _described(row)
    return row


def _cores(stated: Row, spread: Degrees) -> int:
    """Data-parallel parts of a device, each of which has a batch of its own [-]."""
    ranks = whole_number(stated.get("dp"), 1) or 1
    apart = stated.get("ep") in (None, 1) and ranks > spread["dp"] and ranks % spread["dp"] == 0
    return ranks // spread["dp"] if apart else 1


def _longest(row: Row) -> int | None:
    """Positions that the model must have [-]."""
    prompt, output = (whole_number(row.get(name), 0) or 0 for name in ("input_len", "output_len"))
    return prompt + output or None


def _described(row: Row) -> dict[str, Any]:
    """The model in the words of training rows: experts apart from dense layers, images by their side."""
    given = dict(row["model"])
    if given.get("experts") and not given.get("moe_ffn"):
        given["moe_ffn"], given["ffn"] = given.get("ffn"), given.get("ffn_dense") or given.get("ffn")
    if given.get("dense_layers") and not given.get("first_dense_layers"):
        given["first_dense_layers"] = given["dense_layers"]
    patches = whole_number(row.get("input_len"))
    if patches and not given.get("image_size"):
        patch = re.search(r"/(\d+)\b", given["name"])
        if patch:  # ViT-B/16: one position more than patches
            given["patch_size"] = int(patch[1])
            given["image_size"] = math.isqrt(patches) * int(patch[1])
        elif given.get("stage_depths"):
            given["image_size"] = 4 * math.isqrt(patches)
    return given


def _work(row: Row, model: Model, device: Device, notes: list[str]) -> Inference | Serving:
    """The batch or the load, as its phase is measured."""
    phase = row.get("phase")
    if phase not in (*FIXED, *SERVED):
        raise UnsupportedError(f"rows of phase {phase} are not built yet")
    shared = {
        **_lengths(row, model, phase == "prefill", notes),
        **_formats(row, device, notes),
    }
    if "amp" in str(row.get("weight_dtype") or "").casefold():
        shared["casts_weights"] = True
    batch = whole_number(row.get("batch"))
    if phase in SERVED and batch is None and model.input == "tokens":
        users = whole_number(row.get("concurrency"))
        if phase == "serving" and users is None:
            raise KeyError("concurrency")
        rounds = None if users is None else BENCHMARK_REQUESTS
        return Serving(concurrency=users, requests_per_user=rounds, **shared)
    if batch is None and phase in FIXED:
        raise KeyError("batch")
    if batch is None:
        batch = USUAL_IMAGES * int(row["devices"])
        notes.append(f"the batch is not stated: taken as {USUAL_IMAGES} a device")
    static = STATIC in str(row.get("software") or "").casefold()
    return Inference(batch=batch * int(row["cores"]), continuous=False if static else None, **shared)


def _formats(row: Row, device: Device, notes: list[str]) -> dict[str, Any]:
    """Number formats; where nothing is said of the cache, that of the models which the engine is measured with."""
    formats = served_formats(row, device, notes)
    if formats["weight_dtype"] == "fp8" and str(row["model"].get("family")).startswith(BLOCK_SCALED):
        notes.append(
            "weight_dtype = fp8 of a model that is published with scales of blocks: taken as fp8_block"
        )
        formats["weight_dtype"] = "fp8_block"
    few = weight_format(formats["weight_dtype"]).computes in ("fp8", "fp4")
    if row.get("kv_dtype") is None and few and row_engine(row).recipe.quantised_cache:
        notes.append("kv_dtype is not stated: taken as fp8, as the engine's models come")
        formats["kv_dtype"] = "fp8"
    return formats


def _lengths(row: Row, model: Model, prefill: bool, notes: list[str]) -> dict[str, Any]:
    """Tokens of prompt and answer; a prompt alone ends with the logits of its last position, where there is a head."""
    if model.input != "tokens" or model.fixed_length is not None:
        return {"output_length": 0}
    prompt = row.get("input_len")
    if prompt is None:
        raise KeyError("input_len")
    if prefill or model.head is None:
        return {"input_length": int(prompt), "output_length": int(model.head is not None)}
    output = whole_number(row.get("output_len"))
    if output is None:
        output = USUAL_OUTPUT
        notes.append(f"output_len is not stated: taken as {USUAL_OUTPUT}")
    return {"input_length": int(prompt), "output_length": output}


def _shared(work: Inference | Serving, layout: Parallel, notes: list[str]) -> Inference | Serving:
    """The batch shared evenly by the replicas: a step is as long as that of the replica with most of it."""
    if isinstance(work, Serving):
        return work
    dp = layout.dp or 1
    whole = -(-work.batch // dp) * dp
    if whole != work.batch:
        notes.append(f"dp = {dp} does not divide the batch {work.batch}: taken as {whole}")
    return work.replace(batch=whole)
