"""What enters a model in a training step: one micro-batch as one device sees it."""

from __future__ import annotations

from typing import NoReturn

from perfmodel.errors import InputError
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.walk import Entrance
from perfmodel.workload import Training

__all__ = ["tokens_of_step", "training_pass", "whole_step"]


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
    formats, length = work.formats, _length(model, work)
    p = Pass(
        sequences=layout.micro_batch,
        queries=length,
        keys=length,
        tp=layout.tp,
        cp=layout.cp,
        ep=layout.ep,
        expert_tp=layout.tp_in_experts,
        expert_load=work.expert_load,
        deduplicated=layout.dispatch == "deduplicated",
        overlap_shared=layout.overlap_shared,
        sequence_parallel=layout.sequence_parallel,
        dtype=formats.dtype,
        core_dtype=formats.core_dtype,
        operand_bytes=formats.operand_bytes,
        element_bytes=formats.activation_bytes,
        gradient_bytes=formats.gradient_bytes,
        fused_attention=work.attention == "flash",
        dropout=work.dropout,
        overlap_tensor=layout.tensor_overlap != "none",
        tensor_ring=layout.tensor_overlap == "ring",
        tensor_buffers=layout.tensor_overlap == "userbuffers",
        overlap_context="cp" in layout.overlap,
        context=layout.context,
        kernels=work.kernels,
        current_scaling=work.scaling == "current",
    )
    entrance = Entrance(work.source_length, work.image_size, work.samples)
    return entrance.opened(model, p, length=None)


def _length(model: Model, work: Training) -> int:
    """Tokens of one sequence, given or fixed by the model; 1 where images or signals say how many there are [-]."""
    given, fixed = work.sequence_length, model.fixed_length
    if model.input == "tokens" and fixed is None:
        if given is None:
            raise InputError(
                f"Training: sequence_length is missing: model {model.name!r} reads tokens; "
                "nearest: sequence_length = 2048"
            )
        return given
    if given is not None and given != fixed:
        _refuse_length(model, given)
    return fixed or 1


def _refuse_length(model: Model, length: int) -> NoReturn:
    fixed, told = model.fixed_length, f"every sample has {model.fixed_length}"
    if model.input == "image":
        size = " × ".join(map(str, model.extent))
        told = f"an image of {size} becomes {fixed} tokens" if fixed else "its length follows from image_size"
    elif model.input == "signal":
        told = "its length follows from samples"
    raise InputError(f"model {model.name!r}: sequence_length = {length}, but {told}; leave it out")


def tokens_of_step(model: Model, work: Training) -> int | None:
    """Tokens of one step, of the model's own sequence; None where samples are no sequences of tokens [-]."""
    counts = model.input == "tokens" and model.fixed_length is None and work.sequence_length is not None
    return work.tokens if counts else None


def whole_step(work: Training, p: Pass) -> Pass:
    """All samples of the step on one imaginary device: what model FLOPs are counted on, whatever the kernels."""
    alone = p._replace(tp=1, cp=1, ep=1, expert_tp=1, expert_load=1)
    return alone._replace(sequences=work.global_batch, sequence_parallel=False, fused_attention=True)
