"""Rules of a valid layout for inference, beside those that hold for training, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from perfmodel.parallel.degrees import Degrees

if TYPE_CHECKING:
    from perfmodel.model import Model
    from perfmodel.workload import Served

__all__ = ["batch_reaches_replicas", "context_is_known", "one_chunk_a_stage", "sequences_are_whole"]


def batch_reaches_replicas(layout: Degrees, model: Model, work: Served) -> Iterator[str]:
    """Every replica has as many sequences as the others."""
    batch, dp = getattr(work, "batch", None), layout.dp or 1
    if batch is not None and batch % dp:
        near = max(round(batch / dp), 1) * dp
        yield f"dp = {dp} replicas do not share the batch of {batch} evenly; nearest: batch = {near}"
    parts = getattr(work, "passes", None)
    if parts is None:
        return
    if parts > layout.pp or (batch or 0) % (dp * parts):
        yield (
            f"passes = {parts} cuts a replica's batch of {(batch or 0) // dp} for the pp = {layout.pp} stages; it must "
            f"divide the batch and be at most pp; nearest: passes = None"
        )


def one_chunk_a_stage(layout: Degrees, model: Model, work: Served) -> Iterator[str]:
    """Chunks of a stage hide the bubble of backward, which inference has not."""
    if layout.vpp != 1:
        yield f"vpp = {layout.vpp} interleaves forward with backward, and inference has none; nearest: vpp = 1"


def sequences_are_whole(layout: Degrees, model: Model, work: Served) -> Iterator[str]:
    """Context parallelism cuts prompts; a step of decode has nothing to cut."""
    if layout.cp > 1 and work.output_length > 1:
        yield (
            f"cp = {layout.cp} cuts the prompts, and decode has one token of each sequence; valid with "
            f"output_length = 1 only; nearest: cp = 1"
        )


def context_is_known(layout: Degrees, model: Model, work: Served) -> Iterator[str]:
    """The last token has a position that the model knows."""
    most, prompt = model.most_positions, work.input_length
    if most is None or prompt is None:
        return
    if prompt > most:
        yield f"input_length = {prompt} exceeds the {most} positions of {model.name}; nearest: input_length = {most}"
    elif prompt + work.output_length > most:
        both = f"{prompt} + {work.output_length} = {prompt + work.output_length}"
        yield (
            f"input_length + output_length = {both} exceeds the {most} positions of {model.name}; nearest: "
            f"output_length = {most - prompt}"
        )
