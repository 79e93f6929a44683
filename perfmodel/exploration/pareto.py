"""Which of many points no other one beats."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["pareto_front"]


def pareto_front(x: Any, y: Any) -> Any:
    """Points that no other point beats: none is as small in one coordinate and smaller in the other.

    Parameters
    ----------
    x, y : coordinates, of which less is better

    Returns
    -------
    their places, by growing x; of points that are equal, the first

    References
    ----------
    Kung, Luccio, Preparata (1975), On Finding the Maxima of a Set of Vectors, doi:10.1145/321906.321910

    Examples
    --------
    >>> pareto_front(np.array([1.0, 2.0, 3.0, 2.0]), np.array([3.0, 2.0, 2.0, 4.0]))
    array([0, 1])
    """
    order = np.lexsort((y, x))
    sorted_y = np.asarray(y)[order]
    least_before = np.minimum.accumulate(np.concatenate(([np.inf], sorted_y)))[:-1]
    return order[sorted_y < least_before]
