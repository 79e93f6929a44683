"""Measured batches of inference, counted once, so that a fit can ask each of them thousands of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.costs.inference import InferenceCosts, inference_costs
from perfmodel.costs.serving import ServingCosts
from perfmodel.efficiency import Efficiency, Engine, EngineFit
from perfmodel.errors import InputError
from perfmodel.estimation.inference import phases
from perfmodel.estimation.machine import machine
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


class Batch(NamedTuple):
    """One measured batch, or one measured load of a server.

    Parameters
    ----------
    row : as it was read
    job : what was run
    costs : what was counted of a batch that begins together; None of requests that come and go
    fits : operator fits of the architecture, as the engine uses it
    """

    row: Row
    job: InferenceJob
    costs: InferenceCosts | None
    fits: Efficiency

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
        if self.costs is None:
            return self._served(fits)
        work, layout, recipe = self.job.work, self.job.layout, self.engine.recipe
        rates = machine(self.job.cluster, fits, (self.costs.dtype, self.costs.core_dtype))
        share = self.costs.samples / layout.dp
        hosts = layout.pp if recipe.pipelined else 1
        prefill, decode = phases(self.costs, rates, recipe.graphs, hosts=hosts, sequences=share)
        first: Any = 0.0 if prefill is None else prefill.seconds
        step: Any = 0.0 if decode is None else decode.seconds
        whole, batch = first + self.costs.steps * step, self.costs.samples
        return {
            "prefill_time": first,
            "ttft": first,
            "decode_time": step,
            "tpot": step,
            "latency": whole,
            "output_tokens_per_second": batch * work.output_length / whole,
            "total_tokens_per_second": batch * ((work.input_length or 0) + work.output_length) / whole,
            "samples_per_second": batch / whole,
        }

    def _served(self, fits: Efficiency) -> dict[str, Any]:
        model, work, layout, cluster, _ = self.job
        assert isinstance(work, Serving)
        est = estimate_serving(model, work, layout, cluster, fits)
        names = ("ttft", "tpot", "latency", "output_tokens_per_second", "total_tokens_per_second")
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
            costs = _costs(job)
        except (InputError, KeyError):  # `validate` says why
            continue
        recipe, device = job.engine.recipe, job.cluster.device
        changes = {
            "half_sums": recipe.half_sums,
            "direct": recipe.direct,
            "launched_messages": recipe.launches_messages,
            "software": job.engine.id,
        }
        fits = Efficiency.of(device.architecture, device=device.id).model_copy(update=changes)
        found.append(Batch(row, job, costs, fits))
    return found


def _costs(job: InferenceJob) -> InferenceCosts | None:
    recipe = job.engine.recipe
    if isinstance(job.work, Serving):
        return None
    return inference_costs(
        job.model,
        job.work,
        job.layout,
        pipelined=recipe.pipelined,
        part_tokens=recipe.part_tokens,
        reserved=recipe.keeps_all,
        queued=recipe.queued,
        parts_in_flight=recipe.parts_in_flight,
    )


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
