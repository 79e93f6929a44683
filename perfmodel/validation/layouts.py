"""Degrees and batch of a measured row, fitted to what can be counted.

`pm.estimate` refuses a layout that breaks a rule of `Parallel`. A measured row is evidence that it ran, on a framework
that may share no such rule: it is taken as stated where the counts allow it (heads that tensor ranks don't divide count
by the share), else as the nearest layout that can be counted, and every such change is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import gcd
from typing import Any

from perfmodel.layers import MixtureOfExperts
from perfmodel.model import Model
from perfmodel.parallel import Breach, Parallel, sentences
from perfmodel.parallel.pipeline_rules import chunk_has_layer, pipeline_has_one_stream
from perfmodel.parallel.rules import context_is_one_sequence, tensor_has_something_to_split
from perfmodel.workload import Served, Training

__all__ = ["Degrees", "degrees", "fitted", "served_degrees", "split_as_can_be", "whole_number"]

Row = Mapping[str, Any]
Degrees = dict[str, int]
Job = Training | Served

FOLDED: dict[str, Callable[[Parallel, Model, Any], Iterator[Breach]]] = {
    "tp": tensor_has_something_to_split,
    "cp": context_is_one_sequence,
    "pp": pipeline_has_one_stream,
}
"""Degrees that count as data parallelism where the model has nothing to be split so."""


LARGEST = 10**9
"""More than any row has of anything, and less than many a slip of the keyboard [-]."""
PARTED = ("aws-", "google-tpu", "amd-mi250", "intel-max", "nvidia-k80")
"""Devices of several parts that software sees as a device each: cores of a chip, dies of a module."""


def whole_number(value: Any, default: int | None = None) -> int | None:
    """A count that a row states, which is at least one.

    Parameters
    ----------
    value : as it was read
    default : where nothing is stated, or nothing that is a number [-]

    Examples
    --------
    >>> whole_number("8"), whole_number(0.5), whole_number(None, 1), whole_number("auto", 2), whole_number(0)
    (8, 1, 1, 2, None)
    """
    try:
        number = float(value)
        return max(round(number), 1) if 0 < number <= LARGEST else default
    except (TypeError, ValueError, OverflowError):
        return default


def degrees(row: Row, notes: list[str]) -> Degrees:
    """Degrees of parallelism whose product is the devices.

    Parameters
    ----------
    row : its configuration
    notes : what had to be changed is added to these

    Returns
    -------
    tp, pp, cp, dp, ep and vpp

    Examples
    --------
    >>> degrees({"devices": 16, "parallel": {"tp": 8, "pp": 4, "dp": None}}, notes := [])["pp"], notes
    (2, ['tp · pp · cp · dp = 8 · 4 · 1 · 1 on 16 devices: taken as 8 · 2 · 1 · 1'])
    """
    given, devices = row.get("parallel") or {}, int(row["devices"])
    found = {name: whole_number(given.get(name), 1) or 1 for name in ("tp", "pp", "cp", "ep", "vpp")}
    stated = whole_number(given.get("dp"))
    found["dp"] = stated or max(devices // (found["tp"] * found["pp"] * found["cp"]), 1)
    told, product = _told(found), _product(found)
    if product == devices:
        return found
    parted = product % devices == 0 and str(row.get("hardware")).startswith(PARTED)
    if devices % (product // found["dp"]) == 0 and not parted:
        found["dp"] = devices // (product // found["dp"])
        if stated:
            notes.append(f"tp · pp · cp · dp = {told} on {devices} devices: taken as {_told(found)}")
        return found
    if parted:
        left = product // devices
        for name in ("tp", "dp", "pp", "cp"):  # parts of a device are neighbours
            part = gcd(found[name], left)
            found[name], left = found[name] // part, left // part
    else:
        found["dp"] = devices
        for name in ("tp", "cp", "pp"):
            found[name] = _divisor(found["dp"], found[name])
            found["dp"] //= found[name]
    why = "they count parts of a device, " if parted else ""
    notes.append(f"tp · pp · cp · dp = {told} on {devices} devices: {why}taken as {_told(found)}")
    return found


def served_degrees(row: Row, notes: list[str]) -> Degrees:
    """Degrees of an inference row: where attention is data-parallel among the tensor ranks, dp counts them twice.

    Parameters
    ----------
    row : its configuration
    notes : what had to be changed is added to these

    Returns
    -------
    tp, pp, cp, dp, ep and vpp, tp that of attention

    Examples
    --------
    >>> found = served_degrees({"devices": 8, "parallel": {"tp": 8, "dp": 8, "ep": 8}}, [])
    >>> found["tp"], found["dp"], found["ep"]
    (1, 8, 8)
    """
    given = dict(row.get("parallel") or {})
    tp, pp, dp = (whole_number(given.get(name), 1) or 1 for name in ("tp", "pp", "dp"))
    if dp > 1 and tp % dp == 0 and tp * pp == int(row["devices"]):
        given["tp"] = tp // dp
    return degrees({**row, "parallel": given}, notes)


def _product(found: Degrees) -> int:
    return found["tp"] * found["pp"] * found["cp"] * found["dp"]


def _told(found: Degrees) -> str:
    return " · ".join(str(found[name]) for name in ("tp", "pp", "cp", "dp"))


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number up to a size."""
    return next(each for each in range(min(most, number), 0, -1) if number % each == 0)


