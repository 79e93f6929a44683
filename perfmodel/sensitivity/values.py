"""New values at their places: factors and quantities of text, and copies of specifications with a tree of changes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar, get_args

import numpy as np

from perfmodel.errors import InputError
from perfmodel.hardware.device import Port, Rates, ScaleUp
from perfmodel.layers import Layer
from perfmodel.model import Block, Model
from perfmodel.sensitivity.fields import ANY, Field, told
from perfmodel.specs import Spec
from perfmodel.units import Dimension, parse, ratio

__all__ = ["Factor", "Tree", "put", "rebuilt", "rebuilt_model", "result", "value_of"]

T = TypeVar("T")

FACTOR = re.compile(r"\s*(?:[\d.]+(?:e[+-]?\d+)?\s*[x×]|[+-]\s*[\d.]+\s*%)\s*", re.IGNORECASE)
"""Text that is a factor of change: "1.5x", "+10 %"."""


RATES = ("B/s", "FLOP/s")
"""Units of what work is divided by."""
MORE_THAN_NOTHING = 1e-300
"""Above 0, and no number that is meant is smaller [-]."""


class Factor(NamedTuple):
    """So many times what a field holds.

    Parameters
    ----------
    by : the factor [-]
    words : as it was given
    """

    by: float
    words: str

    def of(self, value: Any) -> Any:
        """So many times a value.

        Parameters
        ----------
        value : of a field

        Raises
        ------
        InputError
            the value is no number, or has to be a whole one and would not be

        Examples
        --------
        >>> Factor(1.5, "1.5x").of(8), Factor(1.5, "1.5x").of(0.5)
        (12, 0.75)
        """
        if isinstance(value, Rates):
            return value.replace(**{dtype: self.by * rate for dtype, rate in value.known().items()})
        if value is None:
            raise InputError(f"{self.words} of what is not known; give the value itself")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{self.words} of {told(value)}, which is no number; give the new value itself")
        product = value * self.by
        if isinstance(value, float) or not value:
            return product
        if abs(product - round(product)) > 1e-9 * product or round(product) < 1:
            raise InputError(f"{self.words} of {value} is {product:g}, and it counts whole things")
        return round(product)


class Tree(dict[str, Any]):
    """Changes within an input: by field, a new value, a `Factor`, or a further tree."""


def value_of(field: Field, given: Any) -> tuple[Field, Any]:
    """What a user's value means for a field.

    Parameters
    ----------
    field : to be changed
    given : a value, a quantity with its unit, or a factor

    Returns
    -------
    the field, or the one within it that is meant, and its new value or `Factor`

    Raises
    ------
    InputError
        the field holds several numbers, and it is not said which
    """
    held, given = field.value, _plain(given, field)
    if isinstance(held, tuple) and isinstance(given, str):
        return field, tuple(part.strip() for part in given.split(",") if part.strip())
    change = (
        Factor(ratio(given), given.strip()) if isinstance(given, str) and FACTOR.fullmatch(given) else given
    )
    if not field.branch or isinstance(given, dict | Spec):
        if isinstance(change, str) and field.unit in get_args(Dimension):
            return field, parse(change, field.unit, name=field.path)  # type: ignore[arg-type]  # one of them
        return field, change
    if isinstance(held, Port | ScaleUp):
        inner = field._replace(
            path=f"{field.path}.bandwidth", keys=(*field.keys, "bandwidth"), value=held.bandwidth, unit="B/s"
        )
        return inner, _plain(change, inner)
    if isinstance(held, Rates) and isinstance(change, Factor):
        return field, change
    names = held if isinstance(held, dict) else type(held).model_fields
    raise InputError(
        f"{field.path} has several fields; name one: {', '.join(f'{field.path}.{name}' for name in names)}"
    )


def _plain(given: Any, field: Field) -> Any:
    """NumPy's single numbers as Python's, and no number that a field can't hold."""
    if isinstance(given, np.ndarray):
        raise InputError(
            f"{field.path}: {given!r} are several values; what_if is asked of one, pm.sweep of many"
        )
    value = given.item() if isinstance(given, np.generic) else given
    if isinstance(value, int | float):
        least = 0 if field.unit not in RATES and not _counts(field) else MORE_THAN_NOTHING
        if not (math.isfinite(value) and value >= least):
            raise InputError(
                f"{field.path} = {value} must be a number {'of at least' if not least else 'above'} 0"
            )
    return value


