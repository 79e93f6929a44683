"""Operator rows -> constants of an efficiency set, one block of them a kind of operator."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.calibration.fitting import Array, cross_validate, fit, spread
from perfmodel.calibration.paths import Constant, rounded, value_of, with_values
from perfmodel.calibration.result import Block, Calibration, Found
from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError
from perfmodel.hardware import Device
from perfmodel.validation.operators import AXIS, COLLECTIVES, FORMATS, STREAMS, Batch, batches, times_of
from perfmodel.validation.tables import SIZES
from perfmodel.work import Attention, leaves

__all__ = ["fit_operators"]

Row = dict[str, Any]

FRACTION, TIME, RIDGE = 0.7, 1.0, 0.5
"""Widths of the priors, as logarithms: they matter where there are but a few rows [-]."""

KERNEL_RIDGE = (1.0, 8.0)
"""A kernel takes no longer than its compute and its memory traffic one after the other [-]."""

LIBRARIES = ("direct", "dispatch")
"""Messages by kernels of other libraries, whose constants build on those of the collective library."""

LEAST_ROWS = 2
"""A block with fewer rows for each constant is not cross-validated [-]."""


class _Block(NamedTuple):
    """Rows that share constants."""

    name: str
    batches: list[Batch]
    constants: tuple[Constant, ...]


def fit_operators(
    rows: Sequence[Row],
    *,
    device: str | Device | None = None,
    start: Efficiency | None = None,
    hold: Collection[str] = (),
) -> Calibration:
    """Fit the constants that operator rows show; those they say nothing of stay as they were.

    Parameters
    ----------
    rows : as `read_table` gives them
    device : whose rows are fitted, and the device of rows that name none; None takes all rows
    start : the set to begin with; None takes the default of the devices' architecture
    hold : paths of constants that stay as they are, such as `matmul.default.compute`

    Returns
    -------
    the new set with what was found, block by block

    Raises
    ------
    InputError
        no row can be fitted, or the rows are of several architectures
    """
    devices, chosen = _of_device(rows, device)
    found, skipped = batches(chosen, devices[0])
    if not found:
        why = "; ".join(sorted(set(skipped.values()))) or "there are none"
        raise InputError(f"no row of {devices[0].id} can be fitted: {why}")
    first = start or _usual(devices)
    fitted, told = first, []
    for block in _blocks(found, first, hold):
        result = _fitted(block, chosen, fitted)
        told.append(result)
        fitted = with_values(fitted, {constant.path: constant.value for constant in result.constants})
    return Calibration.of(first, fitted, devices, tuple(told), skipped.values())


def _usual(devices: tuple[Device, ...]) -> Efficiency:
    """The default set of a device, or what several of one architecture share."""
    return Efficiency.of(devices[0].architecture, device=devices[0].id if len(devices) == 1 else "")


def _of_device(rows: Sequence[Row], device: str | Device | None) -> tuple[tuple[Device, ...], list[Row]]:
    """The devices, of one architecture, and the rows that are theirs or name none."""
    named = {name: Device.load(name) for name in {str(row["system"]) for row in rows if row.get("system")}}
    if device is not None:
        one = device if isinstance(device, Device) else Device.load(device)
        return (one,), [
            row for row in rows if not row.get("system") or named[str(row["system"])].id == one.id
        ]
    several = {one.id: one for one in sorted(named.values(), key=lambda one: one.id)}
    architectures = sorted({one.architecture for one in several.values()})
    if len(architectures) != 1 or any(not row.get("system") for row in rows):
        of = f"of {', '.join(architectures)}" if architectures else "of no named device"
        raise InputError(f"the rows are {of}; one set is for one architecture: name the device")
    return tuple(several.values()), list(rows)


# --- which constants a row shows --------------------------------------------------------------------------------------


def _blocks(found: Iterable[Batch], start: Efficiency, hold: Collection[str]) -> Iterator[_Block]:
    """Batches by the constants they share, inner network tiers before outer ones."""
    shared: dict[str, list[Batch]] = {}
    for batch in found:
        shared.setdefault(_owner(batch), []).append(batch)
    for owner in sorted(shared, key=lambda name: (name.startswith(LIBRARIES), name.endswith("fabric"))):
        free = (each for each in _constants(owner, shared[owner], start) if each.path not in hold)
        yield _Block(owner, shared[owner], tuple(free))


def _owner(batch: Batch) -> str:
    if batch.op == "gemm":
        dtype = batch.dtype if batch.dtype == "fp8_block" else FORMATS[batch.dtype].dtype
        return f"matmul.{'default' if dtype in ('bf16', 'fp16') else dtype}"
    if batch.op in COLLECTIVES:
        kind = "dispatch" if COLLECTIVES[batch.op] == "dispatch" else "collective"
        if batch.op == "all_reduce_custom":
            kind = "direct"
        return f"{kind}.{batch.cluster.tiers[-1].name}"
    return "stream" if batch.op in STREAMS else f"attention.{batch.op.removeprefix('attn_')}"


def _constants(owner: str, found: list[Batch], start: Efficiency) -> Iterator[Constant]:
    kind, _, part = owner.partition(".")
    if kind == "matmul":
        yield Constant(f"{owner}.compute", 0.02, 1, FRACTION)
        yield Constant(f"{owner}.memory", 0.02, 1.2, FRACTION)
        yield Constant(f"{owner}.latency", 2e-7, 2e-4, TIME)
        yield Constant(f"{owner}.exponent", *KERNEL_RIDGE, RIDGE)
        yield Constant(f"{owner}.inner_step", 1e-11, 1e-7, TIME)
        yield Constant(f"{owner}.inner_split", 64, 1e5, RIDGE)
        if value_of(start, f"{owner}.cached") > 1:  # small caches do not show in it
            yield Constant(f"{owner}.cached", 1, 20, RIDGE)
            yield Constant(f"{owner}.cache_share", 0.05, 4, RIDGE)
    elif kind == "stream":
        yield Constant("stream.latency", 1e-7, 2e-4, TIME)
        for name in sorted({STREAMS[batch.op] for batch in found}):
            yield Constant(f"stream.memory.{name}", 0.01, 1.2, FRACTION)
    elif kind == "collective":
        yield from _of_messages(owner, found)
    elif kind == "direct":
        yield Constant(f"collective.{part}.direct", 0.005, 1.2, FRACTION)
        yield Constant(f"collective.{part}.direct_start", 5e-7, 1e-4, TIME)
        yield Constant(f"collective.{part}.direct_barrier", 1e-7, 1e-4, TIME)
    elif kind == "dispatch":  # another library's kernels
        yield Constant(f"collective.{part}.dispatch", 0.005, 1.2, FRACTION)
        if start.collective_for(part).dispatch_start is not None:
            yield Constant(f"collective.{part}.dispatch_start", 5e-7, 1e-3, TIME)
    elif part == "decode":
        yield Constant("attention.decode_memory", 0.02, 1.2, FRACTION)
        yield Constant("attention.decode_latency", 5e-7, 5e-4, TIME)
        yield Constant("attention.decode_walk", 1e-11, 1e-7, TIME)
        yield Constant("attention.decode_split", 64, 1e5, RIDGE)
        yield Constant("attention.decode_tile", 1, 1024, FRACTION)
        if any(_narrow(batch) for batch in found):
            yield Constant("attention.decode_narrow", 0.1, 4, FRACTION)
    else:
        yield Constant("attention.compute", 0.02, 2, FRACTION)
        yield Constant("attention.memory", 0.02, 2, FRACTION)
        yield Constant("attention.latency", 5e-7, 5e-4, TIME)
        yield Constant("attention.exponent", *KERNEL_RIDGE, RIDGE)
        yield Constant("attention.softmax_dims", 1, 512, FRACTION)
        yield Constant("attention.block", 1e-11, 1e-6, TIME)
        yield Constant("attention.walk", 1e-11, 1e-6, TIME)
        yield Constant("attention.walk_split", 64, 1e5, RIDGE)


def _narrow(batch: Batch) -> bool:
    """Whether a decode reads a cache of fewer bits than it computes in."""
    return any(
        isinstance(leaf, Attention) and leaf.kv_bytes is not None and leaf.kv_bytes < leaf.element_bytes
        for leaf in leaves(batch.work)
    )


def _of_messages(owner: str, found: list[Batch]) -> Iterator[Constant]:
    """Latencies from any kind of message, a fraction of the link from each kind that was measured."""
    kinds = {COLLECTIVES[batch.op] for batch in found}
    yield Constant(f"{owner}.start", 5e-7, 2e-3, TIME)
    ranks = {int(batch.groups[AXIS].ranks) for batch in found}
    if ranks - {2}:
        yield Constant(f"{owner}.step", 1e-8, 1e-3, TIME)
    if kinds - {"send"}:  # a send is a plain sum
        yield Constant(f"{owner}.exponent", 0.3, 4, RIDGE)
    if kinds & {"all_gather", "reduce_scatter"}:
        yield Constant(f"{owner}.all_gather", 0.005, 1.2, FRACTION)
    for kind in sorted(kinds & {"all_reduce", "all_to_all", "send"}):
        yield Constant(f"{owner}.{kind}", 0.005, 1.2, FRACTION)
    if 2 in ranks and ranks - {2} and kinds - {"send"}:
        # links of their own have fewer channels for two; a shared bus has less for more
        of_few = "crowding" if owner.endswith(".node") else "pair"
        yield Constant(f"{owner}.{of_few}", 0.1, 1, FRACTION)
    if any(batch.op == "all_reduce" and batch.cluster.tiers[-1].in_network_reduction for batch in found):
        yield Constant(f"{owner}.in_network", 0.005, 1.3, FRACTION)
        yield Constant(f"{owner}.switch_latency", 5e-7, 2e-3, TIME)


# --- the fit ----------------------------------------------------------------------------------------------------------


def _fitted(block: _Block, rows: list[Row], start: Efficiency) -> Block:
    mine = [rows[place] for batch in block.batches for place in batch.rows]
    measured = np.array([row["time_s"] for row in mine], float)
    paths = [constant.path for constant in block.constants]
    lower = np.array([constant.lower for constant in block.constants])
    upper = np.array([constant.upper for constant in block.constants])
    options: dict[str, Any] = {
        "lower": lower,
        "upper": upper,
        "prior_width": np.array([constant.prior_width for constant in block.constants]),
    }

    def predict(values: Array) -> Array:
        changed = with_values(start, dict(zip(paths, np.clip(values, lower, upper), strict=True)))
        return np.concatenate([times_of(batch, changed) for batch in block.batches])

    first = np.clip([value_of(start, path) for path in paths], lower, upper)
    found = fit(predict, measured, first, **options)
    halves = [_half(row) for row in mine]
    enough = len(mine) >= 2 * LEAST_ROWS * len(paths) and len(set(halves)) > 1
    held = cross_validate(predict, measured, first, groups=halves, **options) if enough else np.array([])
    constants = tuple(
        Found(path, value_of(start, path), rounded(float(value)), float(error), bool(bound))
        for path, value, error, bound in zip(paths, found.values, found.errors, found.at_bound, strict=True)
    )
    before = np.log(predict(np.array([constant.start for constant in constants])) / measured)
    sources = tuple(dict.fromkeys(str(row["source"]) for row in mine if row.get("source")))
    return Block(
        block.name, len(mine), sources, constants, spread(before), spread(found.residuals), spread(held)
    )


def _half(row: Row) -> int:
    """Which half a shape is in; one shape is in the same half on every device and in every number format."""
    shape = "|".join(f"{name}={row[name]}" for name in SIZES if row.get(name) is not None)
    return hashlib.sha256(f"calibration|{shape}".encode()).digest()[0] % 2