def fitted(layout: Parallel, work: Training, model: Model, notes: list[str]) -> tuple[Parallel, Training]:
    """The nearest layout and batch that can be counted.

    Parameters
    ----------
    layout : as the row states it, dp set
    work : likewise
    model : that is split
    notes : what had to be changed is added to these

    Returns
    -------
    the layout and the workload
    """
    layout = _copies(split_as_can_be(layout, work, model, notes), notes)
    return _batched(layout, work, notes)


def split_as_can_be(layout: Parallel, work: Job, model: Model, notes: list[str]) -> Parallel:
    """The nearest layout that the model can be split by.

    Parameters
    ----------
    layout : as the row states it, dp set
    work : likewise
    model : that is split
    notes : what had to be changed is added to these
    """
    for change in (_folded, _staged, _experts):
        layout = change(layout, work, model, notes)
    return layout


def _folded(layout: Parallel, work: Job, model: Model, notes: list[str]) -> Parallel:
    """Axes that the model has nothing for."""
    for axis, rule in FOLDED.items():
        degree = getattr(layout, axis)
        if degree > 1 and any(sentences(rule(layout, model, work))):
            dp = layout.dp or 1
            changes: dict[str, Any] = {axis: 1, "dp": dp * degree}
            if axis == "tp":
                changes["sequence_parallel"] = False
            layout = layout.replace(**changes)
            notes.append(f"{model.name} can't be split by {axis} = {degree}: taken as dp = {dp * degree}")
    if layout.tp == 1 and layout.sequence_parallel and any(sentences(FOLDED["tp"](layout, model, work))):
        layout = layout.replace(sequence_parallel=False)
    return layout


def _staged(layout: Parallel, work: Job, model: Model, notes: list[str]) -> Parallel:
    """Every chunk of a pipeline has a layer."""
    pp, vpp, depth = layout.pp, layout.vpp, max(model.depth, 1)
    if vpp > 1 and pp == 1:
        notes.append(f"vpp = {vpp} with pp = 1 interleaves nothing: taken as vpp = 1")
        return layout.replace(vpp=1)
    if pp == 1 or not any(sentences(chunk_has_layer(layout, model, work))):
        return layout
    fewer = pp if depth >= pp else _divisor(pp, depth)
    chunks = max(min(vpp, depth // fewer), 1)
    notes.append(f"pp · vpp = {pp} · {vpp} is more than the {depth} layers: taken as {fewer} · {chunks}")
    return layout.replace(pp=fewer, vpp=chunks if fewer > 1 else 1, dp=(layout.dp or 1) * (pp // fewer))


def _experts(layout: Parallel, work: Job, model: Model, notes: list[str]) -> Parallel:
    """Experts are shared where there are some, by ranks of one stage."""
    if layout.ep == 1:
        return layout
    routed = any(isinstance(layer, MixtureOfExperts) for layer, _ in model.layers())
    ranks = layout.tp * layout.cp * (layout.dp or 1)
    ep = _divisor(ranks, layout.ep) if routed else 1
    if ep != layout.ep:
        why = (
            f"does not divide the {ranks} ranks of a stage"
            if routed
            else "shares experts, and there are none"
        )
        notes.append(f"ep = {layout.ep} {why}: taken as ep = {ep}")
    return layout.replace(ep=ep)


def _copies(layout: Parallel, notes: list[str]) -> Parallel:
    """Every copy of sharded states has as many shards."""
    if layout.shards is None:
        return layout
    shards = _divisor((layout.dp or 1) * layout.cp, layout.shards)
    if shards != layout.shards:
        notes.append(f"states split among {layout.shards} ranks: taken as {shards}")
    return layout.replace(shards=shards)


def _batched(layout: Parallel, work: Training, notes: list[str]) -> tuple[Parallel, Training]:
    """Whole micro-batches on every rank: a step is as long as that of the rank with most of them."""
    dp, batch = layout.dp or 1, int(work.global_batch)
    if batch % (dp * layout.micro_batch) == 0:
        return layout, work
    share = max(-(-batch // dp), 1)
    micro = min(layout.micro_batch, share)
    passes = -(-share // micro)
    notes.append(
        f"dp · micro_batch = {dp} · {layout.micro_batch} does not divide the global batch {batch}: taken as {passes} "
        f"micro-batches of {micro}"
    )
    return layout.replace(micro_batch=micro), work.replace(global_batch=dp * micro * passes)
