"""What estimates of every kind have in common when two of them are held against each other."""

from __future__ import annotations

from numbers import Real
from typing import Any

from perfmodel.errors import InputError
from perfmodel.estimation import Answer

__all__ = ["RATES", "TIME", "band_of", "dtype_of", "samples_of", "single", "speedup"]

TIME = {"training": "step time", "inference": "latency", "serving": "latency"}
"""What is timed, by kind of estimate."""

RATES = {
    "training": {"tokens": "tokens_per_second", "samples": "samples_per_second"},
    "inference": {"tokens": "output_tokens_per_second", "samples": "samples_per_second"},
    "serving": {"tokens": "output_tokens_per_second"},
}
"""What is paid for, by kind of estimate: the first that an estimate has, with the attribute that tells it."""


def single(est: Any) -> Any:
    """An estimate, if it is one of a single configuration.

    Parameters
    ----------
    est : to be checked

    Raises
    ------
    InputError
        it is something else, or holds arrays or symbols
    """
    if not isinstance(est, Answer):
        raise InputError(f"{est!r} is no estimate: pm.estimate(…) makes one")
    if not isinstance(est.tree.seconds, Real):
        raise InputError("this is asked of one configuration; the estimate holds an array or symbols")
    return est


def band_of(est: Any, level: float) -> tuple[float, float] | None:
    """Where the measured time lies, so many times out of all; None where no errors of comparable runs are known [s].

    Parameters
    ----------
    est : an estimate
    level : share of runs inside, between 0 and 1 [-]
    """
    if est.efficiency.spread is None:
        return None
    low, high = est.step_time_range(level) if est.kind == "training" else est.latency_range(level)
    return float(low), float(high)


def samples_of(est: Any) -> float:
    """Samples that the time of an estimate is for; of serving it is one request [-].

    Parameters
    ----------
    est : an estimate
    """
    return 1.0 if est.kind == "serving" else float(est.costs.samples)


def dtype_of(est: Any) -> str:
    """Number format of the linear layers' products.

    Parameters
    ----------
    est : an estimate
    """
    return str(est.costs.prompt.dtype if est.kind == "serving" else est.costs.dtype)


def speedup(before: Any, after: Any) -> float:
    """How much faster: samples a second, or where requests arrive at a rate of their own, the time of one [-].

    Parameters
    ----------
    before, after : estimates of one kind

    Returns
    -------
    after over before; above 1 is faster
    """
    if after.kind == "serving" and after.work.load == "open loop":
        return float(before.tree.seconds / after.tree.seconds)
    return float(after.samples_per_second / before.samples_per_second)
