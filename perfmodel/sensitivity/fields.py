"""Every field of every input by its path, and what a name of a user means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from perfmodel.errors import InputError, unknown
from perfmodel.hardware import Cluster
from perfmodel.hardware.device import DTYPES
from perfmodel.model import Model
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.specs import Spec, field_units
from perfmodel.units import Dimension, parse, show

__all__ = ["ANY", "Field", "field_named", "fields", "told"]

ANY = "*"
"""In the keys of a field: every entry of a table, or every layer."""

WORDS = frozenset({
    "id", "name", "notes", "note", "sources", "aliases", "confidence", "unverified", "vendor", "year", "kind", "type",
    "residual", "capacity_note", "architectures", "family", "spread",
})  # fmt: skip
"""Fields that say what a thing is called or where it comes from: no number depends on them."""

ALIASES = {
    "memory_bandwidth": "cluster.device.memory.bandwidth",
    "memory_capacity": "cluster.device.memory.capacity",
    "workload": "work",
    "parallel": "layout",
    "batch": "work.global_batch",
    "scale_up": "cluster.device.scale_up",
}
"""Names that people use beside those of the fields."""

TIERS = {
    "scale_up.bandwidth": ("device", "scale_up", "bandwidth"),
    "scale_up.in_network_reduction": ("device", "scale_up", "in_network_reduction"),
    "node.bandwidth": ("device", "host_link", "bandwidth"),
    "fabric.bandwidth": ("scale_out",),
    "fabric.oversubscription": ("oversubscription",),
    "fabric.in_network_reduction": ("fabric_reduction",),
    "spine.oversubscription": ("oversubscription",),
}
"""Fields of network tiers that follow from other fields of the cluster: these are what is changed."""

TIER_FIELDS = ("bandwidth", "oversubscription", "topology", "cross_rail", "per_link", "in_network_reduction")


FIRST = ("work", "layout", "cluster")
"""Inputs whose own fields need no path."""


class Field(NamedTuple):
    """One field of an input.

    Parameters
    ----------
    path : how it is called
    root : of which input: model, work, layout, cluster or efficiency
    keys : the way to it from there
    value : it holds now
    unit : of a number, as its docstring says
    """

    path: str
    root: str
    keys: tuple[str, ...]
    value: Any
    unit: str = ""

    @property
    def branch(self) -> bool:
        """It holds further fields."""
        return isinstance(self.value, Spec | dict)


def fields(inputs: Inputs) -> dict[str, Field]:
    """Every field of the inputs that a number may depend on.

    Parameters
    ----------
    inputs : of an estimate

    Returns
    -------
    fields by path
    """
    found = [Field(root, root, (), value) for root, value in inputs._asdict().items()]
    for root in ("work", "layout", "efficiency", "cluster"):
        found += _walked(root, (), getattr(inputs, root))
    found += _tiers(inputs.cluster)
    found += _layers(inputs.model)
    return {field.path: field for field in found}


def _walked(root: str, keys: tuple[str, ...], spec: Spec) -> Iterator[Field]:
    """Fields of a specification and of all within, tables of numbers by their keys."""
    units = field_units(type(spec))
    for name in type(spec).model_fields:
        if name in WORDS or name in {"tiers", "software"}:
            continue
        value, here = getattr(spec, name), (*keys, name)
        field = Field(".".join((root, *here)), root, here, value, units.get(name, ""))
        yield field
        if isinstance(value, Spec):
            yield from _walked(root, here, value)
        elif isinstance(value, dict):
            yield from _table(field, value)


def _table(field: Field, table: Mapping[Any, Any]) -> Iterator[Field]:
    """Entries of a table, each by its key; where they are alike, all together without one."""
    if field.path == "efficiency.matmul" and "default" in table:
        table = dict.fromkeys(DTYPES, table["default"]) | dict(table)
    for key, value in table.items():
        entry = Field(f"{field.path}.{key}", field.root, (*field.keys, str(key)), value, field.unit)
        yield entry
        if isinstance(value, Spec):
            yield from _walked(entry.root, entry.keys, value)
            yield from _every(field, value)


def _every(field: Field, sample: Spec) -> Iterator[Field]:
    for each in _walked(field.root, (*field.keys, ANY), sample):
        yield each._replace(path=each.path.replace(f".{ANY}", ""))


def _tiers(cluster: Cluster) -> Iterator[Field]:
    """Tiers of the network, by their own names."""
    given = "tiers" in cluster.model_fields_set
    for tier in cluster.tiers:
        for name in TIER_FIELDS:
            own = f"{tier.name}.{name}"
            if given:
                yield Field(
                    f"cluster.{own}", "cluster", ("tiers", tier.name, name), getattr(tier, name), "B/s"
                )
            elif own in TIERS:
                yield Field(f"cluster.{own}", "cluster", TIERS[own], getattr(tier, name), "B/s")


def _layers(model: Model) -> Iterator[Field]:
    """Fields of a model's layers: of all that have them, and of one kind alone."""
    yield Field("model.depth", "model", ("depth",), model.depth)
    for layer, _ in model.layers():
        for name in type(layer).model_fields:
            value, unit = getattr(layer, name), "" if name in WORDS else "-"
            if unit and not isinstance(value, Spec):
                yield Field(f"model.{name}", "model", (ANY, name), value, unit)
                yield Field(f"model.{layer.label}.{name}", "model", (layer.label, name), value, unit)


