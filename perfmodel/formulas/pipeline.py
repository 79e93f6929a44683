"""Pipeline schedules: how long they take, what share is idle, how many micro-batches are alive."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number, floor, greater, maximum, minimum, where

__all__ = [
    "bubble_fraction", "bubble_time", "dual_pipe_bubble_time", "live_micro_batches", "pipeline_time",
    "queued_parts", "zero_bubble_time",
]  # fmt: skip


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


def bubble_time(*, stages: Number, forward: Number, backward: Number) -> Any:
    """Idle time of a stage in a step of GPipe, 1F1B, interleaved 1F1B or looped BFS with equal stages.

    .. math:: t_{idle} = (p - 1)\\,(t_F + t_B)

    Parameters
    ----------
    stages : pipeline degree p [-]
    forward, backward : one micro-batch through one model chunk, t_F and t_B [s]

    Returns
    -------
    idle time of every stage [s]

    Notes
    -----
    Exact for as many micro-batches as stages or more (GPipe: for any), and messages that take no time. Interleaving
    changes nothing but the size of a chunk: with v of them, t_F and t_B are 1 / v of a stage's.

    References
    ----------
    Narayanan et al. (2021), arXiv:2104.04473, section 2.2; Lamy-Poirier (2022), arXiv:2211.05953, section 4.1

    Examples
    --------
    >>> bubble_time(stages=8, forward=1.0, backward=2.0)
    21.0
    """
    return (stages - 1) * (forward + backward)


def zero_bubble_time(*, stages: Number, forward: Number, backward: Number, weight: Number) -> Any:
    """Idle time of a stage in a step of ZB1P (ZB-H1), interleaved or not, with equal stages.

    .. math:: t_{idle} = (p - 1)\\,\\max\\left(t_F + t_B - 2\\,t_W,\\; t_F,\\; t_B - t_W\\right)

    Parameters
    ----------
    stages : pipeline degree p [-]
    forward, backward : one micro-batch through one model chunk, t_F and t_B, backward in full [s]
    weight : the part of backward that computes gradients of weights t_W [s]

    Returns
    -------
    idle time of the first stage [s]

    Notes
    -----
    The reference has the first term, for weights that take no longer than forward or the other half of backward; where
    they do, they fill no more than the wait, hence the others. Exact for p micro-batches or more.

    References
    ----------
    Qi et al. (2023), Zero Bubble Pipeline Parallelism, arXiv:2401.10241, table 2 (ZB-H1)

    Examples
    --------
    >>> zero_bubble_time(stages=8, forward=1.0, backward=2.0, weight=1.0)
    7.0
    """
    waiting = maximum(forward, backward - weight)
    return (stages - 1) * maximum(forward + backward - 2 * weight, waiting)


def dual_pipe_bubble_time(*, stages: Number, overlapped: Number, backward: Number, weight: Number) -> Any:
    """Idle time of a rank in a step of DualPipe.

    .. math:: t_{idle} = \\left(\\frac{p}{2} - 1\\right)\\left(t_{F\\&B} + t_B - 3\\,t_W\\right)

    Parameters
    ----------
    stages : pipeline degree p, even; of DualPipeV the chunks of the whole model, two a rank [-]
    overlapped : a forward and a backward of one chunk each that run as one t_F&B [s]
    backward : one micro-batch through one chunk, backward in full t_B [s]
    weight : the part of it that computes gradients of weights t_W [s]

    Returns
    -------
    idle time [s]

    Notes
    -----
    Where forward and both halves of backward take equally long, this is what the event recurrence of DualPipeV gives.

    References
    ----------
    DeepSeek-AI (2024), DeepSeek-V3 Technical Report, arXiv:2412.19437, table 2

    Examples
    --------
    >>> dual_pipe_bubble_time(stages=8, overlapped=3.0, backward=2.0, weight=1.0)
    6.0
    """
    return (stages / 2 - 1) * (overlapped + backward - 3 * weight)


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
    return minimum(micro_batches * 1.0, where(greater(chunks, 1), interleaved, plain * 1.0))


def queued_parts(*, launches: Number, queue: Number, stages: Number) -> Any:
    """Parts of a batch that are in a pipeline at once, where one host thread launches the kernels of all stages.

    .. math:: f = \\begin{cases} 1 + \\lfloor c \\rfloor & c \\ge 1 \\\\ n / (n - q) & c < 1 \\end{cases},
        \\quad f \\le p, \\quad c = \\frac{q}{n / p}

    A launch returns at once while the device's queue has room, and else waits for the oldest one to begin. A queue
    holds c passes of its stage. Where that is one or more, the host goes round while so many passes wait for each
    device beside the one that runs. Where it is less, the host is held up in each stage until all but q of its kernels
    are done: the next part enters the first stage when the last one is so far, after T (1 - q / n).

    Parameters
    ----------
    launches : kernels of one pass through all stages n [-]
    queue : launches that wait for one device at most q [-]
    stages : pipeline degree p [-]

    Returns
    -------
    parts in flight f [-]

    Notes
    -----
    For kernels of equal length, and launches that take next to no time. A simulation of such queues kernel by kernel
    gives 1.30 to 1.33 for the first example and 2.0 for the second.

    References
    ----------
    NVIDIA CUDA C++ Programming Guide, Asynchronous Concurrent Execution: kernel launches return before the device has
    completed them; that the queue ends after about a thousand is measured in https://stackoverflow.com/q/53970187

    Examples
    --------
    >>> round(queued_parts(launches=4200, queue=1000, stages=4), 2), queued_parts(launches=3800, queue=1000, stages=4)
    (1.31, 2.0)
    >>> queued_parts(launches=1000, queue=1000, stages=4), queued_parts(launches=4200, queue=1000, stages=1)
    (4, 1.0)
    """
    held = queue * stages / launches
    moving = launches / maximum(launches - queue, launches / stages)
    return minimum(where(greater(1.0, held), moving, 1.0 + floor(held)), stages)
