"""Rules of a valid layout for inference, beside those that hold for training, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from perfmodel.parallel.breach import Breach
from perfmodel.parallel.degrees import Degrees

if TYPE_CHECKING:
    from perfmodel.layers import Layer
    from perfmodel.model import Model
    from perfmodel.workload import Served

__all__ = [
    "batch_reaches_replicas", "context_is_known", "generated_by_a_decoder", "one_chunk_a_stage",
    "sequences_are_whole", "split_caches_are_copies",
]  # fmt: skip


def batch_reaches_replicas(layout: Degrees, model: Model, work: Served) -> Iterator[Breach]:
    """Every replica has as many sequences as the others, and every stage as many in turn."""
    batch, parts = getattr(work, "batch", None), getattr(work, "passes", None)
    dp: Any = 1 if layout.dp is None else layout.dp
    if batch is not None:

        def told() -> str:
            near = max(round(batch / dp), 1) * dp
            return f"dp = {dp} replicas do not share the batch of {batch} evenly; nearest: batch = {near}"

        yield Breach(batch % dp != 0, "dp does not divide the batch", told)
    if parts is None:
        return
    whole: Any = 0 if batch is None else batch
    yield Breach(
        (parts > layout.pp) | (whole % (dp * parts) != 0),
        "passes exceed the stages or do not divide a replica's batch",
        lambda: (
            f"passes = {parts} cuts a replica's batch of {whole // dp} for the pp = {layout.pp} stages; it must "
            f"divide the batch and be at most pp; nearest: passes = None"
        ),
    )


def one_chunk_a_stage(layout: Degrees, model: Model, work: Served) -> Iterator[Breach]:
    """Chunks of a stage hide the bubble of backward, which inference has not."""
    yield Breach(
        layout.vpp != 1,
        "vpp interleaves forward with backward, and inference has none",
        lambda: (
            f"vpp = {layout.vpp} interleaves forward with backward, and inference has none; nearest: vpp = 1"
        ),
    )


def split_caches_are_copies(layout: Degrees, model: Model, work: Served) -> Iterator[Breach]:
    """Ranks split the cache of a sequence where they would else hold the same keys and values."""
    heads = max((_cached_heads(layer) for layer, _ in model.layers()), default=0)
    copies: Any = layout.tp // max(heads, 1)

    def told() -> str:
        valid = [n for n in range(1, max(copies, 1) + 1) if layout.tp % n == 0]
        return (
            f"kv_split = {layout.kv_split} splits caches of which tp = {layout.tp} ranks hold copies, and the "
            f"{heads} cached heads of {model.name} leave {max(copies, 1)} of each; valid: "
            f"{', '.join(map(str, valid))}; nearest: kv_split = {valid[-1]}"
        )

    yield Breach(
        (layout.kv_split > 1) & ((layout.kv_split > copies) | (layout.tp % layout.kv_split != 0)),
        "kv_split exceeds the copies that tp leaves of each cached head",
        told,
    )


def _cached_heads(layer: Layer) -> int:
    """Heads of keys that a layer keeps of each token; a latent is one [-]."""
    if not layer.kv_bytes(1, 1):
        return 0
    return getattr(layer, "kv_heads", 1)


def sequences_are_whole(layout: Degrees, model: Model, work: Served) -> Iterator[Breach]:
    """Context parallelism cuts prompts; a step of decode has nothing to cut."""
    yield Breach(
        (layout.cp > 1) & (work.output_length > 1),
        "cp cuts the prompts, and decode has one token of each sequence",
        lambda: (
            f"cp = {layout.cp} cuts the prompts, and decode has one token of each sequence; valid with "
            f"output_length = 1 only; nearest: cp = 1"
        ),
    )


def generated_by_a_decoder(layout: Degrees, model: Model, work: Served) -> Iterator[Breach]:
    """Encoders and models of images read, and generate nothing."""
    yield Breach(
        (work.output_length > 1) & (not model.generates),
        "the model generates no tokens",
        lambda: (
            f"output_length = {work.output_length}, but {model.name} reads and generates nothing; valid: 0 or 1 "
            f"(one pass); nearest: output_length = 1"
        ),
    )


def context_is_known(layout: Degrees, model: Model, work: Served) -> Iterator[Breach]:
    """The last token has a position that the model knows."""
    most, prompt = model.most_positions, work.input_length
    if most is None or prompt is None:
        return
    last = prompt + max(work.output_length - 1, 0)
    yield Breach(
        prompt > most,
        "input_length exceeds the model's positions",
        lambda: (
            f"input_length = {prompt} exceeds the {most} positions of {model.name}; nearest: input_length = {most}"
        ),
    )
    yield Breach(
        (prompt <= most) & (last > most),
        "input_length + output_length exceeds the model's positions",
        lambda: (
            f"input_length + output_length - 1 = {prompt} + {work.output_length} - 1 = {last} exceeds the {most} "
            f"positions of {model.name}; nearest: output_length = {most - prompt + 1}"
        ),
    )
