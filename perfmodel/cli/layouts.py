"""Options that say how a model is spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

import perfmodel as pm
from perfmodel.cli.app import listed
from perfmodel.cli.options import Options
from perfmodel.schedules import schedules

__all__ = ["Spread", "TrainingSpread", "layout"]


@dataclass(frozen=True, kw_only=True)
class Spread(Options):
    """Degrees and placement, whatever is run."""

    tp: Annotated[int, typer.Option(help="Tensor-parallel degree.")] = 1
    pp: Annotated[int, typer.Option(help="Pipeline-parallel degree.")] = 1
    cp: Annotated[int, typer.Option(help="Context-parallel degree.")] = 1
    kv_split: Annotated[
        int, typer.Option(help="Tensor ranks that split a cache in decode which they would else copy.")
    ] = 1
    ep: Annotated[int, typer.Option(help="Expert-parallel degree, out of tp · cp · dp.")] = 1
    expert_tp: Annotated[
        int | None, typer.Option(help="Tensor-parallel degree inside an expert; tp where ep = 1, else 1.")
    ] = None
    dispatch: Annotated[str, typer.Option(help="How tokens reach experts: all_to_all or deduplicated.")] = (
        "all_to_all"
    )
    context_split: Annotated[str, typer.Option("--context", help="ring, all_gather or ulysses.")] = "ring"
    dp: Annotated[int | None, typer.Option(help="Data-parallel degree; follows from the devices.")] = None
    sequence_parallel: Annotated[bool, typer.Option(help="Split norms over the tensor ranks.")] = False
    order: Annotated[str, typer.Option(help="Placement of the axes, innermost first.")] = "tp,cp,dp,pp"
    overlap: Annotated[str, typer.Option(help="Axes whose messages run beside compute.")] = "dp,pp,cp"


@dataclass(frozen=True, kw_only=True)
class TrainingSpread(Options):
    """What training alone has: micro batches, schedules, sharded states."""

    vpp: Annotated[int, typer.Option(help="Model chunks a stage holds.")] = 1
    schedule: Annotated[str, typer.Option(help="auto, " + ", ".join(schedules()) + ".")] = "auto"
    micro_batch: Annotated[int, typer.Option(help="Sequences of one pass on one device.")] = 1
    sharding: Annotated[str, typer.Option(help="none, zero1, zero2, zero3 or hsdp.")] = "zero1"
    shards: Annotated[int | None, typer.Option(help="Ranks that split one copy of the states (hsdp).")] = None
    reshard: Annotated[bool, typer.Option(help="Drop gathered weights after forward (zero3, hsdp).")] = True
    tp_overlap: Annotated[str | None, typer.Option(help="none, ring, pipelined or userbuffers.")] = None


def layout(spread: Spread, training: TrainingSpread | None = None) -> pm.Parallel:
    """The layout that options describe.

    Parameters
    ----------
    spread : degrees and placement
    training : what training adds
    """
    values = spread.values()
    values["context"] = values.pop("context_split")
    for name in ("order", "overlap"):
        values[name] = tuple(listed(values[name]))
    return pm.Parallel(**values, **({} if training is None else training.values()))
