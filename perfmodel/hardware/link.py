"""Kinds of interconnect: what one port of it offers."""

from __future__ import annotations

from os import PathLike

from perfmodel.specs import Catalogue, SourcedSpec
from perfmodel.units import BytesPerSecond, Seconds

__all__ = ["Link", "links"]


class Link(SourcedSpec):
    """A kind of interconnect, per device or per node as `device` says.

    Examples
    --------
    >>> Link.load("nvlink4").bandwidth
    450000000000.0
    """

    aliases: tuple[str, ...] = ()
    """Other names it is looked up by."""
    bandwidth: BytesPerSecond
    """All its lanes together, one direction [B/s]."""
    links: int | None = None
    """Lanes or links it is made of [-]."""
    per_link: BytesPerSecond | None = None
    """One of them, one direction [B/s]."""
    marketed: BytesPerSecond | None = None
    """The figure of the brochures, both directions added [B/s]."""
    device: str | None = None
    """Whose port it is."""
    topology: str | None = None
    """How the ports are joined, in words."""
    latency: Seconds | None = None
    """Port to port, or per hop, as the source says [s]."""
    latency_source: str | None = None
    """Where the latency comes from."""

    @classmethod
    def load(cls, name: str | PathLike[str]) -> Link:
        """A link by id, alias or path of a YAML file.

        Parameters
        ----------
        name : see `links()`

        Raises
        ------
        UnknownNameError
            no such link; near names are suggested
        """
        return _CATALOGUE.load(name)


_CATALOGUE = Catalogue("link", Link, "links")


def links() -> dict[str, str]:
    """Ids of all links, with where each comes from."""
    return _CATALOGUE.names()
