"""A user's own batches and loads of inference -> an engine set: constants before and after, errors held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from perfmodel.calibration.batches import Batch, counted_batches, even_pull, group_sizes, quantities
from perfmodel.calibration.engine_constants import ENGINE_CONSTANTS
from perfmodel.calibration.engines import response
from perfmodel.calibration.own import fit_own, moved, one_set, unseen, usable
from perfmodel.calibration.software_result import SoftwareCalibration
from perfmodel.efficiency import Engine, EngineFit
from perfmodel.errors import InputError

__all__ = ["calibrate_engine"]


def calibrate_engine(rows: Iterable[Mapping[str, Any]]) -> SoftwareCalibration:
    """Fit the constants of the engine that some measured batches or loads ran on.

    Parameters
    ----------
    rows : inference rows of one engine, in the format of `docs/measurements.md`

    Returns
    -------
    the calibration; printed, it is a report

    Raises
    ------
    InputError
        no row can be used
    UnsupportedError
        the rows are those of several engines
    """
    batches, skipped = usable(rows, _timed)
    start = Engine.load(one_set((batch.engine.id for batch in batches), Engine.one_is_called))
    fits: dict[str, Any] = {batch.architecture: start.fit(batch.architecture) for batch in batches}
    asked = quantities(batches)

    def constants(batch: Batch, offset: Any) -> EngineFit:
        fit: EngineFit = moved(fits[batch.architecture], offset, ENGINE_CONSTANTS)
        return fit

    answer, kin = response(batches, asked, constants), [batches[one.batch] for one in asked]
    told = "source, model, hardware, software and format of the weights"
    left = unseen([batch.group for batch in kin], [one.batch for one in asked], told)
    own = fit_own(
        answer,
        np.array([one.measured for one in asked]),
        ENGINE_CONSTANTS,
        architectures=[batch.architecture for batch in kin],
        left_out=left.labels,
        weights=even_pull(batches, asked, group_sizes(batches, asked)),
    )
    return SoftwareCalibration.of(
        own,
        start,
        ENGINE_CONSTANTS,
        before=np.array([answer(value, np.zeros(len(ENGINE_CONSTANTS))) for value in range(len(asked))]),
        metrics=[one.metric for one in asked],
        rows=[batch.row for batch in batches],
        unseen=left.told,
        skipped=skipped,
    )


def _timed(rows: Iterable[dict[str, Any]]) -> list[Batch]:
    """Those of which a time or a rate was measured, and that can have run as they are stated."""
    batches = [batch for batch in counted_batches(rows) if quantities([batch])]
    if not all(batch.fits_in for batch in batches):
        raise InputError("the weights do not fit into the devices' memory: it can't have run as it is stated")
    return batches
