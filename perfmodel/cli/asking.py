"""`perfmodel why`: where the time of a job goes, what each number would buy, the formula, the timeline."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, listed, print_json
from perfmodel.cli.changing import Job, job_of

__all__ = ["why"]


@app.command()
def why(
    job: Job,
    metric: Annotated[
        str | None, typer.Option(help="Of elasticities and formula: step_time, decode_time, memory.total, …")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="Print the formula in these: memory_bandwidth,peak or global_batch.")
    ] = None,
    trace: Annotated[str | None, typer.Option(help="Write the timeline to this file, for Perfetto.")] = None,
    as_json: Json = False,
) -> int:
    """Say where the time of a job goes, what limits it how long, and what one per cent of each number would buy."""
    est = job_of(job)
    found: dict[str, Any] = {"attribution": pm.attribution(est)}
    if metric is None or "." not in metric:
        found["elasticities"] = pm.elasticities(est, metric)
    if symbols is not None:
        found["formula"] = pm.formula(est, metric, symbols=listed(symbols))
    if trace is not None:
        est.to_trace(trace)
    if as_json:
        print_json({name: one.to_dict() for name, one in found.items()})
    else:
        print("\n\n".join(map(repr, found.values())))
    return FITS if est.fits else DOES_NOT_FIT
