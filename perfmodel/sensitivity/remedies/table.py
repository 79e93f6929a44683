"""The table of remedies: what each is called, relieves and costs, and the function that proposes its changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

__all__ = ["REMEDIES", "SCOPES", "Changes", "Remedy", "Scope", "others", "remedy"]

Changes = dict[str, Any]
"""New values of fields, as `pm.what_if` takes them."""

Scope = Literal["way", "job", "model", "machine"]

SCOPES: dict[Scope, str] = {
    "way": "the same job on the same machine, done another way",
    "job": "another job: numbers or batch differ",
    "model": "another model",
    "machine": "another machine",
}
"""How far a remedy reaches, the nearest first."""

Propose = Callable[[Any], Iterable[Changes]]


class Remedy(NamedTuple):
    """A way to be faster, or to fit.

    Parameters
    ----------
    name : of its function
    title : what is done
    relieves : resources that are waited for less, or "memory", what is held
    costs : what is given for it, in words; the prediction has the seconds and the bytes
    scope : how far it reaches: way, job, model or machine
    kinds : of estimates that it applies to
    propose : from an estimate to changes worth predicting; those that break a rule are dropped later
    """

    name: str
    title: str
    relieves: tuple[str, ...]
    costs: str
    scope: Scope
    kinds: tuple[str, ...]
    propose: Propose


REMEDIES: dict[str, Remedy] = {}
"""Every remedy by its name."""


def remedy(
    title: str,
    *,
    relieves: tuple[str, ...],
    costs: str,
    scope: Scope = "way",
    kinds: tuple[str, ...] = ("training",),
) -> Callable[[Propose], Propose]:
    """Put a function into the table of remedies.

    Parameters
    ----------
    title, relieves, costs, scope, kinds : of the `Remedy`

    Returns
    -------
    the decorator
    """

    def register(propose: Propose) -> Propose:
        name = propose.__name__
        REMEDIES[name] = Remedy(name, title, relieves, costs, scope, kinds, propose)
        return propose

    return register


def others(value: int, most: int = 10**6, *, reach: int = 8) -> Iterator[int]:
    """Halves and doubles of a degree.

    Parameters
    ----------
    value : the degree [-]
    most : that it may become [-]
    reach : up to so many times as much, or as little [-]

    Examples
    --------
    >>> list(others(4, 16))
    [2, 1, 8, 16]
    """
    factors = [2**power for power in range(1, reach.bit_length())]
    yield from (value // factor for factor in factors if value % factor == 0)
    yield from (value * factor for factor in factors if value * factor <= most)
