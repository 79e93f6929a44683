"""Rows of operator tables -> work on a device, timed as `estimate` times it: equal rows together, sizes as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError, unknown
from perfmodel.estimation.machine import machine
from perfmodel.estimation.timing import Clock
from perfmodel.hardware import Cluster, Device
from perfmodel.layers.attention import visible_pairs
from perfmodel.parallel import Group, Ranks
from perfmodel.work import Attention, Collective, Matmul, Serial, Stream, Work

__all__ = ["Batch", "batches", "operator_times", "times_of"]

Row = dict[str, Any]
Array = npt.NDArray[np.float64]

AXIS = "tp"
"""Any axis will do: a message stands alone."""


class Format(NamedTuple):
    """Number format of a matrix product.

    Parameters
    ----------
    dtype : names the peak
    operand : bytes of an element of both operands, scales included [B]
    result : bytes of an element of the result [B]
    quantise : bytes that a kernel before it moves for each element of the left operand [B]
    scale : kernels that find its largest value first, where the whole tensor has one scale [-]
    """

    dtype: str
    operand: float
    result: float
    quantise: float = 0
    scale: int = 0


FORMATS = {
    "bf16": Format("bf16", 2, 2),
    "fp16": Format("fp16", 2, 2),
    "tf32": Format("tf32", 4, 4),
    "fp32": Format("fp32", 4, 4),
    "fp64": Format("fp64", 8, 8),
    "int8": Format("int8", 1, 2),
    "int8_smoothquant": Format("int8", 1, 2),
    "fp8": Format("fp8", 1, 2, 3, scale=4),
    "fp8_block": Format("fp8", 1, 2, 3),
    "mxfp8": Format("fp8", 1 + 1 / 32, 2, 3 + 1 / 32),
    "nvfp4": Format("fp4", 0.5 + 1 / 16, 2, 2.5 + 1 / 16),
    "mxfp4": Format("fp4", 0.5 + 1 / 32, 2, 2.5 + 1 / 32),
}
"""Products in 8 and 4 bits read a 16-bit activation and write it in their format first; one scale for a whole tensor is
its largest value: cleared, found in every block, found among the blocks, turned into a scale."""

ELEMENT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}

STREAMS = {
    "residual_add": "residual", "silu_mul": "activation", "rope": "rotary", "rms_norm": "norm", "layer_norm": "norm",
    "copy": "copy", "norm": "norm", "activation": "activation", "rotary": "rotary", "residual": "residual",
    "softmax": "softmax", "embedding": "embedding", "optimizer": "optimizer",
}  # fmt: skip
"""Kind of stream by the operator's name."""

