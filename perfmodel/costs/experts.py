"""Messages of expert parallelism hidden behind the work of another micro-batch."""

from __future__ import annotations

from typing import Any

from perfmodel.work import Collective, Overlap, Repeat, Serial, Work

__all__ = ["beside_another"]


def beside_another(forward: Serial, backward: Serial, micro_batches: Any) -> tuple[Serial, Serial]:
    """One micro-batch's forward beside another's backward: tokens of each travel while the other computes.

    The first forward and the last backward of a step have no other one beside them.

    Parameters
    ----------
    forward, backward : of the same layers
    micro_batches : passes of one step [-]

    Returns
    -------
    the same work, its messages to and from experts taken together and hidden

    References
    ----------
    DeepSeek-AI (2024), DeepSeek-V3 Technical Report, arXiv:2412.19437, section 3.2.1 (DualPipe); Megatron-LM,
    --overlap-moe-expert-parallel-comm

    Examples
    --------
    >>> work = Serial("layer", (Collective("ep dispatch", "all_to_all", 8, "ep"), Serial("attention", ())))
    >>> [part.name for part in beside_another(work, work, 4)[0].parts]
    ['ep messages without another micro-batch', 'ep messages']
    """
    (ahead, sent), (back, returned) = _apart(forward), _apart(backward)
    return (
        _hidden(ahead, sent, behind=back, micro_batches=micro_batches),
        _hidden(back, returned, behind=ahead, micro_batches=micro_batches),
    )


def _hidden(work: Work, messages: list[Work], *, behind: Work, micro_batches: Any) -> Serial:
    sent, alone = Serial("ep messages", tuple(messages)), 1 / micro_batches
    parts = work.parts if isinstance(work, Serial) else (work,)
    first = Repeat("ep messages without another micro-batch", alone, sent)
    return Serial(
        work.name, (*parts, first, Overlap("ep messages", Repeat("others", 1 - alone, sent), behind))
    )


def _apart(work: Work) -> tuple[Work, list[Work]]:
    """A tree without its messages to and from experts, and those."""
    match work:
        case Collective(axis="ep"):
            return Serial(work.name, ()), [work]
        case Serial():
            kept, sent = zip(*(_apart(part) for part in work.parts), strict=True) if work.parts else ((), ())
            rest = tuple(part for part in kept if not (isinstance(part, Serial) and not part.parts))
            return Serial(work.name, rest), [one for each in sent for one in each]
        case Repeat():
            inner, sent_inner = _apart(work.work)
            return work._replace(work=inner), [Repeat(work.name, work.times, one) for one in sent_inner]
        case _:
            return work, []
