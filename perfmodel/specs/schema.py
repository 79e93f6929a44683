"""JSON schemas of every kind of specification: an editor completes and checks the YAML while it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfmodel.specs.catalogue import registered

if TYPE_CHECKING:
    from os import PathLike

    from pydantic import BaseModel

__all__ = ["schema_of", "schemas", "write_schemas"]


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of every kind that has a catalogue, by kind."""
    return {kind: schema_of(catalogue.cls) for kind, catalogue in sorted(registered().items())}


def write_schemas(folder: str | PathLike[str]) -> list[Path]:
    """Write one ``<kind>.json`` a kind.

    Parameters
    ----------
    folder : where to; the bundled ones are in ``hardware_specs/schema``

    Returns
    -------
    the files
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, schema in schemas().items():
        path = target / f"{kind}.json"
        path.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def schema_of(cls: type[BaseModel]) -> dict[str, Any]:
    """The schema of one class in the constructs of draft 7, which is what the YAML language server reads."""
    schema = cls.model_json_schema(ref_template="#/definitions/{model}")
    definitions = {"definitions": schema.pop("$defs")} if "$defs" in schema else {}
    head = {"$schema": "http://json-schema.org/draft-07/schema#"}
    converted: dict[str, Any] = _draft7(head | schema | definitions)
    return converted


def _draft7(schema: Any) -> Any:
    """The same schema where a reference stands alone, since draft 7 ignores what is beside one; prose is cut short."""
    if isinstance(schema, list):
        return [_draft7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    walked = {key: _draft7(value) for key, value in schema.items()}
    if isinstance(walked.get("description"), str):
        walked["description"] = walked["description"].split("\n\n")[0]
    if "$ref" in walked and len(walked) > 1:
        walked["allOf"] = [{"$ref": walked.pop("$ref")}]
    if "prefixItems" in walked:
        walked["items"] = walked.pop("prefixItems")
    return walked
