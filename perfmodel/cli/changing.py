"""`perfmodel what-if`, `advise` and `compare`: jobs as `perfmodel estimate --json` writes them, changed and ranked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, print_json
from perfmodel.errors import InputError
from perfmodel.specs.reading import parse_yaml

__all__ = ["Job", "advise", "compare", "job_of", "what_if"]

Job = Annotated[
    str, typer.Argument(help="A job, as `perfmodel estimate --json` prints it: a file, or - for stdin.")
]
SAME = 1e-9
"""A job that is estimated again gives the same time, relatively [-]."""
WORKLOADS = {"global_batch": pm.Training, "concurrency": pm.Serving, "batch": pm.Inference}
"""Workloads by a field that they alone have."""


@app.command("what-if")
def what_if(
    job: Job,
    changes: Annotated[list[str], typer.Argument(help="field=value, such as memory_bandwidth=1.5x tp=4.")],
    as_json: Json = False,
) -> int:
    """Predict a job with some inputs changed, and say what moves and why."""
    found = pm.what_if(job_of(job), **dict(_change(change) for change in changes))
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    return FITS if found.after.fits else DOES_NOT_FIT


@app.command()
def advise(
    job: Job,
    most: Annotated[int, typer.Option("-n", help="Suggestions of each scope.")] = 5,
    pairs: Annotated[bool, typer.Option(help="Try the best remedies two by two, too.")] = True,
    as_json: Json = False,
) -> int:
    """Predict every remedy that applies to a job, and rank what they gain."""
    found = pm.advise(job_of(job), most, pairs=pairs)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    return FITS if found.est.fits or len(found) else DOES_NOT_FIT


@app.command()
def compare(
    jobs: Annotated[list[str], typer.Argument(help="Jobs, each a file or name=file.")],
    price: Annotated[
        list[str] | None, typer.Option(help="name=USD an hour of one device, by job or device.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show jobs side by side: time, memory, and what a dollar buys."""
    pairs = [
        (name, path) if path else (Path(name).stem, name)
        for name, _, path in (j.partition("=") for j in jobs)
    ]
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError(
            f"two jobs are called alike: {', '.join(name for name, _ in pairs)}; name them: now=job.json"
        )
    prices = dict(_change(each) for each in price or ())
    found = pm.compare({name: job_of(path) for name, path in pairs}, prices=prices)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    return FITS if all(found[name].fits for name in found) else DOES_NOT_FIT


def _change(text: str) -> tuple[str, Any]:
    """A field and its new value: a number, true or false, null, or text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f'"{text}" is no change; write field=value, such as memory_bandwidth=1.5x')
    return name.strip(), parse_yaml(value, f'the value of "{name}"')


def job_of(path: str) -> Any:
    """The estimate of a job that was printed as JSON.

    Parameters
    ----------
    path : of the file; - is stdin

    Raises
    ------
    InputError
        it is no such job, or does not hold all of its inputs
    """
    told = _read(path)
    try:
        workload, layout, machine = dict(told["workload"]), dict(told["layout"]), told["cluster"]
        name, fits, device = told["model"]["name"], str(told["efficiency"]), machine["device"]
        devices = int(machine["devices"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: this is no job as `perfmodel estimate --json` prints it: {error!r}"
        ) from None
    kind = next((kind for field, kind in WORKLOADS.items() if field in workload), None)
    if kind is None:
        raise InputError(f"{path}: the workload is none of Training, Inference and Serving")
    system = machine["name"] in pm.clusters()
    cluster = pm.Cluster.load(machine["name"], devices) if system else pm.Cluster.of(device, devices)
    base, _, software = fits.partition("+")
    own = pm.Efficiency.of(cluster.device.architecture, device=cluster.device.id).id != base or not software
    efficiency = pm.Efficiency.load(base) if own else None
    est = pm.estimate(
        pm.Model.load(name), kind(**workload), pm.Parallel(**layout), cluster,
        software=software or None, efficiency=efficiency,
    )  # fmt: skip
    _check(path, told, float(est.tree.seconds))
    return est


def _check(path: str, told: dict[str, Any], seconds: float) -> None:
    """What is read has to be what was printed: a job may have had inputs that its JSON does not hold."""
    before = told.get("step_time", told.get("latency"))
    if before is not None and abs(before - seconds) > SAME * seconds:
        raise InputError(
            f"{path}: its time was {before:g} s, and is {seconds:g} s estimated anew: the file does not hold all "
            "inputs (a device, links or fits of one's own), or comes from another version; use Python for it"
        )


def _read(path: str) -> Any:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: this is no JSON: {error}") from None
