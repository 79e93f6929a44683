"""What enters a model: a micro-batch of a training step, or sequences of inference, as one device sees them."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import InputError
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.walk import Entrance
from perfmodel.workload import Served, Training

__all__ = ["entering", "sample_length", "tokens_of_step", "training_pass", "whole_step"]


def entering(model: Model, work: Training | Served, layout: Parallel, **fields: Any) -> Pass:
    """A pass as one device sees it when it enters the model, with what job and layout say of passes of every kind.

    Parameters
    ----------
    model, work, layout : the job
    fields : of the pass, beside those

    Raises
    ------
    InputError
        the model can't read what the workload gives it
    """
    formats = work.formats
    p = Pass(
        tp=layout.tp,
        cp=layout.cp,
        ep=layout.ep,
        expert_tp=layout.tp_in_experts,
        deduplicated=layout.dispatch == "deduplicated",
        overlap_shared=layout.overlap_shared,
        sequence_parallel=layout.sequence_parallel,
        dtype=formats.dtype,
        core_dtype=formats.core_dtype,
        operand_bytes=formats.operand_bytes,
        fused_attention=work.attention == "flash",
        context=layout.context,
        kernels=work.kernels,
        **fields,
    )
    seen = (getattr(work, name, None) for name in ("source_length", "image_size", "samples"))
    return Entrance(*seen).opened(model, p, length=None)


def training_pass(model: Model, work: Training, layout: Parallel) -> Pass:
    """One micro-batch as one device sees it when it enters the model.

    Parameters
    ----------
    model, work, layout : the job

    Returns
    -------
    the pass

    Raises
    ------
    InputError
        the model can't read what the workload gives it, or the length of its sequences is missing
    """
    length = sample_length(model, work, "sequence_length", usual=2048)
    return entering(
        model,
        work,
        layout,
        sequences=layout.micro_batch,
        queries=length,
        keys=length,
        expert_load=work.expert_load,
        element_bytes=work.formats.activation_bytes,
        gradient_bytes=work.formats.gradient_bytes,
        dropout=work.dropout,
        overlap_tensor=layout.tensor_overlap != "none",
        tensor_ring=layout.tensor_overlap == "ring",
        tensor_buffers=layout.tensor_overlap == "userbuffers",
        overlap_context="cp" in layout.overlap,
        current_scaling=work.scaling == "current",
    )


def sample_length(model: Model, work: Training | Served, name: str, *, usual: int) -> Any:
    """Tokens of one sample, given or fixed by the model; 1 where images or signals say how many there are [-].

    Parameters
    ----------
    model, work : the job
    name : of the workload's field
    usual : what is proposed where it is missing [-]

    Raises
    ------
    InputError
        it is missing, or the model fixes another one
    """
    given, fixed = getattr(work, name), model.fixed_length
    if model.input == "tokens" and fixed is None:
        if given is None:
            raise InputError(
                f"{type(work).__name__}: {name} is missing: model {model.name!r} reads tokens; "
                f"nearest: {name} = {usual}"
            )
        return given
    if given is not None and given not in (0, fixed):
        raise InputError(f"model {model.name!r}: {name} = {given}, but {_fixed(model)}; leave it out")
    return fixed or 1


def _fixed(model: Model) -> str:
    """What a length follows from, in words."""
    if model.input == "image":
        size = " × ".join(map(str, model.extent))
        tokens = model.fixed_length
        return (
            f"an image of {size} becomes {tokens} tokens" if tokens else "its length follows from image_size"
        )
    if model.input == "signal":
        return "its length follows from samples"
    return f"every sample has {model.fixed_length}"


def tokens_of_step(model: Model, work: Training) -> int | None:
    """Tokens of one step, of the model's own sequence; None where samples are no sequences of tokens [-]."""
    counts = model.input == "tokens" and model.fixed_length is None and work.sequence_length is not None
    return work.tokens if counts else None


def whole_step(work: Training, p: Pass) -> Pass:
    """All samples of the step on one imaginary device: what model FLOPs are counted on, whatever the kernels."""
    alone = p._replace(tp=1, cp=1, ep=1, expert_tp=1, expert_load=1)
    return alone._replace(sequences=work.global_batch, sequence_parallel=False, fused_attention=True)
