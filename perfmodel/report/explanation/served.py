"""What inference and serving have in common, explained: how the engine runs them, and memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.report.explanation.entry import Entry
from perfmodel.units import show

__all__ = ["as_run", "served_memory"]

RUNS = {
    "kernels": "pointwise work by", "attention": "attention", "products": "products of linear layers",
    "grouped_cache": "shared keys read once", "prompt_chunk": "tokens of a prompt that pass together",
    "casts_weights": "weights cast in each pass", "unpack_rows": "weights written out from so many tokens on",
    "quantised_throughout": "fewer bits between products, too",
}  # fmt: skip
"""What an engine fills in where the job leaves it open."""


def as_run(est: Any) -> Iterator[Entry]:
    """How the engine runs what the job leaves open.

    Parameters
    ----------
    est : of inference or serving

    Yields
    ------
    one entry
    """
    work, given = est.as_run, est.work.model_fields_set
    engine = est.efficiency.software or "default"
    values = {name: getattr(work, name) for name in RUNS if name not in given}
    told = {RUNS[name]: str(value) for name, value in values.items() if value not in (None, False)}
    maths = "what the job says; where it leaves it open, what the engine's recipe says"
    yield Entry("as the engine runs it", engine, maths, told, f"engine {engine}, recipe")


def served_memory(est: Any) -> Iterator[Entry]:
    """Each kind of memory on the fullest stage, and what the engine takes of the device.

    Parameters
    ----------
    est : of inference or serving

    Yields
    ------
    one entry a kind
    """
    memory, formats, layout = est.memory, est.work.formats, est.layout
    yield Entry(
        "memory: weights",
        show(memory.weights, "B"),
        "parameters of the stage on one rank x bytes of their format, scales included",
        {
            "matrices": f"{8 * formats.weight_bytes:g} bits",
            "routed experts": f"{8 * formats.expert_bytes:g} bits",
            "token table and head": f"{8 * formats.head_bytes:g} bits",
            "tp": str(layout.tp),
            "stage": memory.stage,
        },
        "perfmodel.workload.quantisation",
    )
    if est.model.generates:
        yield Entry(
            "memory: cache",
            show(memory.cache, "B"),
            "sequences of a replica x bytes of one at its longest",
            {
                "sequences": f"{memory.sequences:g}",
                "of one": show(memory.per_sequence, "B"),
                "of one token more": show(memory.per_token, "B"),
                "element": f"{8 * formats.kv_bytes:g} bits",
            },
            "perfmodel.costs.serving_memory",
        )
    yield Entry(
        "memory: activations",
        show(memory.activations, "B"),
        "tensors of the largest layer with what enters and leaves it, or the logits",
        {},
        "perfmodel.costs.serving_memory",
    )
    declared, engine = est.efficiency.overhead, est.efficiency.software or "default"
    yield Entry(
        "memory: overhead",
        show(memory.overhead, "B"),
        "context + the engine's workspace + communication x axes of more than one rank",
        {
            "context": show(declared.context, "B"),
            "workspace": show(memory.context - declared.context, "B"),
            "communication": show(declared.communication, "B"),
        },
        f"efficiency {est.efficiency.id} and engine {engine}, declared",
    )
    yield Entry(
        "memory: available",
        show(memory.available, "B"),
        "share that the engine takes x capacity of the device - what it leaves free beside the cache",
        {
            "share": f"{memory.share:.0%}",
            "capacity": show(memory.capacity, "B"),
            "left free": show(memory.share * memory.capacity - memory.available, "B"),
        },
        f"engine {engine}, recipe.memory_share and recipe.cache_share",
    )
    yield Entry(
        "memory: room for the cache",
        show(memory.room, "B"),
        "share of the cache x (what the engine takes - all else)",
        {"share": f"{memory.cache_share:.0%}"},
        f"engine {engine}, recipe.cache_share",
    )
