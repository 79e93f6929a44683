"""Several estimates side by side: one table with one more index, over devices, layouts, models or software."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.errors import InputError, unknown
from perfmodel.hardware import Device, devices
from perfmodel.hardware.prices import price_of
from perfmodel.sensitivity.comparison import Comparison
from perfmodel.sensitivity.outcomes import single

__all__ = ["compare"]


def compare(estimates: Mapping[str, Any], *, prices: Mapping[str, float] | None = None) -> Comparison:
    """Several estimates side by side.

    Parameters
    ----------
    estimates : by the name they get in the table; they may differ in anything: devices, layouts, models, software
    prices : of an hour of one device, by these names or by the id of the device; without it, the cheapest listed offer
        on demand, where one is bundled [USD/h]

    Returns
    -------
    the comparison

    Raises
    ------
    InputError
        nothing to compare, or a price of nothing

    Examples
    --------
    >>> import perfmodel as pm
    >>> job = pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192), pm.Parallel(tp=2)
    >>> table = compare({name: pm.estimate(*job, pm.Cluster.load(f"dgx-{name}")) for name in ("h100", "b200")})
    >>> round(table.speedup("b200"), 2), round(table.break_even(price=1.625), 2)
    (1.88, 3.06)
    """
    if not estimates:
        raise InputError("compare needs at least one estimate: compare({'H100': est_a, 'B200': est_b})")
    for est in estimates.values():
        single(est)
    return Comparison(dict(estimates), _prices(estimates, prices or {}))


def _prices(estimates: Mapping[str, Any], given: Mapping[str, float]) -> dict[str, float | None]:
    """Price of an hour of one device of each estimate [USD/h]."""
    ids = {est.cluster.device.id for est in estimates.values()}
    for name, price in given.items():
        if name not in estimates and name not in ids:
            raise unknown("price of", name, {*estimates, *ids})
        if not price > 0:
            raise InputError(f"the price of {name} is {price!r} USD an hour; it must be above 0")
    found: dict[str, float | None] = {}
    for name, est in estimates.items():
        device = est.cluster.device
        listed = price_of(device.id) if _bundled(device) else None
        found[name] = given.get(name, given.get(device.id, listed.on_demand if listed else None))
    return found


def _bundled(device: Device) -> bool:
    """It has the peaks and the memory that the offers are for, not those of a what-if."""
    if device.id not in devices():
        return False
    known = Device.load(device.id)
    return known.peak == device.peak and known.memory == device.memory
