"""What a model is, before any machine: its layers, parameters, operations and cache, as text and as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from perfmodel.errors import InputError
from perfmodel.layers import Layer
from perfmodel.model import Model
from perfmodel.units import show

__all__ = ["CONTEXT", "described", "model_table"]

CONTEXT = 8192
"""Tokens of the sequence whose cache is described, unless another number is given [-]."""
KV_BYTES = 2
"""Of a key or a value in the cache [B]."""


def described(model: Model, *, context: int = CONTEXT) -> dict[str, Any]:
    """A model as plain values.

    Parameters
    ----------
    model : any
    context : tokens of the sequence whose cache is described [-]

    Returns
    -------
    name, family, layers [-]; parameters: all, active (`active`: by each convention) and by kind [-]; flops_per_token of
    a forward pass over one token, or flops_per_sample where samples are no tokens [FLOP]; kv_bytes_per_token in 16
    bits, needed and reserved, at a context [B]; state_bytes of a sequence, of recurrent layers [B]; blocks with
    their layers; sources

    Raises
    ------
    InputError
        the context is no positive number

    Examples
    --------
    >>> found = described(Model.load("gemma-3-1b"))
    >>> found["parameters"], found["kv_bytes_per_token"]
    (999885952, {'needed': 5504, 'reserved': 26624, 'context': 8192, 'element_bytes': 2})
    """
    if context < 1:
        raise InputError(f"context = {context} must be at least 1")
    per_token, per_sample = _operations(model)
    return {
        "name": model.name,
        "family": model.family,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "active": {
            "all": model.active(),
            "without_embedding": model.active(embedding=False),
            "without_embedding_and_head": model.active(embedding=False, head=False),
        },
        "layers": model.depth,
        "hidden": model.hidden,
        "vocabulary": model.vocabulary,
        "flops_per_token": per_token,
        "flops_per_sample": per_sample,
        "kv_bytes_per_token": _cache(model, context),
        "state_bytes": int(sum(layer.state_bytes(KV_BYTES) * times for layer, times in model.layers())),
        "parameters_by_kind": model.parameters_by_kind(),
        "blocks": [*_blocks(model)],
        "sources": list(model.sources),
    }


def _operations(model: Model) -> tuple[int | None, int | None]:
    """Forward operations of one token, what it reads from done, or of one sample where there are no tokens [FLOP]."""
    try:
        if model.input == "tokens" and model.fixed_length is None:
            return model.flops(mode="decode"), None
        return None, model.flops()
    except InputError:  # a model of images or signals that has no size of its own
        return None, None


def _cache(model: Model, context: int) -> dict[str, Any]:
    sizes = [
        model.kv_bytes(context=context, dtype_bytes=KV_BYTES, reserved=each) / context
        for each in (False, True)
    ]
    needed, reserved = (int(size) if size == int(size) else size for size in sizes)
    return {"needed": needed, "reserved": reserved, "context": context, "element_bytes": KV_BYTES}


def _blocks(model: Model, place: str = "") -> Iterator[dict[str, Any]]:
    """Entry, blocks and exit, each with its kinds of layers; those of the model that it reads from first."""
    if model.source is not None:
        yield from _blocks(model.source, "source ")
    parts = [("entry", model.entry, 1, 1)]
    parts += [("block", block.layers, block.repeat, block.copies) for block in model.blocks]
    parts += [("exit", model.exit, 1, 1)]
    for name, layers, repeat, copies in parts:
        if layers:
            kinds = _kinds(layers)
            one = sum(kind["count"] * kind["parameters"] for kind in kinds)
            yield {"place": place + name, "repeat": repeat, "parameters": one * copies, "layers": kinds}


def _kinds(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Equal layers of one repetition together."""
    return [
        {
            "kind": layer.label,
            "variant": _variant(layer),
            "count": sum(other == layer for other in layers),
            "parameters": sum(weight.size for weight in layer.weights()),
        }
        for i, layer in enumerate(layers)
        if layer not in layers[:i]
    ]


def _variant(layer: Layer) -> str:
    """What cuts a layer's attention short, if anything does."""
    cuts = {name: getattr(layer, name, None) for name in ("window", "chunk")}
    return ", ".join(f"{name} {value:,}" for name, value in cuts.items() if isinstance(value, int))


def model_table(model: Model, *, context: int = CONTEXT) -> str:
    """A model on one screen.

    Parameters
    ----------
    model : any
    context : tokens of the sequence whose cache is described [-]

    Returns
    -------
    plain text

    Examples
    --------
    >>> print(model_table(Model.load("tinyllama-1.1b")).partition("exit")[0])
    tinyllama-1.1b (llama)
      parameters          1,100,048,384
      active parameters   all
      layers              22
      FLOPs a token       2,069,020,672
      KV bytes a token    22,528 in 16 bits
    <BLANKLINE>
      layer                                         each        of a block  repeat          parameters
      entry                                                     65,536,000       1          65,536,000
        embedding                             65,536,000
      block                                                     44,044,288      22         968,974,336
        2 × norm                                   2,048
        self_attention                         9,437,184
        2 × residual                                   0
        mlp                                   34,603,008
    <BLANKLINE>
    """
    found = described(model, context=context)
    title = f"{found['name']} ({found['family']})" if found["family"] else found["name"]
    lines = [title, *(f"  {name:<20}{value}" for name, value in _headline(found))]
    lines += ["", f"  {'layer':<34}{'each':>16}{'of a block':>18}{'repeat':>8}{'parameters':>20}"]
    for block in found["blocks"]:
        lines += _block_lines(block)
    return "\n".join(lines + [f"  source: {source}" for source in found["sources"]])


def _headline(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "parameters", f"{found['parameters']:,}"
    yield "active parameters", _active(found)
    yield "layers", f"{found['layers']:,}"
    for unit in ("token", "sample"):
        if (count := found[f"flops_per_{unit}"]) is not None:
            yield f"FLOPs a {unit}", f"{count:,}"
    yield "KV bytes a token", _told(found["kv_bytes_per_token"])
    if found["state_bytes"]:
        yield "recurrent state", show(found["state_bytes"], "B") + " a sequence in 16 bits"


def _active(found: dict[str, Any]) -> str:
    if found["active_parameters"] == found["parameters"]:
        return "all"
    fewer = found["active"]["without_embedding"]
    return f"{found['active_parameters']:,} a token; {fewer:,} without the token table"


def _told(cache: dict[str, Any]) -> str:
    needed, reserved = cache["needed"], cache["reserved"]
    if not reserved:
        return "none"
    if needed == reserved:
        return f"{reserved:,} in 16 bits"
    at = f"at a context of {cache['context']:,}"
    return (
        f"{needed:,.6g} needed, {reserved:,} reserved with full pages for windowed layers ({at}, in 16 bits)"
    )


def _block_lines(block: dict[str, Any]) -> Iterator[str]:
    one = sum(kind["count"] * kind["parameters"] for kind in block["layers"])
    yield f"  {block['place']:<34}{'':>16}{one:>18,}{block['repeat']:>8,}{block['parameters']:>20,}"
    for kind in block["layers"]:
        name = kind["kind"] + (f" ({kind['variant']})" if kind["variant"] else "")
        times = f"{kind['count']} × " if kind["count"] > 1 else ""
        yield f"    {times + name:<32}{kind['parameters']:>16,}"
