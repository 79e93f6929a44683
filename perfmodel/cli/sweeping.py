"""`perfmodel sweep`: many training steps at once, every option a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, listed, print_json
from perfmodel.cli.jobs import USUAL_LENGTH
from perfmodel.errors import InputError
from perfmodel.exploration.fields import Field, field_named
from perfmodel.specs import Spec

__all__ = ["MANY", "axes_of", "sweep"]

MANY = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Every field of workload, layout and machine is an option; they are read here and not by the program."""


@app.command(context_settings=MANY)
def sweep(  # noqa: PLR0917  # one parameter an option
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Name of a model, or path of its config.json; several with commas.")
    ],
    cluster: Annotated[str | None, typer.Option(help="Names of systems, such as dgx-h100,dgx-b200.")] = None,
    device: Annotated[str | None, typer.Option(help="Names of devices, instead of systems.")] = None,
    devices: Annotated[str, typer.Option(help="How many devices.")] = "8",
    global_batch: Annotated[str, typer.Option(help="Sequences, or images, in one optimizer step.")] = "512",
    by: Annotated[str, typer.Option(help="The result that rows are sorted by.")] = "step_time",
    top: Annotated[int, typer.Option(help="Rows that are printed, best first.")] = 10,
    csv: Annotated[Path | None, typer.Option(help="Write all rows here.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write all rows here.")] = None,
    as_json: Json = False,
) -> int:
    """Predict many training steps: each option takes a list, such as --tp 1,2,4,8 --recompute none,full.

    Options are the fields of workload and layout, numbers of the machine (--memory-bandwidth 1x,1.5x) and constants of
    the efficiency (--overlap--slowdown 0,0.1); items of one value are joined by + (--overlap dp,dp+tp).
    """
    models = [pm.Model.load(name) for name in listed(model)]
    axes: dict[str, Any] = {"devices": _values(field_named("devices", pm.Training), devices)}
    axes |= dict(axes_of(context.args))
    axes["global_batch"] = _values(field_named("global_batch", pm.Training), global_batch)
    free = all(one.input == "tokens" and one.fixed_length is None for one in models)
    work = pm.Training(global_batch=1, sequence_length=USUAL_LENGTH if free else None)
    once = {name: values[0] if len(values) == 1 else values for name, values in axes.items()}
    found = pm.sweep(models if len(models) > 1 else models[0], work, _machines(cluster, device), **once)
    if csv is not None:
        found.to_csv(csv)
    if parquet is not None:
        found.to_parquet(parquet)
    best = found.top(top, by)
    if as_json:
        print_json(found.to_dict(0) | {"columns": best.to_dict()["columns"]})
    else:
        print(found if by == "step_time" else f"{found}\nbest by {by}:\n{best}")
    return FITS if len(best) else DOES_NOT_FIT


def _machines(clusters: str | None, devices: str | None) -> Any:
    """A cluster, or several; how many devices each has is an axis of its own."""
    if (clusters is None) == (devices is None):
        raise InputError(
            "give either --cluster (such as dgx-h100) or --device (such as nvidia-h100-sxm-80gb)"
        )
    made = (
        [pm.Cluster.load(name) for name in listed(clusters)]
        if clusters
        else [pm.Cluster.of(name) for name in listed(str(devices))]
    )
    return made if len(made) > 1 else made[0]


def axes_of(arguments: Sequence[str], kind: type[Spec] = pm.Training) -> Iterator[tuple[str, list[Any]]]:
    """Options that the program does not know by name: `--tp 1,2`, `--tp=1,2`, `--sequence-parallel`.

    Parameters
    ----------
    arguments : of the command line
    kind : class of the workload

    Yields
    ------
    fields, each with its values
    """
    left = list(arguments)
    while left:
        option = left.pop(0)
        if not option.startswith("--"):
            raise InputError(f"{option} belongs to no option; lists have commas and no blanks")
        name, given, text = option[2:].partition("=")
        if not given:
            text = left.pop(0) if left and not left[0].startswith("--") else "true"
        field = field_named(name.replace("-", "_"), kind)
        yield field.name, _values(field, text, kind)


def _values(field: Field, text: str, kind: type[Spec] = pm.Training) -> list[Any]:
    """Items of a list as the field takes them."""
    return [_value(field, item, kind) for item in listed(text)]


def _value(field: Field, item: str, kind: type[Spec]) -> Any:
    if field.number:
        return None if item == "none" else _number(item)
    if item in ("true", "false"):
        return item == "true"
    owners: dict[str, type[Spec]] = {"work": kind, "layout": pm.Parallel}
    owner = owners.get(field.owner)
    if owner is None or field.path not in owner.model_fields:
        return item
    annotation = owner.model_fields[field.path].annotation
    if "tuple" in str(annotation):
        return tuple(part for part in item.split("+") if part != "none")
    return _number(item) if int in (annotation, *get_args(annotation)) else item


def _number(item: str) -> Any:
    """A number where it is one; text with a unit or a factor is read by the sweep."""
    for kind in (int, float):
        try:
            return kind(item)
        except ValueError:
            continue
    return item