def field_named(name: str, known: Mapping[str, Field]) -> Field:
    """The field that a user means: the one whose path ends with the name; of several the one nearest to the root.

    Parameters
    ----------
    name : a field, or a path; `__` stands for a dot
    known : all fields by path

    Returns
    -------
    the field

    Raises
    ------
    UnknownNameError
        no field is called so; near names are suggested
    InputError
        the name fits several fields equally well, or names a word that no number depends on
    """
    wanted = name.replace("__", ".")
    for path in (wanted, *(f"{root}.{wanted}" for root in FIRST), ALIASES.get(wanted, "")):
        if path in known:
            return known[path]
    fitting = [field for path, field in known.items() if path.endswith(f".{wanted}")]
    if not fitting:
        raise _nobody(name, wanted, known)
    least = min(field.path.count(".") for field in fitting)
    nearest = [field for field in fitting if field.path.count(".") == least]
    nearest = [field for field in nearest if not field.branch] or nearest
    if len({(field.root, field.keys) for field in nearest}) > 1:
        paths = ", ".join(sorted(field.path for field in fitting if not field.branch))
        raise InputError(f'"{name}" is ambiguous; name one of: {paths}')
    return nearest[0]


def _nobody(name: str, wanted: str, known: Mapping[str, Field]) -> InputError:
    last = wanted.rpartition(".")[2]
    if last in WORDS:
        return InputError(f'"{name}" says what a thing is or where it comes from; no number depends on it')
    steps = [path.split(".") for path in known]
    ends = {".".join(step[-2:]) for step in steps} if "." in wanted else {step[-1] for step in steps}
    return unknown("field", wanted, ends | ALIASES.keys(), "perfmodel.sensitivity.fields lists them all")


def told(value: Any, unit: str = "") -> str:
    """A field's value, printed.

    Parameters
    ----------
    value : any
    unit : of a number, as its docstring says

    Examples
    --------
    >>> told(3.35e12, "B/s"), told("400 Gbit/s", "B/s"), told(8, "-"), told(("tp", "dp")), told(None), told("fp8")
    ('3.350 TB/s', '50.00 GB/s', '8', 'tp, dp', 'none', 'fp8')
    """
    if value is None or (isinstance(value, tuple) and not value):
        return "none"
    if isinstance(value, tuple | dict | Spec):
        return _several(value)
    if unit in get_args(Dimension) and not isinstance(value, bool):
        return show(parse(value, unit), unit)  # type: ignore[arg-type]  # one of the dimensions
    return f"{value:g}" if isinstance(value, float) else str(value)


def _several(value: tuple[Any, ...] | dict[Any, Any] | Spec) -> str:
    """What holds several values, printed; a specification by what it is called."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {told(each)}" for name, each in value.items())
    named = (getattr(value, name) for name in ("id", "words", "name") if hasattr(value, name))
    return str(next(named, "")) or "nothing"
