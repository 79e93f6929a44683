"""The strategies by name, and the function that finds them."""

from __future__ import annotations

from functools import partial

from perfmodel.costs.entering import training_pass
from perfmodel.costs.messages.base import Job, Message, Strategy, merged_messages
from perfmodel.costs.messages.data import ddp, fsdp2, hsdp
from perfmodel.costs.messages.others import experts, gathered_context, pipeline, ring_context, ulysses
from perfmodel.costs.messages.tensor import tensor, whole_gradients
from perfmodel.errors import UnsupportedError, unknown
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["STRATEGIES", "messages"]

_KEPT_ENDS = partial(fsdp2, regather_ends=False)

STRATEGIES: dict[str, tuple[Strategy, ...]] = {
    "ddp": (ddp,),
    "fsdp2": (fsdp2,),
    "fsdp2 zero2": (partial(fsdp2, regather=False),),
    "hsdp": (hsdp,),
    "tp": (tensor,),
    "tp merged": (partial(tensor, merged=True),),
    "tp+sp": (partial(tensor, sequence=True),),
    "fsdp2 x tp": (_KEPT_ENDS, tensor),
    "fsdp2 x tp+sp": (_KEPT_ENDS, partial(tensor, sequence=True), whole_gradients),
    "cp ring": (ring_context,),
    "cp all-gather": (gathered_context,),
    "ulysses": (ulysses,),
    "ep": (experts,),
    "pp": (pipeline,),
    "pp scatter-gather": (partial(pipeline, scattered=True),),
}
"""Data, tensor, context, expert and pipeline parallelism as real software does them. fsdp2 and hsdp give
`reshard_after_forward=True` to the root group as well; with tensor parallelism it is left at its default."""


def messages(
    model: Model, work: Training, layout: Parallel, strategy: str, *, replicas: int = 1
) -> tuple[Message, ...]:
    """Messages that one rank takes part in during one optimizer step.

    What `estimate` times are the messages in its tree of work, Megatron-LM's; these are those of the named software, to
    be held against a profile.

    Parameters
    ----------
    model, work, layout : the job, dp set
    strategy : a name of `STRATEGIES`
    replicas : of the dp ranks, groups that each hold the whole model (hsdp) [-]

    Returns
    -------
    one entry for each phase, kind and axis

    Raises
    ------
    UnknownNameError
        no such strategy
    UnsupportedError
        a model that reads a source or shares its layers, or tensor parallelism of a layer whose messages are not known

    Examples
    --------
    >>> work, layout = Training(global_batch=16, sequence_length=4096), Parallel(tp=8, dp=2)
    >>> for message in messages(Model.load("llama-3.1-8b"), work, layout, "tp"):
    ...     print(message.phase, message.kind, message.count, message.bytes / 2**30)
    forward all_reduce 520.0 16.25
    forward all_gather 8.0 7.828125
    backward all_reduce 1288.0 40.25
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if model.source is not None or any(block.shared for block in model.blocks):
        what = "that read a source" if model.source is not None else "whose layers share their weights"
        raise UnsupportedError(
            f"model {model.name!r}: messages of models {what} are not known for any strategy"
        )
    job = Job(
        model=model,
        p=training_pass(model, work, layout),
        formats=work.formats,
        micro_batches=layout.micro_batches(work.global_batch),
        shards=layout.cp * layout.dp / replicas,  # type: ignore[operator]  # dp is set
        replicas=replicas,
        stages=layout.pp,
        chunks=layout.vpp,
    )
    return merged_messages(sent for part in STRATEGIES[strategy] for sent in part(job))
