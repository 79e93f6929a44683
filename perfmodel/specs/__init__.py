"""Specifications: frozen, sourced, read from YAML, looked up by name.

`Spec` is the base of everything a user writes down, `SourcedSpec` of what also needs a source, `Catalogue`
finds files by name in the user's own folders before the bundled ones, `schemas` describes each kind to an
editor.
"""

from perfmodel.specs.catalogue import Catalogue, bundled_folder, kind_named
from perfmodel.specs.describing import field_docs, field_units
from perfmodel.specs.reading import read_yaml
from perfmodel.specs.schema import schemas, write_schemas
from perfmodel.specs.spec import SourcedSpec, Spec

__all__ = [
    "Catalogue",
    "SourcedSpec",
    "Spec",
    "bundled_folder",
    "field_docs",
    "field_units",
    "kind_named",
    "read_yaml",
    "schemas",
    "write_schemas",
]
