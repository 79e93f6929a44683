"""Constants of inference engines, fitted jointly to measured batches, and what is left on batches held out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from perfmodel.calibration.batches import (
    Batch,
    Quantity,
    as_strangers,
    counted_batches,
    even_pull,
    group_sizes,
    quantities,
    thinned,
)
from perfmodel.calibration.constants import rounded
from perfmodel.calibration.engine_constants import ENGINE_CONSTANTS, engine_centre, to_engine
from perfmodel.calibration.hierarchy import Joint, Levels, Response, fit_jointly, refit
from perfmodel.calibration.software import quantiles
from perfmodel.efficiency import Engine, EngineFit, Residuals
from perfmodel.errors import unknown
from perfmodel.hardware import Device
from perfmodel.validation.groups import groups_of
from perfmodel.validation.scores import Report, Score

__all__ = [
    "ENGINES_LEFT_OUT", "EngineLeftOut", "Engines", "HeldOut", "bands", "cross_validate_batches", "fit_engines",
    "held_out_values", "renewed", "response",
]  # fmt: skip

Array = npt.NDArray[np.float64]

EngineLeftOut = Literal["group", "device", "generation", "source", "constants", "software"]
"""What is left out together: batches that share source, model, hardware, software and format of the weights; a device;
a device generation; a source; an engine of which the recipe alone is known; an engine that nobody has heard of."""
ENGINES_LEFT_OUT: dict[str, Callable[[Batch], Any]] = {
    "group": lambda batch: batch.group,
    "device": lambda batch: batch.device,
    "generation": lambda batch: batch.architecture,
    "source": lambda batch: str(batch.row["source"]),
    "constants": lambda batch: batch.engine.id,
    "software": lambda batch: batch.engine.id,
}
MOST_LOADS = 6
"""Loads of servers of one group that are fitted [-]."""
UNMEASURED = 2.0
"""Architectures whose operators were not measured may differ so many times further [-]."""
LEVELS = {
    "typical": ("typical", 1.0),
    "runtime": ("software", 1.0),
    "engine": ("software", 0.5),
    "port": ("software", 1.0),
    "architecture": ("architecture", 0.5),
    "pair": ("pair", 0.5),
}
"""Width of each level's prior, and how much of it: engines of one runtime differ half as much as software at large, and
half as much by architecture as training stacks; their ports to devices of other vendors than most are measured on by
all of it. The halves were found by leaving devices and sources out."""
USUAL_VENDOR = "nvidia"
"""Whose devices engines are measured on; on those of others other kernels run under the same name."""
FEW = 12
"""An engine with fewer measured times has no errors of its own worth a band: it takes those of all [-]."""


class Engines(NamedTuple):
    """A joint fit of all engines.

    Parameters
    ----------
    batches : that were fitted
    asked : their measured times
    joint : the fit
    """

    batches: list[Batch]
    asked: list[Quantity]
    joint: Joint

    def constants(self, engine: Engine, device: Device | None = None) -> EngineFit:
        """Constants of an engine on a device's architecture; what was not measured of it is as with its kin.

        Parameters
        ----------
        engine : its set
        device : of the architecture; None is any
        """
        return to_engine(self.joint.levels.of(self.joint.shares, _membership(engine, device)))


def _membership(engine: Engine, device: Device | None) -> tuple[Hashable, ...]:
    """What an engine's constants on a device's architecture add up from."""
    shared = ("typical", ("runtime", engine.recipe.runtime), ("engine", engine.id))
    if device is None:
        return shared
    architecture, vendor = device.architecture.lower(), device.vendor.lower()
    there = (("architecture", architecture), ("pair", engine.id, architecture))
    return (*shared, *there) if vendor == USUAL_VENDOR else (*shared, ("port", engine.id, vendor), *there)


def fit_engines(batches: list[Batch], *, iterations: int = 14) -> Engines:
    """Fit the constants of all engines to all batches at once.

    Parameters
    ----------
    batches : counted
    iterations : most times that the derivatives are taken anew [-]

    Returns
    -------
    the fit
    """
    sizes = group_sizes(batches, quantities(batches))
    batches = thinned(batches, MOST_LOADS)
    asked = quantities(batches)
    fits = {batch.architecture: batch.fits for batch in batches}

    def width(key: Hashable) -> Array:
        level = str(key[0] if isinstance(key, tuple) else key)
        named, share = LEVELS[level]
        widths = share * np.array([getattr(one.widths, named) for one in ENGINE_CONSTANTS])
        measured = level != "architecture" or bool(fits[key[1]].architectures)  # type: ignore[index]
        return widths if measured else UNMEASURED * widths

    members = [_membership(batches[one.batch].engine, batches[one.batch].job.cluster.device) for one in asked]
    levels = Levels(members, engine_centre(), width)
    measured = np.array([one.measured for one in asked])
    pull = even_pull(batches, asked, sizes)
    joint = fit_jointly(response(batches, asked), measured, levels, pull, iterations=iterations)
    return Engines(batches, asked, joint)


def response(
    batches: list[Batch],
    asked: list[Quantity],
    constants: Callable[[Batch, Array], EngineFit] = lambda batch, values: to_engine(values),
) -> Response:
    """Log of each time; those of one batch are predicted together.

    Parameters
    ----------
    batches : counted
    asked : their measured values
    constants : of a batch, from the numbers that a fit moves
    """
    known: dict[int, tuple[bytes, dict[str, Any]]] = {}

    def respond(row: int, values: Array) -> Any:
        one = asked[row]
        key = values.tobytes()
        if known.get(one.batch, (b"",))[0] != key:
            batch = batches[one.batch]
            known[one.batch] = (key, batch.predicted(constants(batch, values)))
        times = known[one.batch][1][one.metric]
        return np.log(np.broadcast_to(times, (len(values),)) if values.ndim > 1 else times)

    return respond


class HeldOut(NamedTuple):
    """Predictions of measured values by fits that did not see them.

    Parameters
    ----------
    batches : measured
    asked : their values
    predicted : one a value [s or 1/s]
    """

    batches: list[Batch]
    asked: list[Quantity]
    predicted: Array

    @property
    def log_errors(self) -> Array:
        """ln(predicted / measured) as of a time: a rate's has the other sign [-]."""
        sign = np.array([-1.0 if one.metric.endswith("per_second") else 1.0 for one in self.asked])
        return np.asarray(sign * np.log(self.predicted / np.array([one.measured for one in self.asked])))

    @property
    def engines(self) -> Any:
        """Id of each value's engine."""
        return np.array([self.batches[one.batch].engine.id for one in self.asked])

    @property
    def report(self) -> Report:
        """Scores of the predictions."""
        scores = []
        for one, value in zip(self.asked, self.predicted.tolist(), strict=True):
            row = self.batches[one.batch].row
            scores.append(Score(str(row["id"]), one.metric, one.measured, value, groups_of(row)))
        return Report(scores)


