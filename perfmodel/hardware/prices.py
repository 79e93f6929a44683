"""What a device costs to rent: list prices with their date and source."""

from __future__ import annotations

from functools import cache

from pydantic import Field

from perfmodel.specs import Spec, bundled_folder, read_yaml

__all__ = ["Offer", "offers", "price_of"]


class Offer(Spec):
    """An hour of one device, as a provider lists it.

    Examples
    --------
    >>> offer = price_of("nvidia-h100-sxm-80gb")
    >>> offer.provider, offer.on_demand
    ('nebius', 2.95)
    """

    device: str
    """Id of the device."""
    provider: str
    """Who rents it out."""
    instance: str
    """The machine it comes in; its price is divided by its devices."""
    region: str
    """Where."""
    on_demand: float | None = Field(default=None, gt=0)
    """Price of an hour without commitment; null is not offered [USD/h]."""
    spot: float | None = Field(default=None, gt=0)
    """Price of an hour that may end at any time; null is not offered [USD/h]."""
    date: str
    """Of the price, as far as it is stated."""
    source: str
    """Where it is listed."""


@cache
def offers(device: str) -> tuple[Offer, ...]:
    """Every bundled offer of a device.

    Parameters
    ----------
    device : its id
    """
    listed = read_yaml(bundled_folder("hardware_specs") / "prices.yaml")["offers"]
    return tuple(Offer(**offer) for offer in listed if offer["device"] == device)


def price_of(device: str) -> Offer | None:
    """The cheapest bundled offer on demand; None where none is known.

    Parameters
    ----------
    device : its id

    Examples
    --------
    >>> price_of("cerebras-wse3") is None
    True
    """
    listed = [offer for offer in offers(device) if offer.on_demand is not None]
    return min(listed, key=lambda offer: offer.on_demand or 0.0, default=None)
