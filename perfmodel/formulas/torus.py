"""Messages on the axes of a torus or mesh: how wide an axis is, how many hops it takes, what an exchange costs."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number, greater, where

__all__ = ["axis_all_to_all", "axis_bandwidth", "axis_hops"]


def axis_bandwidth(*, members: Number, spacing: Number, closed: Number, link_bandwidth: Number) -> Any:
    """Bandwidth into a device along one axis, for a gather or scatter.

    .. math:: B_i = \\frac{(1 + c)\\,B}{s} \\quad (m > 1)

    Parameters
    ----------
    members : of the group along the axis m [-]
    spacing : devices from one of them to the next s; s groups share each link [-]
    closed : 1 where the group goes all round the axis, 0 where it has ends c [-]
    link_bandwidth : of one link, one direction B [B/s]

    Returns
    -------
    bandwidth, 0 for one member [B/s]

    Notes
    -----
    On a ring data comes in from both sides; on an open axis the device at the end has one link only, and it sets the
    pace.

    References
    ----------
    Austin et al. (2025), How to Scale Your Model, part 3 (all-gather), https://jax-ml.github.io/scaling-book/sharding

    Examples
    --------
    >>> axis_bandwidth(members=16.0, spacing=1.0, closed=1.0, link_bandwidth=4.5e10)
    90000000000.0
    """
    return where(greater(members, 1), (1.0 + closed) * link_bandwidth / spacing, 0.0)


def axis_hops(*, members: Number, spacing: Number, closed: Number) -> Any:
    """Hops that follow each other when all devices along one axis gather from each other.

    .. math:: h = s\\,m / 2 \\;\\text{(ring)}, \\qquad s\\,(m - 1) \\;\\text{(open)}

    Parameters
    ----------
    members : of the group along the axis m [-]
    spacing : devices from one of them to the next s [-]
    closed : 1 where the group goes all round the axis, 0 where it has ends [-]

    Returns
    -------
    hops, 0 for one member [-]

    References
    ----------
    Austin et al. (2025), How to Scale Your Model, part 3 (all-gather), https://jax-ml.github.io/scaling-book/sharding

    Examples
    --------
    >>> axis_hops(members=16.0, spacing=1.0, closed=1.0), axis_hops(members=16.0, spacing=1.0, closed=0.0)
    (8.0, 15.0)
    """
    return where(
        greater(members, 1), spacing * (closed * members / 2.0 + (1.0 - closed) * (members - 1.0)), 0.0
    )


def axis_all_to_all(
    *, payload: Number, members: Number, spacing: Number, closed: Number, link_bandwidth: Number
) -> Any:
    """Time that an all-to-all keeps the links of one axis busy: what must cross its middle.

    .. math:: t = \\frac{n\\,m\\,s}{4\\,(1 + c)\\,B}

    Parameters
    ----------
    payload : one rank's buffer n [B]
    members : of the group along the axis m [-]
    spacing : devices from one of them to the next s; s groups share each link [-]
    closed : 1 where the group goes all round the axis, 0 where it has ends c [-]
    link_bandwidth : of one link, one direction B [B/s]

    Returns
    -------
    time, 0 for one member [s]

    Notes
    -----
    Half of the members send half of their buffers to the other half: m n / 4 bytes each way, over one cut of an open
    axis or the two of a ring. An axis is bound by this however many others there are.

    References
    ----------
    Austin et al. (2025), How to Scale Your Model, part 3 (all-to-all costs a quarter of an all-gather on a ring),
    https://jax-ml.github.io/scaling-book/sharding

    Examples
    --------
    >>> axis_all_to_all(payload=1e9, members=16.0, spacing=1.0, closed=1.0, link_bandwidth=5e10)
    0.04
    """
    busy = payload * members * spacing / (4.0 * (1.0 + closed) * link_bandwidth)
    return where(greater(members, 1), busy, 0.0)
