"""How layers are dealt to pipeline stages, and how many micro-batches each keeps alive."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from perfmodel.formulas.pipeline import live_micro_batches
from perfmodel.ops import at_least, ceil, greater, maximum, minimum, where
from perfmodel.parallel import Parallel
from perfmodel.schedules import Shape, over_shapes, schedule, schedule_class
from perfmodel.work import Stage, Stages

__all__ = ["Shares", "alive", "deal", "shares"]


class Shares(NamedTuple):
    """Share of the model's layers that a stage holds.

    Parameters
    ----------
    first, middle, last : share of all layers on that stage [-]
    """

    first: Any
    middle: Any
    last: Any


def shares(depth: Any, stages: Any, chunks: Any) -> Shares:
    """Deal layers evenly to the chunks of all stages; the first and the last stage come up short if they must.

    Where the layers do not come out even, embedding and head take the place of a layer, as in Megatron-LM's
    `account-for-embedding-in-pipeline-split` and its loss twin; the last stage gives up its layer first. Where even two
    empty ends leave too few layers, some middle stages come up short as well, and `middle` is the fullest of them.

    Parameters
    ----------
    depth : layers of the model [-]
    stages : pipeline degree [-]
    chunks : model chunks a stage holds [-]

    Returns
    -------
    shares of the layers; all of them on each where there is one stage

    Examples
    --------
    >>> shares(126, 8, 8)
    Shares(first=0.11904761904761904, middle=0.12698412698412698, last=0.11904761904761904)
    >>> shares(80, 1, 1)
    Shares(first=1.0, middle=1.0, last=1.0)
    """
    most = ceil(depth / (stages * chunks)) * chunks
    missing = most * stages - depth
    last = most - minimum(ceil(missing / 2), most)
    first = most - minimum(maximum(missing - (most - last), 0), most)
    alone = at_least(1, stages)
    return Shares(*(where(alone, 1.0, layers / depth) for layers in (first, most, last)))


def deal(depth: Any, layout: Parallel) -> Stages:
    """What the first, a middle and the last stage hold.

    A model that is folded like a V has both ends on its first rank. With one stage each of the three is the whole
    model; with two, what is called the middle is the first.

    Parameters
    ----------
    depth : layers of the model [-]
    layout : stages, chunks, schedule, and how many layers the ends hold where that is given

    Returns
    -------
    three stages

    Examples
    --------
    >>> [stage.share for stage in deal(61, Parallel(pp=4, first_stage_layers=16, last_stage_layers=13))]
    [0.26229508196721313, 0.26229508196721313, 0.21311475409836064]
    """
    pp = layout.pp
    alone, middle = where(at_least(1, pp), 1.0, 0.0), greater(pp, 2)
    if layout.folded:  # one long pipeline of two chunks a rank, bent in its middle
        chunk = shares(depth, pp * layout.vpp, 1)
        first = where(at_least(1, pp), 1.0, chunk.first + chunk.last)
        inner = where(middle, 2 * chunk.middle, first)
        ends = where(middle, 0.0, 1.0)
        return Stages(
            Stage("first", first, 1.0, 1.0, 0),
            Stage("middle", inner, ends, ends, where(middle, 1, 0)),
            Stage("last", where(at_least(1, pp), 1.0, 2 * chunk.middle), alone, alone, pp - 1),
        )
    held = _given(depth, layout)
    return Stages(
        Stage("first", held.first, 1.0, alone, 0),
        Stage("middle", where(middle, held.middle, held.first), where(middle, 0.0, 1.0), alone,
              where(middle, 1, 0)),
        Stage("last", held.last, alone, 1.0, pp - 1),
    )  # fmt: skip


def _given(depth: Any, layout: Parallel) -> Shares:
    """Shares of the layers where the ends hold what they are told, and the other stages the rest evenly."""
    ends = [layers for layers in (layout.first_stage_layers, layout.last_stage_layers) if layers is not None]
    if not ends:
        return shares(depth, layout.pp, layout.vpp)
    others = maximum(layout.pp - len(ends), 1)
    middle = (depth - sum(ends)) / others
    held = (
        middle if layers is None else layers
        for layers in (layout.first_stage_layers, middle, layout.last_stage_layers)
    )
    return Shares(*(layers / depth for layers in held))


def alive(layout: Parallel, micro_batches: Any, stage: Any) -> Any:
    """Micro-batches whose activations a stage keeps at its peak, a chunk counting its share of the stage [-].

    Parameters
    ----------
    layout : schedule, stages and chunks
    micro_batches : passes of one step [-]
    stage : counted from 0 [-]

    Examples
    --------
    >>> [alive(Parallel(pp=4, schedule=name), 16, 0) for name in ("1f1b", "gpipe", "zb1p")]
    [4.0, 16, 4.0]
    """
    match layout.pipeline_schedule:
        case "1f1b" | "interleaved-1f1b":
            return live_micro_batches(
                stage=stage, stages=layout.pp, chunks=layout.vpp, micro_batches=micro_batches
            )
        case "gpipe" | "looped-bfs":
            return micro_batches
        case name:
            shape = {"stages": layout.pp, "micro_batches": micro_batches, "chunks": layout.vpp}
            known = schedule_class(name).live(rank=stage, **shape)
            if known is not None:
                return where(at_least(1, layout.pp), 1.0, known / layout.vpp)

            def held(shape: Shape, place: Any) -> Any:
                pp, passes, vpp = shape
                if pp == 1:
                    return place * 0 + 1.0
                plan = schedule(name, stages=pp, micro_batches=passes, chunks=vpp)
                found = np.array(plan.live_micro_batches)[np.asarray(place, dtype=int)]
                return found if found.ndim else float(found)

            return over_shapes(name, (layout.pp, micro_batches, layout.vpp), held, stage)
