"""A rule of a valid layout as it stands: whether it is broken, why in few words, and the whole sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["Breach", "sentences"]


class Breach(NamedTuple):
    """One way to break a rule, for one layout or for columns of layouts.

    Parameters
    ----------
    broken : whether it is; an array of answers where the degrees are columns
    reason : what is broken, without numbers: the same words for every layout, by which a sweep counts
    told : the sentence for one layout: rule, numbers, valid choices, nearest one; asked only where it is broken

    Examples
    --------
    >>> import numpy as np
    >>> tp = np.array([1, 2, 3])
    >>> Breach(64 % tp != 0, "tp does not divide the attention heads", lambda: "…").broken
    array([False, False,  True])
    """

    broken: Any
    reason: str
    told: Callable[[], str]


def sentences(breaches: Iterable[Breach]) -> Iterator[str]:
    """What one layout breaks.

    Parameters
    ----------
    breaches : of one layout, broken or not

    Yields
    ------
    the sentence of each that is broken
    """
    return (breach.told() for breach in breaches if breach.broken)
