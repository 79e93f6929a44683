"""What a calibration found: constants with their errors, residuals before and after, and the new set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import yaml

from perfmodel.calibration.fitting import Spread
from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError
from perfmodel.hardware import Device
from perfmodel.specs import Spec, bundled_folder
from perfmodel.units import exact, show

__all__ = ["SECONDS", "Block", "Calibration", "Found", "known", "saved"]

S = TypeVar("S", bound=Spec)
"""A kind of set."""

SECONDS = ("latency", "start", "step", "launch", "block", "walk", "barrier", "gap", "sequence", "request")
"""Last words of the names of constants that are times."""
BYTES = ("context", "communication")
"""Names of constants that are sizes."""


class Found(NamedTuple):
    """A fitted constant.

    Parameters
    ----------
    path : its fields in the efficiency set
    start, value : before and after, in its unit
    error : standard error, in its unit; not a number where it ran into a bound
    at_bound : it ran into a bound
    """

    path: str
    start: float
    value: float
    error: float
    at_bound: bool

    @property
    def is_time(self) -> bool:
        """Whether its unit is seconds, not a fraction."""
        return self.path.rpartition(".")[2].rpartition("_")[2] in SECONDS


class Block(NamedTuple):
    """Constants that were fitted together.

    Parameters
    ----------
    name : which part of the set
    rows : measurements [-]
    sources : of the measurements
    constants : what was fitted
    before : errors with the constants it began with
    within : errors with the new ones, on the rows they were fitted to
    held : errors on shapes that the fit did not see; no rows where there were too few
    """

    name: str
    rows: int
    sources: tuple[str, ...]
    constants: tuple[Found, ...]
    before: Spread
    within: Spread
    held: Spread

    @property
    def residual(self) -> str:
        """How well it holds, in words."""
        seen = self.held if self.held.rows else self.within
        where = "" if self.held.rows else ", in sample"
        return f"{self.name} {100 * seen.median:.1f} / {100 * seen.p90:.0f} % ({self.rows} rows{where})"


@dataclass(frozen=True)
class Calibration:
    """An efficiency set made from measurements, and how.

    Parameters
    ----------
    efficiency : the new set
    devices : whose rows were fitted
    blocks : what was fitted
    skipped : rows that had no say, by reason
    """

    efficiency: Efficiency
    devices: tuple[Device, ...]
    blocks: tuple[Block, ...]
    skipped: dict[str, int]

    @classmethod
    def of(
        cls,
        start: Efficiency,
        fitted: Efficiency,
        devices: tuple[Device, ...],
        blocks: tuple[Block, ...],
        reasons: Iterable[str],
    ) -> Self:
        """Name the new set and write down where its constants come from.

        Parameters
        ----------
        start, fitted : before and after
        devices : whose rows were fitted
        blocks : what was fitted
        reasons : why rows had no say, one a row
        """
        paths = [constant.path for block in blocks for constant in block.constants]
        sources = dict.fromkeys(
            source for block in blocks for source in block.sources or ("own measurements",)
        )
        named = fitted.replace(
            id=f"{start.id}-calibrated",
            name=f"{start.name}, calibrated on {', '.join(one.name for one in devices)}",
            architectures=(),
            residual="Median / 90th percentile error on unseen shapes: "
            + ", ".join(block.residual for block in blocks)
            + ".",
            sources=(*(f"fitted to: {source}" for source in sources), *start.sources),
            notes=f"Fitted: {', '.join(paths)}. Everything else, and what follows, is {start.id}. {start.notes}",
            unverified=tuple(each for each in start.unverified if each not in paths),
        )
        return cls(named, devices, blocks, dict(Counter(reasons).most_common()))

    def save(self, path: str | Path) -> Efficiency:
        """Write the set as a YAML file that `Efficiency.load` reads; its id becomes the name of the file.

        Parameters
        ----------
        path : of the file, ending in .yaml

        Returns
        -------
        the set as it was written
        """
        return saved(self.efficiency, "efficiency", path)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as `perfmodel calibrate --json` prints it: SI numbers, null for what is not known."""
        return {
            "devices": [one.id for one in self.devices],
            "efficiency": self.efficiency.model_dump(mode="json"),
            "blocks": [
                {
                    "name": block.name,
                    "rows": block.rows,
                    "sources": list(block.sources),
                    "constants": [known(constant._asdict()) for constant in block.constants],
                    **{name: known(getattr(block, name)._asdict()) for name in ("before", "within", "held")},
                }
                for block in self.blocks
            ],
            "skipped": self.skipped,
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.efficiency.name} ({self.efficiency.id})"
        for block in self.blocks:
            sizes = " -> ".join(
                f"{100 * one.median:.1f} / {100 * one.p90:.0f} %"
                for one in (block.before, block.held)
                if one.rows
            )
            yield f"\n{block.name}: {block.rows} rows, median / 90th percentile error on unseen shapes {sizes}"
            for constant in block.constants:
                yield f"  {constant.path:<32}{_shown(constant, constant.start):>12} -> {_told(constant)}"
        for reason, count in self.skipped.items():
            yield f"\n{count} rows not used: {reason}"


def _shown(constant: Found, value: float) -> str:
    return show(value, "s") if constant.is_time else f"{value:.3g}"


def _told(constant: Found) -> str:
    value = f"{_shown(constant, constant.value):>10}"
    if constant.at_bound:
        return f"{value}  (at its bound)"
    if constant.is_time:
        return f"{value} ± {1e6 * constant.error:.2g} us"
    return f"{value} ± {constant.error:.2g}"


def known(fields: dict[str, Any]) -> dict[str, Any]:
    """None for what is not a number: JSON has no other word for it.

    Parameters
    ----------
    fields : numbers among them
    """
    return {
        key: None if isinstance(value, float) and not abs(value) < float("inf") else value
        for key, value in fields.items()
    }


def saved(fitted: S, kind: str, path: str | Path) -> S:
    """Write a set of fits as a YAML file that its class loads; its id becomes the name of the file.

    Parameters
    ----------
    fitted : the set
    kind : efficiency, software or engine: which schema it has, named in the file's first line
    path : of the file, ending in .yaml

    Returns
    -------
    the set as it was written

    Raises
    ------
    InputError
        if the file has another ending or can't be written
    """
    file = Path(path)
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(f"{file}: a set of {kind} is a .yaml file")
    named = fitted.replace(id=file.stem)
    head = f"# yaml-language-server: $schema={bundled_folder('hardware_specs/schema')}/{kind}.json\n"
    text: str = yaml.safe_dump(_written(named), sort_keys=False, allow_unicode=True, width=120)
    try:
        file.write_text(head + text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't write {file}: {error.strerror}") from None
    return named


def _written(value: Any, name: str = "") -> Any:
    """Specs as mappings, times with their unit, tuples as lists."""
    if isinstance(value, Spec):
        fields = [each for each in type(value).model_fields if getattr(value, each) is not None]
        return {each: _written(getattr(value, each), each) for each in fields}
    if isinstance(value, dict):
        return {key: _written(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_written(each) for each in value]
    if isinstance(value, float) and name.rpartition("_")[2] in SECONDS:
        return exact(value, "s")
    return exact(value, "B") if isinstance(value, float) and name in BYTES else value
