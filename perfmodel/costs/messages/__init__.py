"""Messages of one training step: how many, how large, in which phase, by named strategies of real software."""

from perfmodel.costs.messages.base import Job, Message
from perfmodel.costs.messages.table import STRATEGIES, messages

__all__ = ["STRATEGIES", "Job", "Message", "messages"]
