"""Pipeline schedules: how long they take, what share is idle, how many micro-batches are alive."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number, minimum, where

__all__ = ["bubble_fraction", "live_micro_batches", "pipeline_time"]


def bubble_fraction(*, stages: Number, micro_batches: Number, chunks: Number) -> Any:
    """Idle time over busy time of 1F1B with equal stages, interleaved where a stage holds several chunks.

    .. math:: \\frac{t_{idle}}{t_{busy}} = \\frac{p - 1}{v\\,m}

    Parameters
    ----------
    stages : pipeline degree p [-]
    micro_batches : passes of one step m [-]
    chunks : model chunks a stage holds v [-]

    Returns
    -------
    idle time over busy time [-]

    References
    ----------
    Narayanan et al. (2021), Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM,
    arXiv:2104.04473, section 2.2

    Examples
    --------
    >>> bubble_fraction(stages=8, micro_batches=28, chunks=1)
    0.25
    """
    return (stages - 1) / (chunks * micro_batches)


def pipeline_time(*, slowest: Number, through: Number, micro_batches: Number, chunks: Number) -> Any:
    """Time of a step under 1F1B with unequal stages: the slowest stage sets the pace, the others fill and drain.

    .. math:: t = m\\,t_{max} + \\frac{\\sum_i t_i - t_{max}}{v}

    Parameters
    ----------
    slowest : forward and backward of one micro-batch on the slowest stage [s]
    through : forward and backward of one micro-batch through all stages [s]
    micro_batches : passes of one step m [-]
    chunks : model chunks a stage holds v [-]

    Returns
    -------
    time [s]

    Notes
    -----
    With equal stages this is (m + (p - 1) / v) t, the closed form of the reference.

    References
    ----------
    Narayanan et al. (2021), arXiv:2104.04473, section 2.2

    Examples
    --------
    >>> pipeline_time(slowest=1.0, through=4.0, micro_batches=8, chunks=1)
    11.0
    """
    return micro_batches * slowest + (through - slowest) / chunks


def live_micro_batches(*, stage: Number, stages: Number, micro_batches: Number, chunks: Number) -> Any:
    """Micro-batches whose activations a stage holds at once under 1F1B, a chunk counting 1 / v.

    .. math:: n_i = \\min(m,\\; p - i) \\;\\text{for}\\; v = 1, \\quad
              n_i = \\min\\left(m,\\; \\frac{2 (p - i - 1) + (v - 1)\\,p + 1}{v}\\right) \\;\\text{for}\\; v > 1

    Parameters
    ----------
    stage : counted from 0 i [-]
    stages : pipeline degree p [-]
    micro_batches : passes of one step m [-]
    chunks : model chunks a stage holds v [-]

    Returns
    -------
    micro-batches alive [-]

    Notes
    -----
    Plain 1F1B warms up with p - i micro-batches; the interleaved one with 2 (p - i - 1) + (v - 1) p + 1 chunks. On the
    first stage that is the 1 + (p - 1) / (p v) of the reference.

    References
    ----------
    Korthikanti et al. (2022), Reducing Activation Recomputation in Large Transformer Models, arXiv:2205.05198,
    section 4.2.3; Narayanan et al. (2021), arXiv:2104.04473, section 2.2

    Examples
    --------
    >>> live_micro_batches(stage=0, stages=4, micro_batches=16, chunks=1)
    4.0
    >>> live_micro_batches(stage=0, stages=4, micro_batches=16, chunks=3)
    5.0
    """
    plain = stages - stage
    interleaved = (2.0 * (stages - stage - 1) + (chunks - 1) * stages + 1) / chunks
    return minimum(micro_batches * 1.0, where(chunks > 1, interleaved, plain * 1.0))
