"""Which layer and which phase of a step a leaf of its tree belongs to, read from the names on the way to it."""

from __future__ import annotations

__all__ = ["MESSAGES", "layer_of", "phase_of"]

MESSAGES = ("tp", "cp", "ep", "dp", "pp", "offload")
"""Kinds of leaves that are communication."""

TRAINING = "training step"
"""Root of a step's tree; others have their phases below the root: prefill, decode."""

AROUND = frozenset(
    f"{part}{way}" for part in ("layer", "entry", "exit") for way in ("", " forward", " backward")
)
"""Nodes whose parts are layers."""
SHARDED = " sharded"
"""Ending of nodes that hold layers, and beside them the messages of their sharded states."""
STAGE = "slowest stage"
"""Node of what one stage does for a micro-batch."""
OWN = {each: each for each in ("bubble", "host", "stragglers", "contention", "input")}
"""Kinds of leaves that are a phase of their own."""


def layer_of(path: tuple[str, ...]) -> str:
    """The layer that a leaf is part of.

    Parameters
    ----------
    path : names from the root to the leaf

    Returns
    -------
    the layer's name; what is in none is told by its part of the step

    Examples
    --------
    >>> layer_of(("training step", "micro-batches", "layers", "layer backward", "mlp backward", "mlp up wgrad"))
    'mlp'
    >>> layer_of(("training step", "dp gradients", "join gradients"))
    'dp gradients'
    """
    inside = [place for place, name in enumerate(path[:-1]) if name in AROUND or name.endswith(SHARDED)]
    if inside:
        around, *below = path[inside[-1] :]
        if around.endswith(SHARDED):
            return "sharded states"
        named = [name for name in below if not name.startswith("recompute")]
        return (named or below)[0].removesuffix(" backward")
    if STAGE in path[:-1]:
        return path[path.index(STAGE) + 1]
    return path[-1] if path[1:2] == ("micro-batches",) else path[min(1, len(path) - 1)]


def phase_of(path: tuple[str, ...], kind: str) -> str:
    """The phase that a leaf is part of.

    Parameters
    ----------
    path : names from the root to the leaf
    kind : of the leaf

    Returns
    -------
    forward, backward, recompute, optimizer, communication, contention, bubble, host, stragglers, input; of what is no
    training step, the part of it

    Examples
    --------
    >>> phase_of(("training step", "micro-batches", "layers", "layer backward", "mlp backward", "mlp up"), "matmul")
    'backward'
    """
    if path[0] != TRAINING:
        return path[min(1, len(path) - 1)]
    if kind in OWN or kind in MESSAGES:
        return OWN.get(kind, "communication")
    if any(name.startswith("recompute") for name in path):
        return "recompute"
    if any(name.endswith(("backward", "backwards")) for name in path):
        return "backward"
    if path[1:2] == ("micro-batches",):
        return "forward"
    return "optimizer"
