"""Measured batches of inference, counted once, so that a fit can ask each of them thousands of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.costs.inference import InferenceCosts
from perfmodel.costs.serving import ServingCosts
from perfmodel.efficiency import Efficiency, Engine, EngineFit
from perfmodel.errors import InputError
from perfmodel.estimation import InferenceEstimate, ServingEstimate
from perfmodel.estimation.inference import CountedBatch, counted_batch, timed_batch
from perfmodel.estimation.serving import estimate_serving
from perfmodel.validation.inference_rows import InferenceJob, inference_job
from perfmodel.validation.measured import measured_metrics
from perfmodel.workload import Serving

__all__ = [
    "Batch",
    "Quantity",
    "as_strangers",
    "counted_batches",
    "even_pull",
    "group_sizes",
    "quantities",
    "thinned",
]

Row = dict[str, Any]

LOAD_METRICS = ("ttft", "tpot", "latency", "output_tokens_per_second", "total_tokens_per_second")
"""What is measured of requests that come and go."""
BATCH_METRICS = (*LOAD_METRICS, "prefill_time", "decode_time", "samples_per_second")
"""What is measured of a batch."""


class Batch(NamedTuple):
    """One measured batch, or one measured load of a server.

    Parameters
    ----------
    row : as it was read
    job : what was run
    counted : what was counted of a batch that begins together; None of requests that come and go
    fits : operator fits of the architecture, as the engine uses it
    """

    row: Row
    job: InferenceJob
    counted: CountedBatch | None
    fits: Efficiency

    @property
    def costs(self) -> InferenceCosts | None:
        """Demands of a batch that begins together; None of requests that come and go."""
        return None if self.counted is None else self.counted.costs

    @property
    def engine(self) -> Engine:
        """Its set."""
        return self.job.engine

    @property
    def device(self) -> str:
        """Id of the device."""
        return self.job.cluster.device.id

    @property
    def architecture(self) -> str:
        """Of the device, in lower case."""
        return self.job.cluster.device.architecture.lower()

    @property
    def group(self) -> tuple[str, ...]:
        """Source, model, hardware, software and format of the weights: batches that share all of these are kin."""
        row = self.row
        named = (row["source"], row["model"]["name"], row["hardware"], row["software"], row["weight_dtype"])
        return tuple(map(str, named))

    @property
    def series(self) -> tuple[str, str]:
        """Source and software: loads that were measured in one go."""
        return str(self.row["source"]), str(self.row["software"])

    @property
    def fits_in(self) -> bool:
        """The weights of the fullest stage lie within the device's memory."""
        if self.costs is not None or not isinstance(self.job.work, Serving):
            return True
        costs = ServingCosts(self.job.model, self.job.work, self.job.layout)
        stages = costs.memory(tokens=1.0, context=1.0, reserved=True)
        return bool(max(stage.weights for stage in stages) <= self.job.cluster.device.memory_capacity)

    def predicted(self, constants: EngineFit) -> dict[str, Any]:
        """Metrics under other constants; where these are arrays, so are the metrics [s or 1/s]."""
        fits = self.fits.applied(constants, self.engine.recipe.attention_kernel)
        if self.counted is not None:
            return _metrics(timed_batch(self.counted, fits), BATCH_METRICS)
        model, work, layout, cluster, _ = self.job
        assert isinstance(work, Serving)
        return _metrics(estimate_serving(model, work, layout, cluster, fits), LOAD_METRICS)


def _metrics(est: InferenceEstimate | ServingEstimate, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(est, name) for name in names}


class Quantity(NamedTuple):
    """One measured value of a batch.

    Parameters
    ----------
    batch : index of its batch [-]
    metric : as `validate` names it
    measured : its value [s or 1/s]
    """

    batch: int
    metric: str
    measured: float


def counted_batches(rows: Iterable[Row]) -> list[Batch]:
    """Batches and loads of the rows that can be predicted.

    Parameters
    ----------
    rows : in the format of `docs/measurements.md`
    """
    found = []
    for row in rows:
        if row.get("kind") != "inference" or not measured_metrics(row):
            continue
        try:
            job = inference_job(row)
            fits = _fits(job)
            counted = _counted(job, fits)
        except (InputError, KeyError):  # `validate` says why
            continue
        found.append(Batch(row, job, counted, fits))
    return found


def _fits(job: InferenceJob) -> Efficiency:
    """Operator fits as the engine's kernels use them, without its constants."""
    recipe, device = job.engine.recipe, job.cluster.device
    changes = {"software": job.engine.id, **recipe.in_force}
    return Efficiency.of(device.architecture, device=device.id).model_copy(update=changes)


def _counted(job: InferenceJob, fits: Efficiency) -> CountedBatch | None:
    model, work, layout, cluster, _ = job
    return None if isinstance(work, Serving) else counted_batch(model, work, layout, cluster, fits)


def quantities(batches: list[Batch]) -> list[Quantity]:
    """Measured values of some batches, memory apart.

    Parameters
    ----------
    batches : counted
    """
    return [
        Quantity(index, metric, value)
        for index, batch in enumerate(batches)
        for metric, value in measured_metrics(batch.row).items()
        if metric != "peak_memory"
    ]


def as_strangers(batches: list[Batch]) -> list[Batch]:
    """The same batches as if nobody knew their engine: by the default recipe.

    Parameters
    ----------
    batches : counted
    """
    return counted_batches({**batch.row, "software": "unheard of"} for batch in batches)


def thinned(batches: list[Batch], most: int) -> list[Batch]:
    """So many loads of servers of each group, spread evenly: each takes long to predict, and kin tell the same.

    A load of a model that the devices have no room for can't have run as it is stated; what else its series (source and
    software) states is not trusted either.

    Parameters
    ----------
    batches : counted
    most : loads that are kept of a group [-]
    """
    doubtful = {batch.series for batch in batches if batch.costs is None and not batch.fits_in}
    kin: dict[tuple[str, ...], list[Batch]] = {}
    for batch in batches:
        if batch.costs is None and batch.series not in doubtful:
            kin.setdefault(batch.group, []).append(batch)
    kept = {
        id(group[len(group) * place // min(most, len(group))])
        for group in kin.values()
        for place in range(min(most, len(group)))
    }
    return [batch for batch in batches if batch.costs is not None or id(batch) in kept]


def even_pull(batches: list[Batch], asked: list[Quantity], sizes: Counter[Any]) -> npt.NDArray[np.float64]:
    """Weights that keep a series of like batches from outvoting all others: a group of n counts as the root of n.

    Parameters
    ----------
    batches : counted
    asked : their measured values
    sizes : values of each group, thinned out or not [-]
    """
    here = group_sizes(batches, asked)
    groups = [batches[one.batch].group for one in asked]
    return np.array([sizes[group] ** 0.5 / here[group] for group in groups])


def group_sizes(batches: list[Batch], asked: list[Quantity]) -> Counter[Any]:
    """Measured values of each group [-].

    Parameters
    ----------
    batches : counted
    asked : their measured values
    """
    return Counter(batches[one.batch].group for one in asked)
