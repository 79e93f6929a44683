"""What a sweep asks, chunk by chunk: the specifications that its rows share, and the columns in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from perfmodel.efficiency import Efficiency
from perfmodel.errors import InputError
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel

__all__ = ["Question", "brief"]


class Question(NamedTuple):
    """Many configurations that share their structure.

    Parameters
    ----------
    model, work, layout, cluster, efficiency : what they share; a field that is a column below may hold anything
    numbers : columns by the name of their axis, which broadcast against each other
    """

    model: Model
    work: Any
    layout: Parallel
    cluster: Cluster
    efficiency: Efficiency
    numbers: Mapping[str, Any]


def brief(error: InputError) -> str:
    """An error in one line.

    Parameters
    ----------
    error : of several faults, too
    """
    return "; ".join(error.faults) if error.faults else str(error).partition("\n")[0]
