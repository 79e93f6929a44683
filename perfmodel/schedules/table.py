"""Schedules by name: every file of this package that has one is found, and so is a subclass of your own."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from perfmodel.errors import unknown
from perfmodel.schedules.base import Schedule

__all__ = ["schedule", "schedule_class", "schedules"]


def schedule(name: str, *, stages: int, micro_batches: int, chunks: int | None = None) -> Schedule:
    """A pipeline schedule of a given shape.

    Parameters
    ----------
    name : one of `schedules()`, or torch's class; capitals, hyphens and underscores do not matter
    stages : pipeline-parallel degree: ranks that share the model [-]
    micro_batches : passes of one optimizer step [-]
    chunks : model chunks that one rank holds; None is 1, or 2 for a model folded like a V [-]

    Returns
    -------
    the schedule

    Raises
    ------
    InputError
        the shape breaks the schedule's rules; the message says which, and the nearest shape that works
    UnknownNameError
        no schedule has this name

    Examples
    --------
    >>> schedule("1f1b", stages=2, micro_batches=2)
    OneForwardOneBackward(stages=2, micro_batches=2, chunks=1)
    >>> schedule("ScheduleZBVZeroBubble", stages=2, micro_batches=4).chunks
    2
    >>> schedule("1f1b", stages=4, micro_batches=2)
    Traceback (most recent call last):
    perfmodel.errors.InputError: OneForwardOneBackward: micro_batches = 2 cannot fill stages = 4; valid: 4 or more; ...
    """
    shape = {"stages": stages, "micro_batches": micro_batches}
    return schedule_class(name)(**shape if chunks is None else {**shape, "chunks": chunks})


def schedules() -> tuple[str, ...]:
    """The names of all schedules.

    Examples
    --------
    >>> print(*schedules())
    1f1b dualpipev gpipe interleaved-1f1b interleaved-zero-bubble looped-bfs zbv
    """
    _load()
    return tuple(sorted(Schedule.known))


@cache
def schedule_class(name: str) -> type[Schedule]:
    """The class of a schedule.

    Parameters
    ----------
    name : as `schedule` takes it

    Returns
    -------
    the class

    Examples
    --------
    >>> schedule_class("Interleaved1F1B").name
    'interleaved-1f1b'
    >>> schedule_class("1f2b")
    Traceback (most recent call last):
    perfmodel.errors.UnknownNameError: unknown schedule "1f2b"; did you mean 1f1b or interleaved-1f1b? valid: ...
    """
    _load()
    found = {_plain(alias): cls for cls in Schedule.known.values() for alias in (cls.name, *cls.aliases)}.get(
        _plain(name)
    )
    if found is None:
        raise unknown("schedule", name, Schedule.known)
    return found


@cache
def _load() -> None:
    """Import the files of this package, each of which adds its schedule to the table."""
    for module in iter_modules([str(Path(__file__).parent)], f"{__package__}."):
        import_module(module.name)


def _plain(name: str) -> str:
    """A name as it is compared: torch's prefix, capitals and separators do not matter."""
    return re.sub(r"[^a-z0-9]", "", name.casefold()).removeprefix("schedule")
