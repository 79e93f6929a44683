"""Pipeline schedules: who computes what in which order, how long that takes, and how much of it is alive.

A schedule is one file with one class; `schedule` finds it by name. Its order of actions is a fact that anyone can read
(`actions`), its time is an event recurrence on that order (`timing`), its memory a running sum (`live_chunks`).

>>> print(*schedule("1f1b", stages=2, micro_batches=3).actions(0))
0F0 0F1 0B0 0F2 0B1 0B2
"""

from perfmodel.schedules.base import Schedule
from perfmodel.schedules.critical import CriticalPath
from perfmodel.schedules.order import Action
from perfmodel.schedules.shapes import Shape, over_shapes
from perfmodel.schedules.table import schedule, schedule_class, schedules
from perfmodel.schedules.timing import Timing

__all__ = [
    "Action",
    "CriticalPath",
    "Schedule",
    "Shape",
    "Timing",
    "over_shapes",
    "schedule",
    "schedule_class",
    "schedules",
]