def _counts(field: Field) -> bool:
    """It counts parts of the model, and none is no number of them."""
    return field.root == "model" and field.value is not False and field.value != 0


def put(tree: Tree, keys: tuple[str, ...], change: Any) -> None:
    """Put a change at its place.

    Parameters
    ----------
    tree : of an input
    keys : the way
    change : what is put there

    Raises
    ------
    InputError
        the place is changed already, whole or in part
    """
    for key in keys[:-1]:
        tree = tree.setdefault(key, Tree())
        if not isinstance(tree, Tree):
            raise InputError(f"{key} is given whole and in part; leave one of them out")
    if keys[-1] in tree:
        raise InputError(f"{keys[-1]} is given twice; leave one of them out")
    tree[keys[-1]] = change


def result(old: Any, change: Any) -> Any:
    """What a field holds after a change."""
    if isinstance(change, Factor):
        return change.of(old)
    return rebuilt(old, change) if isinstance(change, Tree) else change


def rebuilt(old: T, tree: Tree) -> T:
    """A copy with a tree of changes.

    Parameters
    ----------
    old : a specification, or a table of numbers or specifications
    tree : changes within it

    Returns
    -------
    the changed copy, validated; the same where nothing changes
    """
    if not tree:
        return old
    if isinstance(old, dict):
        every = tree.get(ANY, Tree())
        wanted = {key: Tree(every) for key in old} if every else {}
        given = {_key(old, key): change for key, change in tree.items() if key != ANY}
        usual = old.get("default")
        new = {key: result(old.get(key, usual), change) for key, change in (wanted | given).items()}
        return {**old, **new}  # type: ignore[return-value]  # the same kind of table
    if isinstance(old, tuple):  # tiers of a network, by name
        return tuple(rebuilt(each, tree.get(each.name, Tree())) for each in old)  # type: ignore[return-value]
    if not isinstance(old, Spec):
        raise InputError(f"there is no {' or '.join(tree)} to change in {told(old)}; give all of it")
    return old.replace(**{name: result(getattr(old, name), change) for name, change in tree.items()})


def _key(table: dict[Any, Any], text: str) -> Any:
    return next((key for key in table if str(key) == text), text)


def rebuilt_model(model: Model, tree: Tree) -> Model:
    """A model with changed fields of its layers, or with another depth.

    Parameters
    ----------
    model : to be changed
    tree : "depth", and fields by kind of layer

    Returns
    -------
    the changed model

    Raises
    ------
    InputError
        the depth of a model of several blocks
    """
    if not tree:
        return model
    blocks = tuple(block.replace(layers=_layers(block.layers, tree)) for block in model.blocks)
    source = model.source and rebuilt_model(
        model.source, Tree({k: v for k, v in tree.items() if k != "depth"})
    )
    new = model.replace(
        entry=_layers(model.entry, tree),
        blocks=_deep(blocks, tree["depth"]) if "depth" in tree else blocks,
        exit=_layers(model.exit, tree),
        source=source,
    )
    return new.check()


def _layers(layers: Iterable[Layer], tree: Tree) -> tuple[Layer, ...]:
    return tuple(rebuilt(layer, _of_kind(layer, tree)) for layer in layers)


def _of_kind(layer: Layer, tree: Tree) -> Tree:
    """Changes that a layer has fields for."""
    wanted = tree.get(ANY, Tree()) | tree.get(layer.label, Tree())
    return Tree({name: change for name, change in wanted.items() if name in type(layer).model_fields})


def _deep(blocks: tuple[Block, ...], change: Any) -> tuple[Block, ...]:
    """Blocks of another depth, in the same proportions."""
    old = sum(block.repeat for block in blocks)
    if not isinstance(change, int | Factor):
        raise InputError(f"depth = {change!r} must be a number of layers, or a factor")
    factor = result(old, change) / old
    try:
        return tuple(
            block.replace(repeat=Factor(factor, f"{factor:g}x").of(block.repeat)) for block in blocks
        )
    except InputError:
        repeats = " + ".join(str(block.repeat) for block in blocks)
        raise InputError(
            f"depth = {old * factor:g} does not divide like the blocks of this model, {repeats}"
        ) from None
