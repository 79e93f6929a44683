"""`perfmodel pareto`: throughput against latency over batches and tensor-parallel degrees."""

from __future__ import annotations

from typing import Annotated

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, listed, print_json
from perfmodel.cli.jobs import Samples, ServedJob
from perfmodel.cli.machines import Fits, Machine
from perfmodel.cli.options import grouped
from perfmodel.errors import InputError
from perfmodel.exploration.batches import BATCHES

__all__ = ["pareto"]


@app.command()
@grouped
def pareto(  # noqa: PLR0917  # one parameter a group of options
    model: Annotated[str, typer.Argument(help="Name of a model, or path of its config.json.")],
    machine: Machine,
    served: ServedJob,
    samples: Samples,
    fits: Fits,
    batch: Annotated[str, typer.Option(help="Batches on all devices together, with commas.")] = ",".join(
        map(str, BATCHES)
    ),
    tp: Annotated[
        str | None, typer.Option(help="Degrees, with commas; powers of two up to the devices if left out.")
    ] = None,
    pp: Annotated[int, typer.Option(help="Pipeline-parallel degree.")] = 1,
    ep: Annotated[int, typer.Option(help="Expert-parallel degree.")] = 1,
    as_json: Json = False,
) -> int:
    """Time of a token against throughput, over batch and tp; a star marks what no other choice beats."""
    work = pm.Inference(**served.values(), **samples.values())
    found = pm.pareto_batch(
        pm.Model.load(model), work, machine.found(), pm.Parallel(pp=pp, ep=ep), batch=_numbers("--batch", batch),
        tp=None if tp is None else _numbers("--tp", tp), software=fits.software, efficiency=fits.chosen(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    return FITS if len(found.front) else DOES_NOT_FIT


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(one) for one in listed(text)]
    except ValueError:
        raise InputError(f'{option} "{text}" is no list of whole numbers such as 1,2,4') from None
