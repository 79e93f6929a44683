"""`perfmodel show` and `perfmodel schema`: specifications and their schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import typer

import perfmodel as pm
from perfmodel.cli.app import FITS, Json, app, print_json
from perfmodel.errors import unknown
from perfmodel.hardware import links
from perfmodel.report.description import CONTEXT, described, model_table
from perfmodel.specs import Spec, field_docs, schemas, write_schemas
from perfmodel.units import Dimension
from perfmodel.units import show as shown

__all__ = ["schema", "show"]


LISTS = {
    "model": pm.models,
    "device": pm.devices,
    "system": pm.clusters,
    "efficiency": pm.efficiencies,
    "software": pm.software,
    "engine": pm.engines,
    "link": links,
}
LOADERS: dict[str, Any] = {
    "model": pm.Model.load,
    "device": pm.Device.load,
    "system": pm.Node.load,
    "efficiency": pm.Efficiency.load,
    "software": pm.Software.load,
    "engine": pm.Engine.load,
    "link": pm.Link.load,
}


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A model, device, system, link, efficiency set, software or engine; or a kind, as engines."
        ),
    ] = None,
    context: Annotated[
        int, typer.Option(help="Tokens of the sequence whose keys and values are counted (models).")
    ] = CONTEXT,
    as_json: Json = False,
) -> int:
    """Show one specification; without a name, list all of them with their origin."""
    kinds = [kind for kind in LISTS if name in (None, kind, f"{kind}s")]
    if kinds:
        listed = {kind: LISTS[kind]() for kind in kinds}
        if as_json:
            print_json(listed)
        else:
            for kind, names in listed.items():
                print(f"{kind} ({len(names)})")
                print("\n".join(f"  {one:<40}{origin}" for one, origin in names.items()))
        return FITS
    found = _find(str(name))
    if isinstance(found, pm.Model):
        if as_json:
            print_json(described(found, context=context))
        else:
            print(model_table(found, context=context))
    elif as_json:
        print_json(found.model_dump(mode="json"))
    elif isinstance(found, pm.Device):
        print(found)
    else:
        print(_lines(f"{found.name} ({found.id})", _printed(found)))
    return FITS


def _find(name: str) -> Any:
    faults: list[Exception] = []
    for load in LOADERS.values():
        try:
            return load(name)
        except LookupError as error:  # not of this kind; other faults of a file that was found are told
            faults.append(error)
    every = [one for names in LISTS.values() for one in names()]
    raise unknown("specification", name, every, "perfmodel show lists all")


def _lines(title: str, described: dict[str, Any]) -> str:
    """Fields one a line, nested ones indented; what is unknown or empty is left out."""
    return "\n".join([title, *_indented(described, "  ")])


def _printed(spec: Spec) -> dict[str, Any]:
    """Fields of a specification, quantities with the unit that their description names."""
    found: dict[str, Any] = {}
    docs = field_docs(type(spec))
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        unit = re.search(r"\[(B|B/s|FLOP/s|s|Hz|W)\]", docs.get(name, ""))
        if isinstance(value, Spec):
            value = _printed(value)
        elif isinstance(value, dict):
            value = {key: _printed(one) if isinstance(one, Spec) else one for key, one in value.items()}
        elif unit and value is not None:
            value = shown(value, cast("Dimension", unit[1]))
        found[name] = list(value) if isinstance(value, tuple) else value
    return {name: value for name, value in found.items() if name not in ("id", "name")}


def _indented(described: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in described.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from _indented(value, indent + "  ")
        elif isinstance(value, list):
            yield from (f"{indent}{key}: {one}" for one in value)
        else:
            printed = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            yield f"{indent}{key:<{24 - len(indent)}} {printed}"


@app.command()
def schema(
    folder: Annotated[
        Path | None, typer.Argument(help="Write one file a kind here; without it, print all.")
    ] = None,
) -> int:
    """Write the JSON schemas of all specification files."""
    if folder is None:
        print_json(schemas())
    else:
        for path in write_schemas(folder):
            print(path)
    return FITS
