"""How a model is spread over devices: the degrees, the order they are placed in, and the rules they obey."""

from perfmodel.parallel.axes import AXES
from perfmodel.parallel.breach import Breach, sentences
from perfmodel.parallel.layout import Parallel
from perfmodel.parallel.placement import Group, Ranks, Spread, groups
from perfmodel.parallel.rules import RULES

__all__ = ["AXES", "RULES", "Breach", "Group", "Parallel", "Ranks", "Spread", "groups", "sentences"]