def held_out_values(engines: Engines, batches: list[Batch], by: str) -> HeldOut:
    """Predictions with what `by` names left out; an engine that is left out whole is run by the default recipe.

    Parameters
    ----------
    engines : the fit
    batches : what is predicted
    by : what is left out together
    """
    joint, key = engines.joint, ENGINES_LEFT_OUT[by]
    fitted = [engines.batches[one.batch] for one in engines.asked]
    asked, strangers = quantities(batches), as_strangers(batches) if by == "software" else batches
    predicted: dict[int, dict[str, Any]] = {}
    for name in dict.fromkeys(key(batch) for batch in batches):
        outside = np.array([key(batch) != name for batch in fitted])
        shares = refit(joint, outside)
        for place, batch in enumerate(batches):
            if key(batch) == name:
                taken = strangers[place]
                member = _membership(taken.engine, taken.job.cluster.device)
                predicted[place] = taken.predicted(to_engine(joint.levels.of(shares, member)))
    values = np.array([float(predicted[one.batch][one.metric]) for one in asked])
    return HeldOut(batches, asked, values)


def cross_validate_batches(rows: Iterable[dict[str, Any]], by: str = "group") -> Report:
    """Score inference rows by constants that were fitted to all others.

    Parameters
    ----------
    rows : measured batches, in the format of `docs/measurements.md`
    by : what is left out together

    Returns
    -------
    the report, times and rates only; rows without a prediction are left to `validate`

    Raises
    ------
    UnknownNameError
        nothing of that name can be left out
    """
    if by not in ENGINES_LEFT_OUT:
        raise unknown("what is left out", by, get_args(EngineLeftOut))
    batches = counted_batches(rows)
    return held_out_values(fit_engines(batches), batches, by).report


def bands(kin: HeldOut, strangers: HeldOut, names: Iterable[str]) -> dict[str, Residuals]:
    """Errors that the band of each engine is made of: half its own, half those of all; see `crossed.spreads`.

    Parameters
    ----------
    kin : each value's group left out
    strangers : each engine left out whole
    names : ids of all sets
    """
    errors, own = kin.log_errors, kin.engines
    pull = even_pull(kin.batches, kin.asked, group_sizes(kin.batches, kin.asked))
    found = {}
    for name in names:
        mine = own == name
        counts = pull if mine.sum() < FEW else pull * (mine / pull[mine].sum() + 1 / pull.sum())
        found[name] = quantiles(errors, counts, rows=int(mine.sum()))
    return {**found, "default": quantiles(strangers.log_errors, pull)}


def renewed(engines: Engines, engine: Engine, band: Residuals, errors: Array) -> Engine:
    """An engine's set with the constants that were fitted.

    Parameters
    ----------
    engines : the fit
    engine : its set as it was
    band : quantiles that its band is made of
    errors : ln(predicted / measured) of its own times, held out; of the default set, of all [-]
    """
    default = engine.id == "default"
    own = {
        batch.architecture: batch.job.cluster.device
        for batch in (engines.batches[one.batch] for one in engines.asked)
        if default or batch.engine.id == engine.id
    }
    unseen = "each of an engine left out whole" if default else "none of a batch's own group seen"
    size, bias = (
        (float(np.median(values)) for values in (np.abs(np.expm1(errors)), np.expm1(errors)))
        if len(errors)
        else (0.0, 0.0)
    )
    return engine.replace(
        constants=rounded(engines.constants(engine)),
        on={name: rounded(engines.constants(engine, own[name])) for name in sorted(own)},
        residuals=band,
        residual=f"median error {size:.1%}, bias {bias:+.1%} of {len(errors)} times, {unseen}"
        if len(errors)
        else "no batch of its own: constants typical of its runtime",
    )
