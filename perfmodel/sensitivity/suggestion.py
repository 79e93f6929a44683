"""One piece of advice: the changed job, its estimate, and what it gains and costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perfmodel.hardware import Cluster
from perfmodel.hardware.prices import price_of
from perfmodel.report import RESOURCES
from perfmodel.sensitivity.changes import Changed
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.outcomes import samples_of
from perfmodel.sensitivity.remedies import SCOPES, Changes, Remedy, Scope
from perfmodel.sensitivity.what_if import Difference
from perfmodel.units import show

__all__ = ["Suggestion"]

FULL = 0.97
"""Share of the memory beyond which it is full [-]."""


@dataclass(frozen=True, repr=False)
class Suggestion:
    """One piece of advice: what to change, and the estimate of the changed job."""

    before: Any
    """The estimate that was asked about."""
    remedies: tuple[Remedy, ...]
    """What is done: one remedy, or two."""
    changes: Changes
    """Fields and their new values, as `pm.what_if` takes them."""
    differs: tuple[Changed, ...]
    """The same printed, with what follows from it."""
    inputs: Inputs
    """The changed job."""
    after: Any
    """Its estimate."""

    @property
    def title(self) -> str:
        """What is done, in words."""
        return " and ".join(each.title for each in self.remedies)

    @property
    def costs(self) -> str:
        """What is given for it, in words."""
        return "; ".join(each.costs for each in self.remedies)

    @property
    def scope(self) -> Scope:
        """How far it reaches: way, job, model or machine."""
        scopes = list(SCOPES)
        return max((each.scope for each in self.remedies), key=scopes.index)

    @cached_property
    def difference(self) -> Difference:
        """What moves, and why."""
        return Difference(self.before, self.after, self.differs)

    @property
    def speedup(self) -> float:
        """How much faster: samples a second, or the time of a request that arrives at its own rate [-]."""
        return self.difference.speedup

    @property
    def memory(self) -> float:
        """Memory of one device, after less before [B]."""
        return float(self.after.memory.total - self.before.memory.total)

    @property
    def relieves(self) -> str:
        """The resource that is waited for less, by most; memory where none is."""
        share = samples_of(self.after) / samples_of(self.before)
        after = {name: seconds / share for name, seconds in self.after.resources.items()}
        saved = {name: seconds - after.get(name, 0.0) for name, seconds in self.before.resources.items()}
        most = max(saved, key=lambda name: saved[name])
        return most if saved[most] > 0 else "memory"

    @property
    def price(self) -> float | None:
        """Price of the machine, after over before; None where one of them is not known [-]."""
        before, after = self.before.cluster, self.after.cluster
        ratio = float(after.devices / before.devices)
        if before.device == after.device:
            return ratio if _same_network(before, after) else None
        if before.device.id == after.device.id:  # a device of one's own making
            return None
        old, new = price_of(before.device.id), price_of(after.device.id)
        if old is None or new is None or old.on_demand is None or new.on_demand is None:
            return None
        return float(ratio * new.on_demand / old.on_demand)

    @property
    def value(self) -> float | None:
        """Samples a dollar, after over before; None where a price is not known [-]."""
        return None if self.price is None else self.speedup / self.price

    @property
    def full(self) -> bool:
        """It fits, but leaves no room: an allocator that has to give its cache back all the time is slow."""
        return float(self.after.memory.total) > FULL * float(self.after.memory.capacity)

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Speedup, samples a dollar, memory, what it relieves and the change, printed."""
        value = "?" if self.value is None else f"{self.value:.2f}x"
        sign = "-" if self.memory < 0 else "+"
        memory = f"{sign}{show(abs(self.memory), 'B', 3)}{', full' if self.full else ''}"
        relieves = RESOURCES.get(self.relieves, self.relieves)
        return f"{self.speedup:.2f}x", value, memory, relieves, ", ".join(map(str, self.differs))

    def to_dict(self) -> dict[str, Any]:
        """Everything in SI units, ready for JSON."""
        return {
            "remedies": [each.name for each in self.remedies],
            "title": self.title,
            "scope": self.scope,
            "changes": [change._asdict() for change in self.differs],
            "speedup": self.speedup,
            "samples_per_dollar": self.value,
            "seconds": self.difference.seconds[1],
            "memory": self.memory,
            "relieves": self.relieves,
            "costs": self.costs,
            "why": self.difference.why,
        }

    def __repr__(self) -> str:
        change = ", ".join(map(str, self.differs))
        return f"{change}: {self.speedup:.2f}x\n  {self.difference.why}\n  costs: {self.costs}"


def _same_network(before: Cluster, after: Cluster) -> bool:
    """Links beyond the device are as they were, and so is what they cost."""
    links = ("scale_out", "oversubscription", "fabric_reduction", "rails", "storage", "host_memory")
    return all(getattr(before, link) == getattr(after, link) for link in links)