COLLECTIVES = {
    **{kind: kind for kind in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")},
    "p2p": "send",
    "all_reduce_custom": "all_reduce",
    # each token is sent once for every expert it visits: copies are messages of their own
    "moe_dispatch_ll": "dispatch",
    "moe_combine_ll": "dispatch",
}
"""Kind of collective by the operator's name."""


class Batch(NamedTuple):
    """Rows that share everything but their sizes.

    Parameters
    ----------
    rows : their places in the table [-]
    op, dtype : operator and number format, as the rows name them
    work : what they do, sizes as arrays
    cluster : on what
    groups : where the ranks of a message lie
    dtypes : number formats whose peaks are needed
    """

    rows: tuple[int, ...]
    op: str
    dtype: str
    work: Work
    cluster: Cluster
    groups: dict[str, Ranks]
    dtypes: tuple[str, ...]


def batches(rows: Sequence[Row], device: str | Device | None = None) -> tuple[list[Batch], dict[int, str]]:
    """Sort operator rows into pieces of work.

    Parameters
    ----------
    rows : as `read_table` gives them
    device : of rows that name no `system`

    Returns
    -------
    the batches, and for each row that is in none the reason
    """
    alike: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(_structure(row), []).append(place)
    found: list[Batch] = []
    skipped: dict[int, str] = {}
    for places in alike.values():
        try:
            found.append(_batch([rows[place] for place in places], tuple(places), device))
        except InputError as error:
            skipped |= dict.fromkeys(places, " ".join(str(error).split()))
    return found, skipped


def times_of(batch: Batch, efficiency: Efficiency) -> Array:
    """Predicted time of each row of a batch, as a kernel in a short burst takes it.

    Parameters
    ----------
    batch : of alike rows
    efficiency : the fits

    Returns
    -------
    times [s]
    """
    rates = machine(batch.cluster, efficiency, batch.dtypes, settled=False)
    seconds = Clock(rates, batch.groups).time(batch.work).seconds
    return np.broadcast_to(np.asarray(seconds, float), (len(batch.rows),))


def operator_times(rows: Sequence[Row], *, efficiency: Efficiency | None = None) -> list[float | str]:
    """Predicted time of each operator row, or why there is none.

    Parameters
    ----------
    rows : as `read_table` gives them
    efficiency : fits for every row; None takes each device's default

    Returns
    -------
    for each row its time [s], or a reason
    """
    found, skipped = batches(rows)
    told: list[float | str] = [skipped.get(place, "") for place in range(len(rows))]
    for batch in found:
        chosen = efficiency or Efficiency.of(
            batch.cluster.device.architecture, device=batch.cluster.device.id
        )
        for place, seconds in zip(batch.rows, times_of(batch, chosen), strict=True):
            told[place] = float(seconds)
    return told


def _structure(row: Row) -> tuple[Any, ...]:
    """What rows of one batch have in common: everything that is no size."""
    named = tuple(row.get(name) for name in ("system", "op", "dtype", "kv_dtype", "causal", "ranks", "nodes"))
    return (*named, row.get("window") is None)


def _batch(rows: list[Row], places: tuple[int, ...], device: str | Device | None) -> Batch:
    first = rows[0]
    op, dtype, name = str(first["op"]), str(first.get("dtype") or "bf16"), first.get("system") or device
    if op not in BUILDERS:
        raise unknown("operator", op, BUILDERS)
    if name is None:
        raise InputError("the row names no system; give the device")
    work, dtypes = BUILDERS[op](rows, op, dtype)
    one = name if isinstance(name, Device) else Device.load(name)
    ranks, nodes = int(first.get("ranks") or 1), int(first.get("nodes") or 1)
    cluster = Cluster.of(one, ranks, devices_per_node=max(1, ranks // nodes))
    for needed in dtypes:
        one.peak_for(needed)
    return Batch(places, op, dtype, work, cluster, {AXIS: Group(ranks, 1)}, dtypes)


def _column(rows: list[Row], name: str) -> Array:
    return np.array([row[name] for row in rows], float)


Built = tuple[Work, tuple[str, ...]]
"""The work, and the number formats of its products."""


def _gemm(rows: list[Row], op: str, dtype: str) -> Built:
    if dtype not in FORMATS:
        raise unknown("number format of a product", dtype, FORMATS)
    given = FORMATS[dtype]
    m, n, k = (_column(rows, name) for name in "mnk")
    product = Matmul(
        op,
        m,
        n,
        k,
        dtype=given.dtype,
        operand_bytes=given.operand,
        result_bytes=given.result,
        quantise_bytes=given.quantise * m * k,
        kernel="blocks" if dtype == "fp8_block" else "product",
    )
    if not given.scale:
        return product, (given.dtype,)
    return Serial(op, (Stream("largest value", 2 * m * k, launches=given.scale), product)), (given.dtype,)


def _attention(rows: list[Row], op: str, dtype: str) -> Built:
    """The kernel, after another that writes the new keys and values into the cache."""
    cached = str(rows[0].get("kv_dtype") or dtype)
    for each in (dtype, cached):
        if each not in ELEMENT_BYTES:
            raise unknown("number format of attention", each, ELEMENT_BYTES)
    decode = op == "attn_decode"
    size, kv_size = ELEMENT_BYTES[dtype], ELEMENT_BYTES[cached]
    sequences, queries, keys = (_column(rows, name) for name in ("batch", "q_len", "kv_len"))
    kv_heads, head_dim = _column(rows, "kv_heads"), _column(rows, "head_dim")
    window = keys if rows[0].get("window") is None else _column(rows, "window")
    causal = str(rows[0].get("causal", "True")).lower() not in {"false", "0"}
    core = Attention(
        op,
        sequences=sequences,
        heads=_column(rows, "heads"),
        kv_heads=kv_heads,
        head_dim=head_dim,
        queries=queries,
        keys=np.minimum(keys, window) if decode else keys,
        pairs=visible_pairs(queries, window, causal=causal, keys=keys),
        dtype=dtype,
        element_bytes=size,
        kv_bytes=kv_size if decode else size,
        decode=decode,
    )
    written = sequences * queries * 2 * kv_heads * head_dim
    return Serial(op, (Stream("cache write", written * (size + kv_size)), core)), (dtype,)


def _collective(rows: list[Row], op: str, dtype: str) -> Built:
    if rows[0].get("ranks") is None:
        raise InputError("the row names no ranks")
    return Collective(op, COLLECTIVES[op], _column(rows, "bytes"), AXIS, direct=op == "all_reduce_custom"), ()


def _stream(rows: list[Row], op: str, dtype: str) -> Built:
    return Stream(op, _column(rows, "bytes"), STREAMS[op]), ()


BUILDERS: dict[str, Callable[[list[Row], str, str], Built]] = {
    "gemm": _gemm,
    "attn_prefill": _attention,
    "attn_decode": _attention,
    **dict.fromkeys(COLLECTIVES, _collective),
    **dict.fromkeys(STREAMS, _stream),
}
