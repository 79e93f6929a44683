"""Words of frameworks in a measured row -> those of the format: precision, sharding, recomputation, attention."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perfmodel.errors import InputError, UnsupportedError
from perfmodel.hardware import Device
from perfmodel.workload import PRECISIONS

__all__ = [
    "attention_kernel",
    "parts_stated",
    "plain_precision",
    "plain_recompute",
    "plain_sharding",
    "runs_as",
]

Row = Mapping[str, Any]

FORMATS = (
    (r"mx-?fp8|fp8[-_ ]?mx", "mxfp8"),
    (r"nv-?fp4|fp4|float4", "nvfp4"),
    (r"fp8|float8|e4m3|e5m2|hybrid", "fp8"),
    (r"tf32|tensorfloat", "tf32"),
    (r"bf16|bfloat16|brain", "bf16"),
    (r"fp16|float16|half|\bamp\b|mixed|^16", "fp16"),
    (r"fp32|float32|single|full|^32", "fp32"),
)
"""How number formats are written; the first that fits. Mixed precision without a format is that of 16-bit floats
(NVIDIA's AMP, PyTorch's autocast on CUDA)."""


def parts_stated(row: Row) -> tuple[dict[str, Any], Row]:
    """A row's model, by some name, and the degrees that it states.

    Parameters
    ----------
    row : its configuration

    Raises
    ------
    KeyError
        it lacks hardware or model
    InputError
        model or degrees are no objects

    Examples
    --------
    >>> parts_stated({"hardware": "h100", "model": {"family": "llama"}, "parallel": {"tp": 2}})
    ({'family': 'llama', 'name': 'llama'}, {'tp': 2})
    """
    for key in ("hardware", "model"):
        if not row.get(key):
            raise KeyError(key)
    model, spread = row["model"], row.get("parallel") or {}
    for key, value, held in (("model", model, "dimensions"), ("parallel", spread, "degrees")):
        if not isinstance(value, Mapping):
            raise InputError(f"{key} must be an object with the {held}, not {type(value).__name__}")
    name = str(model.get("name") or model.get("family") or "model")
    return {**model, "name": name}, spread


def plain_precision(row: Row, notes: list[str]) -> str:
    """The recipe of a row by the format's own name.

    Parameters
    ----------
    row : its configuration
    notes : what had to be assumed is added to these

    Returns
    -------
    one of `perfmodel.workload.PRECISIONS`

    Raises
    ------
    InputError
        it states none
    UnsupportedError
        nothing like it is built

    Examples
    --------
    >>> names = ("bf16-mixed", "AMP", "fp8-blockwise", "FP8_MX", "float32")
    >>> [plain_precision({"precision": name}, []) for name in names]
    ['bf16', 'fp16', 'fp8', 'mxfp8', 'fp32']
    """
    stated = row["precision"]
    if isinstance(stated, str) and stated in PRECISIONS:
        return stated
    text = str(stated or row.get("precision_recipe") or "").casefold().strip()
    if not text:
        raise InputError("the row lacks 'precision'")
    found = next((name for pattern, name in FORMATS if re.search(pattern, text)), None)
    if found is None:
        raise UnsupportedError(f"precision {stated} is not built yet")
    if "mxfp4" in text:
        notes.append("mxfp4 has a scale for 32 elements: taken as nvfp4, which has one for 16")
    return found


STANDS_IN = {"tf32": ("fp32", "bf16"), "fp16": ("bf16",), "fp32": ("bf16",)}
"""What frameworks compute in where a device has no units for a format: TensorFloat-32 is a mode of some devices and
plain fp32 on others; XLA multiplies fp32 as bf16 by default (jax.lax.Precision.DEFAULT on TPU); devices with one
16-bit format have it at the rate that the other would have. Below 16 bits, and of bf16, nothing stands in."""


def runs_as(precision: str, device: Device, notes: list[str]) -> str:
    """The recipe that a device can run in place of one that it has no units for.

    Parameters
    ----------
    precision : one of `perfmodel.workload.PRECISIONS`
    device : that ran it
    notes : what had to be assumed is added to these

    Examples
    --------
    >>> runs_as("tf32", Device.load("v100-sxm-16gb"), []), runs_as("fp8", Device.load("a100-sxm-80gb"), [])
    ('fp32', 'fp8')
    """
    known = device.peak.known()
    if PRECISIONS[precision].dtype in known:
        return precision
    found = next((name for name in STANDS_IN.get(precision, ()) if name in known), precision)
    if found != precision:
        notes.append(f"{device.id} has no known peak in {precision}: taken as {found}")
    return found


def plain_sharding(stated: Any, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """What data-parallel ranks split, and what of the states lies in the host's memory.

    Parameters
    ----------
    stated : as the row has it
    notes : what had to be assumed is added to these

    Returns
    -------
    one of none, zero1, zero2, zero3, hsdp; and the fields of `Offload`

    Examples
    --------
    >>> names = ("FSDP2", "ddp", None, "ZeRO-2", "hybrid_shard", "distributed optimizer")
    >>> [plain_sharding(name, [])[0] for name in names]
    ['zero3', 'none', 'none', 'zero2', 'hsdp', 'zero1']
    >>> plain_sharding("zero3-offload", [])
    ('zero3', {'optimizer': 1})
    """
    text = re.sub(r"[^a-z0-9]", "", str(stated or "none").casefold())
    offload = {"optimizer": 1} if "offload" in text else {}
    numbered = re.search(r"(?:zero|stage|os|z)([0-3])", text)
    if numbered:
        return ("none", "zero1", "zero2", "zero3")[int(numbered[1])], offload
    names = (
        (r"hsdp|hybrid|mics", "hsdp"),
        (r"gradop|os\+?g|zerooffload", "zero2"),
        (r"fsdp|fullshard|fully|zeroinfinity", "zero3"),
        (r"distopt|distributedoptim|optimizer", "zero1"),
        (r"none|no$|^no|ddp|dp$|replicat|allreduce|false|horovod", "none"),
    )
    found = next((name for pattern, name in names if re.search(pattern, text)), None)
    if found is None:
        found = "none"
        notes.append(f"sharding {stated!r} is not known: taken as none")
    return found, offload


def plain_recompute(stated: Any, detail: Any, notes: list[str]) -> str:
    """What is computed again: none, selective or full.

    Parameters
    ----------
    stated : as the row has it
    detail : its description of it
    notes : what had to be assumed is added to these

    Examples
    --------
    >>> [plain_recompute(name, None, []) for name in (None, True, "selective", "uniform", "activation checkpointing")]
    ['none', 'full', 'selective', 'full', 'full']
    """
    if stated in ("none", "selective", "full"):
        return str(stated)
    if stated is None and detail:
        return "selective" if "select" in str(detail) else "full"
    if isinstance(stated, bool) or stated is None:
        return "full" if stated else "none"
    text = str(stated).casefold()
    if re.search(r"select|partial|custom|some|op\b", text):
        return "selective"
    if re.search(r"^(no|off|false|0|disabled)", text) or not text:
        return "none"
    if not re.search(r"full|uniform|block|all|true|on|checkpoint|remat", text):
        notes.append(f"recompute {stated!r} is not known: taken as full")
    return "full"


def attention_kernel(stated: Any) -> str:
    """Fused attention, or products and softmax one by one.

    Parameters
    ----------
    stated : as the row has it; fused where nothing is said

    Examples
    --------
    >>> attention_kernel(None), attention_kernel("FA3"), attention_kernel("eager")
    ('flash', 'flash', 'unfused')
    """
    text = str(stated or "flash").casefold()
    return "unfused" if re.search(r"unfused|eager|math|naive|vanilla|baddbmm|standard", text) else "flash"
