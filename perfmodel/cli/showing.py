"""`perfmodel show` and `perfmodel schema`: specifications and their schemas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast, get_args

import typer

import perfmodel as pm
from perfmodel.cli.app import FITS, Json, app, print_json
from perfmodel.errors import InputError, unknown
from perfmodel.hardware import links
from perfmodel.report.description import CONTEXT, described, model_table
from perfmodel.specs import Spec, field_units, kind_named, schemas, write_schemas
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
KINDS = {
    "model": "a model",
    "device": "a device",
    "system": "a system",
    "efficiency": "an efficiency set",
    "software": "a training stack",
    "engine": "an inference engine",
    "link": "a link",
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
    kind: Annotated[
        str | None, typer.Option(help="Which of several things of one name: " + ", ".join(LOADERS) + ".")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show one specification; without a name, list all of them with their origin."""
    if kind is not None and kind not in LOADERS:
        raise unknown("kind", kind, LOADERS)
    kinds = [one for one in LISTS if (kind if name is None else name) in (None, one, f"{one}s")]
    if kinds:
        listed = {one: LISTS[one]() for one in kinds}
        if as_json:
            print_json(listed)
        else:
            for one, names in listed.items():
                print(f"{one} ({len(names)})")
                print("\n".join(f"  {each:<40}{origin}" for each, origin in names.items()))
        return FITS
    first, *others = _named(str(name), kind)
    _print(first.spec, context, as_json)
    for other in others:
        told = f"also a name of {KINDS[other.kind]}: perfmodel show {name} --kind {other.kind}"
        print(told, file=sys.stderr)
    return FITS


def _print(found: Any, context: int, as_json: bool) -> None:
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


class _Named(NamedTuple):
    """A specification, and what kind of thing it is."""

    kind: str
    spec: Any


def _named(name: str, kind: str | None) -> list[_Named]:
    """Everything of a name, or what of it is of one kind; of a file, what its first line names."""
    if kind is None and name.endswith((".yaml", ".yml")):
        kind = kind_named(Path(name).expanduser())
    found: list[_Named] = []
    asked = [kind] if kind in LOADERS else [*LOADERS]
    for one in asked:
        try:
            found.append(_Named(one, LOADERS[one](name)))
        except LookupError:  # not of this kind
            continue
        except InputError:  # a fault of a file that was found is told, if nothing else has the name
            if not found:
                raise
    if not found:
        every = [name for one in asked for name in LISTS[one]()]
        raise unknown("specification" if kind is None else kind, name, every, "perfmodel show lists all")
    return found


def _lines(title: str, described: dict[str, Any]) -> str:
    """Fields one a line, nested ones indented; what is unknown or empty is left out."""
    return "\n".join([title, *_indented(described, "  ")])


def _printed(spec: Spec) -> dict[str, Any]:
    """Fields of a specification, quantities with the unit that their description names."""
    found: dict[str, Any] = {}
    units = field_units(type(spec))
    for name in type(spec).model_fields:
        value, unit = getattr(spec, name), units.get(name)
        if isinstance(value, Spec):
            value = _printed(value)
        elif isinstance(value, dict):
            value = {key: _printed(one) if isinstance(one, Spec) else one for key, one in value.items()}
        elif unit in get_args(Dimension) and value is not None:
            value = shown(value, cast("Dimension", unit))
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
