"""What estimates of every kind have in common when two of them are held against each other."""

from __future__ import annotations

from typing import Any

__all__ = ["RATES", "TIME", "dtype_of", "samples_of", "speedup"]

TIME = {"training": "step time", "inference": "latency", "serving": "latency"}
"""What is timed, by kind of estimate."""

RATES = {
    "training": {"tokens": "tokens_per_second", "samples": "samples_per_second"},
    "inference": {"tokens": "output_tokens_per_second", "samples": "samples_per_second"},
    "serving": {"tokens": "output_tokens_per_second"},
}
"""What is paid for, by kind of estimate: the first that an estimate has, with the attribute that tells it."""


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
