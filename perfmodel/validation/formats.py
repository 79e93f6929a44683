"""Number formats of a measured inference row, in the words of `Inference`: weights, activations, cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perfmodel.errors import InputError, UnsupportedError
from perfmodel.hardware import Device
from perfmodel.validation.stated import runs_as
from perfmodel.workload.quantisation import CACHE_BITS, WEIGHTS, weight_format

__all__ = ["served_formats"]

Row = Mapping[str, Any]

SIXTEEN_BITS = ("bf16", "fp16")
CORES = (
    (r"bf16|bfloat16", "bf16"), (r"tf32", "tf32"), (r"fp16|float16|half|\bamp\b", "fp16"), (r"fp32|float32", "fp32"),
)  # fmt: skip
"""How formats that nothing is quantised in are written; the first that fits."""
WEIGHT_ONLY = {"fp8": "fp8_wo", "fp8_row": "fp8_wo", "fp8_block": "fp8_wo", "mxfp8": "fp8_wo", "int8": "int8_wo",
               "nvfp4": "nvfp4_wo", "mxfp4": "mxfp4_wo"}  # fmt: skip
"""The same weights, unpacked on the way: where activations stay in 16 bits, or the device has no units for the
format (Marlin kernels of vLLM and SGLang)."""
SPELLED = (
    (r"amp|fp16|float16|half", "fp16"), (r"bf16|bfloat16", "bf16"), (r"tf32", "tf32"), (r"fp32|float32", "fp32"),
    (r"mxfp4.*(moe|expert)", "mxfp4_moe"), (r"nvfp4.*(moe|expert)", "nvfp4_moe"), (r"mxfp4|mx-?fp4", "mxfp4"),
    (r"(nv)?fp4", "nvfp4"), (r"mx-?fp8", "mxfp8"), (r"fp8.*block|block.*fp8", "fp8_block"),
    (r"fp8.*(row|token|dynamic)", "fp8_row"), (r"fp8.*(wo|weight)", "fp8_wo"), (r"fp8|e4m3", "fp8"),
    (r"int8.*(wo|weight|bnb)|w8a16|bnb.*8", "int8_wo"), (r"int8|w8a8|sq|smooth", "int8"),
    (r"int4|w4a|awq|gptq|nf4|bnb", "int4_wo"),
)  # fmt: skip
"""How formats of weights are written; the first that fits."""
USUAL_DIGIT = {"2": "gguf_q2_k", "3": "gguf_q3_k_m", "4": "gguf_q4_k_m", "5": "gguf_q5_k_m", "6": "gguf_q6_k",
               "8": "gguf_q8_0"}  # fmt: skip
UNGROUPED = 4096
"""Weights that share a scale where a column has one [-]."""


def served_formats(row: Row, device: Device, notes: list[str]) -> dict[str, Any]:
    """The formats of a row, as far as its device can run them.

    Parameters
    ----------
    row : its configuration
    device : that ran it
    notes : what had to be assumed is added to these

    Returns
    -------
    weight_dtype, activation_dtype and kv_dtype of `Inference`

    Raises
    ------
    InputError
        it states no format of the weights
    UnsupportedError
        nothing like it is built

    Examples
    --------
    >>> t4, h100 = Device.load("t4"), Device.load("h100")
    >>> served_formats({"weight_dtype": "int4_awq_g128", "act_dtype": "fp16"}, t4, [])
    {'weight_dtype': 'int4_g128', 'activation_dtype': 'fp16', 'kv_dtype': None}
    >>> served_formats({"weight_dtype": "nvfp4", "act_dtype": "nvfp4", "kv_dtype": "fp8"}, h100, [])
    {'weight_dtype': 'nvfp4_wo', 'activation_dtype': 'bf16', 'kv_dtype': 'fp8'}
    """
    stated = row.get("weight_dtype") or row.get("act_dtype")
    if not stated:
        raise InputError("the row lacks 'weight_dtype'")
    core = _plain(row.get("act_dtype"))
    weights = _weights(str(stated), notes)
    if core and weights in WEIGHT_ONLY:
        weights = WEIGHT_ONLY[weights]
    known = device.peak.known()
    computes = weight_format(weights).computes
    if computes and weights in WEIGHT_ONLY and computes not in known:
        notes.append(f"{device.id} has no known peak in {computes}: weights are taken as unpacked on the way")
        weights = WEIGHT_ONLY[weights]
    full = weight_format(weights).bits >= SIXTEEN
    core = runs_as(core or (weights if full else "bf16"), device, notes)
    if core == "bf16" and core not in known and "fp16" in known:
        core = "fp16"
    return {
        "weight_dtype": core if full else weights,
        "activation_dtype": core,
        "kv_dtype": _cache(row.get("kv_dtype"), core, notes),
    }


SIXTEEN = 16


def _plain(stated: Any) -> str | None:
    """The format of activations that are not quantised; None where they are, or where nothing is said."""
    text = str(stated or "").casefold()
    return next((name for pattern, name in CORES if re.search(pattern, text)), None)


def _weights(stated: str, notes: list[str]) -> str:
    text = stated.casefold().strip()
    if text in WEIGHTS:
        return text
    if "gguf" in text or re.match(r"i?q\d", text):
        return _packed_file(text, notes)
    bits, grouped = re.match(r"(?:int|w|uint)(\d)", text), re.search(r"g(\d+|none)", text)
    trellis = re.match(r"exl\d_?(\d+(?:\.\d+)?)", text)
    if trellis:
        return f"exl2_{trellis[1]}bpw"
    if bits and grouped and bits[1] != "8":
        return f"int{bits[1]}_g{UNGROUPED if grouped[1] == 'none' else grouped[1]}"
    found = next((name for pattern, name in SPELLED if re.search(pattern, text)), None)
    if found is None:
        raise UnsupportedError(f"weight_dtype {stated} is not built yet")
    return found


def _packed_file(text: str, notes: list[str]) -> str:
    """A kind of llama.cpp's files; one that is not listed is as large as its kin of as many bits."""
    name = "gguf_" + text.removeprefix("gguf_")
    if name in WEIGHTS:
        return name
    if re.search(r"f16|f32", name):
        return "fp16"
    digit = re.search(r"q(\d)|mxfp(\d)", name)
    found = USUAL_DIGIT.get((digit[1] or digit[2]) if digit else "")
    if found is None:
        raise UnsupportedError(f"weight_dtype {text} is not built yet")
    notes.append(f"weight_dtype {text} is not known: taken as {found}")
    return found


def _cache(stated: Any, core: str, notes: list[str]) -> str | None:
    text = str(stated or "").casefold()
    found = next((name for name in CACHE_BITS if text.startswith(name)), None)
    if found is None and text not in ("", "auto", "none"):
        notes.append(f"kv_dtype {stated} is not known: taken as {core}")
    return None if found in SIXTEEN_BITS else found
