"""What a calibration on one's own runs found: a set, its constants before and after, errors seen and unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from perfmodel.calibration.constants import Constant, rounded
from perfmodel.calibration.fitting import Spread, spread
from perfmodel.calibration.own import OwnFit, moved
from perfmodel.calibration.result import SECONDS, known, saved
from perfmodel.calibration.software import quantiles
from perfmodel.efficiency import Software
from perfmodel.units import show

__all__ = ["Calibrations", "Errors", "SoftwareCalibration"]

Array = npt.NDArray[np.float64]

FEWEST = 8
"""Rows that make errors of their own worth a band [-]."""
USUAL = 0.8
"""Level of the band that is printed [-]."""


class Errors(NamedTuple):
    """How far predictions are off, as of a time: a rate's error has the other sign.

    Parameters
    ----------
    before : with the constants that the fit began with
    within : with the new ones, on the rows that they were fitted to
    held : on rows that the fit did not see; no rows where there was but one
    """

    before: Spread
    within: Spread
    held: Spread

    @classmethod
    def of(cls, before: Array, within: Array, held: Array) -> Self:
        """From logs of predicted over measured; what is not a number does not count.

        Parameters
        ----------
        before, within, held : one a value [-]
        """
        return cls(*(spread(logs[~np.isnan(logs)]) for logs in (before, within, held)))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: known(one._asdict()) for name, one in self._asdict().items()}


@dataclass(frozen=True)
class SoftwareCalibration:
    """A set of a training stack or an engine made from measured rows, and how.

    Parameters
    ----------
    software : the new set: `Software` from training rows, `Engine` from those of inference
    start : the set it began with
    architectures : of the devices that were measured, in lower case
    runs : measured rows that were fitted [-]
    errors : of all values
    metrics : the same by what was measured
    unseen : what was left out together, in words
    skipped : rows that had no say, by reason [-]
    """

    software: Software
    start: Software
    architectures: tuple[str, ...]
    runs: int
    errors: Errors
    metrics: dict[str, Errors]
    unseen: str
    skipped: dict[str, int]

    @classmethod
    def of(
        cls,
        own: OwnFit,
        start: Software,
        table: tuple[Constant, ...],
        *,
        before: Array,
        metrics: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        unseen: str,
        skipped: dict[str, int],
    ) -> Self:
        """Move the constants of a set, and write down what they come from.

        Parameters
        ----------
        own : the fit
        start : the set that it began with
        table : constants that were moved
        before : log of each value's prediction by that set
        metrics : of each value
        rows : that were fitted
        unseen : what was left out together, in words
        skipped : rows that had no say, by reason [-]
        """
        truth, named = own.joint.truth, np.array(metrics)
        # a rate is longer where a time is shorter
        sign = np.where([name.endswith("per_second") for name in metrics], -1.0, 1.0)
        logs = [sign * (one - truth) for one in (before, own.joint.predicted, own.held)]
        errors = Errors.of(*logs)
        by_metric = {
            name: Errors.of(*(one[named == name] for one in logs)) for name in dict.fromkeys(metrics)
        }
        measured = tuple(sorted(str(key[1]) for key in own.joint.levels.keys if key != "own"))
        held = logs[2][~np.isnan(logs[2])]
        left = errors.held if errors.held.rows else errors.within
        seen = unseen if errors.held.rows else "in sample"
        places = sorted({*start.on, *measured})
        changed = start.replace(
            id=f"{start.id}-calibrated",
            name=f"{start.name}, calibrated",
            aliases=(),
            constants=rounded(moved(start.constants, own.offset(), table)),
            on={name: rounded(moved(start.fit(name), own.offset(name), table)) for name in places},
            residuals=quantiles(held) if len(rows) >= FEWEST and len(held) else start.residuals,
            residual=f"median error {left.median:.1%}, bias {left.bias:+.1%} on {len(rows)} rows, {seen}",
            sources=tuple(dict.fromkeys(f"fitted to: {row['source']}" for row in rows)),
            notes=f"Began with {start.id}. {start.notes}".strip(),
        )
        return cls(changed, start, measured, len(rows), errors, by_metric, unseen, skipped)

    @property
    def before(self) -> Spread:
        """Errors with the constants it began with."""
        return self.errors.before

    @property
    def held(self) -> Spread:
        """Errors on rows that the fit did not see."""
        return self.errors.held

    @property
    def kind(self) -> str:
        """Which schema the set has: software or engine."""
        return self.software.catalogue().kind

    @property
    def sets(self) -> Software:
        """What `calibrate` returns."""
        return self.software

    @property
    def band(self) -> tuple[float, float] | None:
        """Where eight in ten measured times lie, as a part of the predicted one less 1; None where nobody knows [-]."""
        if self.software.residuals is None:
            return None
        high, low = (self.software.residuals.quantile(0.5 + side * USUAL / 2) for side in (-1, 1))
        return float(np.expm1(-low)), float(np.expm1(-high))

    def save(self, path: str | Path) -> Software:
        """Write the set as a YAML file that its class loads; its id becomes the name of the file.

        Parameters
        ----------
        path : of the file, ending in .yaml

        Returns
        -------
        the set as it was written
        """
        return saved(self.software, self.kind, path)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as `perfmodel calibrate --json` prints it: SI numbers, null for what is not known."""
        return {
            "kind": self.kind,
            "software": self.software.model_dump(mode="json"),
            "start": self.start.id,
            "architectures": list(self.architectures),
            "runs": self.runs,
            "unseen": self.unseen,
            **self.errors.to_dict(),
            "metrics": {name: errors.to_dict() for name, errors in self.metrics.items()},
            "band": self.band,
            "skipped": self.skipped,
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self._title
        yield "\nmedian / 90th percentile error, and bias, of the bundled constants, of those that were fitted, and of"
        yield f"fits that did not see the row ({self.unseen})"
        for name, *cells in self._errors():
            yield f"  {name:<26}{cells[0]:>6}" + "".join(f"{cell:>24}" for cell in cells[1:])
        for line in self._told():
            yield f"\n{line}"
        for architecture in self.architectures:
            yield f"\nconstants on {architecture}"
            for name, old, new in self._constants(architecture):
                yield f"  {name:<16}{old:>12} -> {new}"

    def _repr_html_(self) -> str:
        tables = [_table(f"errors; held out: {self.unseen}", self._errors())]
        for architecture in self.architectures:
            rows = [("", "before", "now"), *self._constants(architecture)]
            tables.append(_table(f"constants on {architecture}", rows))
        told = "".join(f"<p>{escape(line)}</p>" for line in self._told())
        return f"<div><p><b>{escape(self._title)}</b></p>{''.join(tables)}{told}</div>"

    @property
    def _title(self) -> str:
        return f"{self.software.name} ({self.software.id}), from {self.runs} rows"

    def _errors(self) -> Iterator[tuple[str, ...]]:
        """A table of errors by what was measured: median, 90th percentile, bias."""
        yield "", "values", "before", "fitted", "held out"
        several = {"all": self.errors} if len(self.metrics) > 1 else {}
        for name, errors in (several | self.metrics).items():
            yield name, str(errors.before.rows), *map(_spread, errors)

    def _constants(self, architecture: str) -> Iterator[tuple[str, str, str]]:
        """Constants before and after."""
        before, now = (each.fit(architecture) for each in (self.start, self.software))
        for name in type(now).model_fields:
            yield name, _shown(name, getattr(before, name)), _shown(name, getattr(now, name))

    def _told(self) -> Iterator[str]:
        """The band, and what had no say."""
        if self.band is not None:
            low, high = self.band
            own = self.software.residuals != self.start.residuals
            whose = "" if own else f", by the errors of {self.start.id}"
            yield f"eight such measurements in ten lie {low:+.0%} to {high:+.0%} from their prediction{whose}"
        for reason, count in self.skipped.items():
            yield f"{count} rows not used: {reason}"


@dataclass(frozen=True)
class Calibrations:
    """Several calibrations from rows of several kinds, each fitted apart.

    Parameters
    ----------
    parts : the calibrations, by kind of rows
    """

    parts: dict[str, SoftwareCalibration]

    @property
    def sets(self) -> tuple[Software, ...]:
        """What `calibrate` returns: one set a kind of rows."""
        return tuple(one.software for one in self.parts.values())

    def save(self, path: str | Path) -> tuple[Software, ...]:
        """Write each set as a YAML file of its own: of mine.yaml, mine-training.yaml and mine-inference.yaml.

        Parameters
        ----------
        path : of the file, ending in .yaml

        Returns
        -------
        the sets as they were written
        """
        file = Path(path)
        return tuple(
            one.save(file.with_name(f"{file.stem}-{kind}{file.suffix}")) for kind, one in self.parts.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Each calibration by its kind of rows."""
        return {kind: one.to_dict() for kind, one in self.parts.items()}

    def __str__(self) -> str:
        return "\n\n".join(f"{kind} rows: {one}" for kind, one in self.parts.items())

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self.parts.values())


def _spread(one: Spread) -> str:
    return f"{one.median:.1%} / {one.p90:.0%} {one.bias:+.1%}" if one.rows else "-"


def _shown(name: str, value: float) -> str:
    return show(value, "s") if name in SECONDS else f"{value:.3g}"


def _table(title: str, rows: Iterable[tuple[str, ...]]) -> str:
    """Rows in HTML, the first of them the names of columns."""
    head, *body = rows
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    caption = f"<caption style='text-align:left'>{escape(title)}</caption>"
    return f"<table>{caption}<thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>"
