"""Rules of pipelines: layers for every chunk, whole micro-batches, and what each schedule asks for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.errors import InputError
from perfmodel.ops import certain, greater, maximum, where
from perfmodel.parallel.breach import Breach
from perfmodel.parallel.degrees import Degrees
from perfmodel.schedules import schedule_class

if TYPE_CHECKING:
    from perfmodel.model import Model
    from perfmodel.workload import Served, Training

__all__ = [
    "batch_divides", "chunk_has_layer", "ends_leave_equal_stages", "interleaving_has_stages",
    "pipeline_has_one_stream", "schedule_fits",
]  # fmt: skip


def pipeline_has_one_stream(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """A pipeline hands one tensor from stage to stage, and each stage holds weights of its own."""
    if certain(layout.pp == 1):
        return
    why = ""
    if model.source is not None:
        why = "reads a source at every layer"
    elif any(block.shared for block in model.blocks):
        why = "has layers that share their weights"
    elif not model.hidden or any(layer.resizes for block in model.blocks for layer in block.layers):
        why = "has no stream of one width between its layers"
    if why:
        yield Breach(
            layout.pp != 1,
            f"pp hands one stream from stage to stage, but the model {why}",
            lambda: (
                f"pp = {layout.pp} hands one stream from stage to stage, but {model.name} {why}; valid: pp = 1"
            ),
        )


def chunk_has_layer(layout: Degrees, model: Model, work: Training | Served) -> Iterator[Breach]:
    """Every chunk of every stage holds a layer; embedding and head may stand in for one each."""
    chunks, depth = layout.pp * layout.vpp, model.depth

    def told() -> str:
        pp = min(layout.pp, depth)
        return (
            f"pp · vpp = {layout.pp} · {layout.vpp} = {chunks} needs a layer for every chunk, and the model has "
            f"{depth}; valid: pp · vpp up to {depth}; nearest: pp = {pp}, vpp = {depth // pp}"
        )

    most = depth + where(greater(layout.pp, 1), 2, 0)
    yield Breach(chunks > most, "pp · vpp exceeds the model's layers", told)


def interleaving_has_stages(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Interleaving needs a pipeline, and micro-batches in rounds of its stages."""
    pp, vpp = layout.pp, layout.vpp
    yield Breach(
        (vpp != 1) & (pp == 1),
        "vpp interleaves several stages, and pp = 1",
        lambda: f"vpp = {vpp} interleaves the chunks of several stages, and pp = 1; nearest: vpp = 1",
    )
    if layout.schedule not in ("auto", "interleaved-1f1b"):
        return
    one: Any = layout.dp * layout.micro_batch  # type: ignore[operator]  # dp is set
    passes = work.global_batch // one

    def told() -> str:
        near = max(passes // pp, 1) * pp * one
        return (
            f"vpp = {vpp} takes micro-batches in rounds of pp = {pp}, which does not divide "
            f"{passes}; nearest: global_batch = {near}, or vpp = 1"
        )

    whole = (work.global_batch % one == 0) & (pp > 1) & (vpp != 1)
    yield Breach(whole & (passes % pp != 0), "vpp needs micro-batches in rounds of pp", told)


def batch_divides(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """The global batch is a whole number of micro-batches on every data-parallel rank."""
    one: Any = layout.dp * layout.micro_batch  # type: ignore[operator]  # dp is set

    def told() -> str:
        near = max(round(work.global_batch / one), 1) * one
        return (
            f"dp · micro_batch = {layout.dp} · {layout.micro_batch} = {one} does not divide the global batch "
            f"{work.global_batch}; nearest: global_batch = {near}"
        )

    yield Breach(work.global_batch % one != 0, "dp · micro_batch does not divide the global batch", told)


def schedule_fits(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """A named schedule takes so many chunks and micro-batches."""
    if layout.schedule == "auto":
        return
    kind = schedule_class(layout.schedule)
    one: Any = layout.dp * layout.micro_batch  # type: ignore[operator]  # dp is set
    asked = (layout.pp != 1) & (work.global_batch % one == 0)
    if kind.chunks_needed is not None:
        yield Breach(
            asked & (layout.vpp != kind.chunks_needed),
            f"schedule = {kind.name!r} has {kind.chunks_needed} chunks a stage",
            lambda: (
                f"schedule = {kind.name!r} has {kind.chunks_needed} chunks a stage, and vpp = {layout.vpp}; "
                f"nearest: vpp = {kind.chunks_needed}"
            ),
        )
        asked = asked & (layout.vpp == kind.chunks_needed)
    if kind.name not in ("1f1b", "interleaved-1f1b"):  # these have rules of their own here, and fewer
        shape = (layout.pp, work.global_batch // one, layout.vpp)
        yield from _refused(kind.name, asked, shape)


def _refused(name: str, asked: Any, shape: tuple[Any, Any, Any]) -> Iterator[Breach]:
    """What a schedule says of its shape; each shape of a column is asked once."""
    reason = f"schedule = {name!r} refuses so many stages and micro-batches"
    if not any(isinstance(one, np.ndarray) for one in (asked, *shape)):
        for fault in _shape_faults(name, *map(int, shape)) if asked else ():
            yield Breach(True, reason, partial(str, f"schedule = {name!r}: {fault}"))
        return
    asked, *columns = np.broadcast_arrays(asked, *shape)
    shapes = np.stack([column[asked] for column in columns], axis=1).astype(int)
    each, where_from = np.unique(shapes, axis=0, return_inverse=True)
    broken = np.zeros(asked.shape, dtype=bool)
    refused = np.array([bool(_shape_faults(name, *map(int, one))) for one in each], dtype=bool)
    broken[asked] = refused[where_from.ravel()]
    yield Breach(broken, reason, partial(str, reason))


@lru_cache(maxsize=65536)
def _shape_faults(name: str, stages: int, micro_batches: int, chunks: int) -> tuple[str, ...]:
    """What a schedule has against a shape."""
    try:
        schedule_class(name)(stages=stages, micro_batches=micro_batches, chunks=chunks)
    except InputError as error:
        return error.faults
    return ()


def ends_leave_equal_stages(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Stages between ends of a given size share the other layers evenly, and each divides into its chunks."""
    fields = ("first_stage_layers", "last_stage_layers")
    given = {name: value for name in fields if (value := getattr(layout, name)) is not None}
    if not given:
        return
    pp, vpp = layout.pp, layout.vpp
    others, rest = pp - len(given), model.depth - sum(given.values())
    free = f"nearest: {' and '.join(f'{name} = None' for name in given)}, all dealt evenly"

    def told() -> str:
        return ", ".join(f"{name} = {value}" for name, value in given.items())

    def uneven() -> str:
        return (
            f"{told()} leave {rest} of {model.depth} layers to {others} stages of vpp = {vpp} chunks, which must "
            f"share them evenly; {free}"
        )

    alone = pp == 1
    yield Breach(
        alone,
        "first or last_stage_layers, but pp = 1",
        lambda: f"{told()}, but one stage holds all layers; {free}",
    )
    yield Breach(
        layout.folded & (pp != 1),
        "first or last_stage_layers, but the schedule deals its chunks evenly",
        lambda: f"{told()}, but {layout.schedule} deals its chunks evenly; {free}",
    )
    if layout.folded:
        return
    shared = where(greater(others, 0), rest % (maximum(others, 1) * vpp), rest)
    equal = (rest >= 0) & (shared == 0)
    unequal = (rest < 0) | (shared != 0)
    yield Breach((pp != 1) & unequal, "first and last_stage_layers leave no even share to the others", uneven)
    cut = sum(value % vpp != 0 for value in given.values()) > 0
    yield Breach(
        (pp != 1) & equal & cut,
        "first and last_stage_layers do not divide into vpp chunks",
        lambda: f"{told()} must divide into vpp = {vpp} chunks; {free}",
    )
