"""Seconds of a message: its ranks placed on the network's tiers, and the algorithm that is fastest there."""

from perfmodel.estimation.network.choice import Choice, Route
from perfmodel.estimation.network.messages import Message, collective_seconds
from perfmodel.estimation.network.placement import Hop, placement

__all__ = ["Choice", "Hop", "Message", "Route", "collective_seconds", "placement"]
