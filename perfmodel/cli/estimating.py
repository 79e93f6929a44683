"""`perfmodel estimate`: a training step, a batch of inference, or requests served together."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, print_json
from perfmodel.cli.jobs import BatchJob, LoadJob, Samples, ServedJob, TrainingJob
from perfmodel.cli.layouts import Spread, TrainingSpread, layout
from perfmodel.cli.machines import Fits, Machine
from perfmodel.cli.options import grouped, refuse
from perfmodel.errors import InputError
from perfmodel.specs import Spec

__all__ = ["estimate"]

S = TypeVar("S", bound=Spec)


@app.command()
@grouped
def estimate(  # noqa: PLR0917  # one parameter a group of options
    model: Annotated[str, typer.Argument(help="Name of a model, or path of its config.json.")],
    machine: Machine,
    training: TrainingJob,
    batch_job: BatchJob,
    load_job: LoadJob,
    served: ServedJob,
    samples: Samples,
    spread: Spread,
    training_spread: TrainingSpread,
    fits: Fits,
    as_run: Annotated[
        bool, typer.Option("--as-run", help="Set what the software's recipes set, where no option differs.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add each formula, its inputs, its source.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Predict a training step; with --inference a batch, with --serving a load of requests.

    Its time, memory, utilisation and limiting resource.
    """
    found = pm.Model.load(model)
    if batch_job.inference and load_job.serving:
        raise InputError("--inference is a fixed batch, --serving are requests that come and go; give one")
    work: Any
    if batch_job.inference:
        refuse("--inference", training, training_spread, load_job)
        work, spread_out = batch_job.work(served, samples), layout(spread)
    elif load_job.serving:
        refuse("--serving", training, training_spread, batch_job)
        work, spread_out = load_job.work(served, samples), layout(spread)
    else:
        refuse("training, which is meant without --inference or --serving", batch_job, load_job, served)
        work, spread_out = training.work(found, samples), layout(spread, training_spread)
    if as_run:
        work, spread_out = _as_run(work, spread_out, fits.software)
    est: Any = pm.estimate(
        found, work, spread_out, machine.found(), software=fits.software, efficiency=fits.chosen()
    )
    if as_json:
        print_json(est.to_dict())
    else:
        print(est)
        if explain:
            print("\n" + est.explain())
    return FITS if est.fits else DOES_NOT_FIT


def _as_run(work: Any, spread: pm.Parallel, software: str | None) -> tuple[Any, pm.Parallel]:
    """Job and layout with what the recipes of a training stack set."""
    if software is None:
        raise InputError("--as-run follows the recipes of a stack; name it: --software nemo")
    if not isinstance(work, pm.Training):
        raise InputError("--as-run follows recipes of training; an engine's own are in force without it")
    return pm.as_run(_stated(work), _stated(spread), software)


def _stated(spec: S) -> S:
    """The same with only those fields set that differ from their defaults."""
    fields = type(spec).model_fields
    return type(spec)(**{name: value for name, value in spec if value != fields[name].default})
