"""Recomputation: what backward computes again, and what forward need not keep for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from perfmodel.costs.parts import Part, Parts
from perfmodel.errors import InputError, unknown
from perfmodel.layers import Layer, Norm
from perfmodel.layers.results import Result, remaining
from perfmodel.model import Model
from perfmodel.ops import added, maximum
from perfmodel.work import Serial, Work, leaves
from perfmodel.workload import EVERYTHING, LAYER_INPUT, Policy, Training
from perfmodel.workload.recompute import plain_names

__all__ = ["Again", "check_names", "recomputed", "recomputed_share"]


class Again(NamedTuple):
    """What one repetition of a block computes again.

    Parameters
    ----------
    work : that backward repeats
    spared : activations that forward does not keep for it [B]
    moment : of those, alive while they are computed again [B]
    moved : activations that are kept, but outside the device [B]
    """

    work: Work
    spared: Any
    moment: Any
    moved: Any = 0


_NOTHING = Again(Serial("recompute nothing", ()), 0, 0)


def recomputed(block: Part, work: Training) -> Again:
    """One repetition of a block under the policy in force.

    Whole blocks keep what enters them. A module keeps its own input; a norm does without its output,
    too, where the next layer would keep it (Megatron-LM's modules without output).

    Parameters
    ----------
    block : the repeated layers
    work : says what is recomputed

    Returns
    -------
    work and bytes of one repetition

    References
    ----------
    Chen et al. (2016), Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174; Korthikanti et al. (2022),
    arXiv:2205.05198, section 5; Megatron-LM, --recompute-modules

    Examples
    --------
    >>> from perfmodel.costs.parts import parts
    >>> from perfmodel.layers import Pass
    >>> from perfmodel.decoder import decoder
    >>> model = decoder(layers=4, hidden=64, heads=4, inner=256, vocabulary=1000)
    >>> work = Training(global_batch=1, sequence_length=1, recompute="selective", recompute_modules=("mlp", "norm"))
    >>> recomputed(parts(model, Pass(1, 1, 1)).blocks[0], work).spared / 2  # 3 · 256 in the mlp, the input of attention
    832.0
    """
    policy = work.recomputation
    if policy.keep is not None:
        again = _keeping(block, policy)
    else:
        again = _modules(block, policy.modules) if policy.modules else _NOTHING
    return again._replace(moved=_moved(block, work, again)) if work.offload.activations else again


def recomputed_share(model: Model, work: Training) -> Any:
    """Share of the layers that the policy applies to: of every n, the last one (torchtitan's selective option).

    Examples
    --------
    >>> from perfmodel.decoder import decoder
    >>> model = decoder(layers=5, hidden=64, heads=4, inner=256, vocabulary=1000)
    >>> recomputed_share(model, Training(global_batch=1, sequence_length=1, recompute="full", recompute_every=2))
    0.4
    """
    return 1 if work.recompute_every == 1 else model.depth // work.recompute_every / model.depth


def check_names(found: Parts, work: Training) -> None:
    """Refuse modules and results that no block of the model has.

    Parameters
    ----------
    found : the parts of the model
    work : says what is recomputed

    Raises
    ------
    UnknownNameError
        with the names that there are
    """
    policy = work.recomputation
    layers = [pair for block in found.blocks for pair in block.layers]
    if policy.modules:
        labels = {_name(layer) for layer, _ in layers}
        parts = {
            name for layer, p in layers for name, (again, _) in layer.parts(p).items() if any(leaves(again))
        }
        short = {"attention"} if any(_is(layer, "attention") for layer, _ in layers) else set()
        for module in policy.modules:
            if not any(_fits(name, module) for name in labels | parts):
                raise unknown("module", module, sorted(parts | labels | short))
    named = plain_names((*work.recompute_keep, *work.offload.activations))
    results = {name: one for layer, p in layers for name, one in layer.results(p).items()} if named else {}
    for name in named:
        if name not in results and name not in {LAYER_INPUT, EVERYTHING}:
            raise unknown("result of a layer", name, sorted(results))
    kept = _kept_names(results, policy)
    for name in plain_names(work.offload.activations):
        if name not in kept and name != EVERYTHING:
            there = ", ".join(sorted(kept))
            raise InputError(
                f"offload of {name!r}, which recompute = {work.policy} does not keep; it keeps {there}"
            )


def _name(layer: Layer) -> str:
    return layer.label.replace("_", " ")


def _is(layer: Layer, module: str) -> bool:
    """Whether a layer is of a kind: latent attention is attention, too."""
    return _fits(_name(layer), module)


def _fits(name: str, asked: str) -> bool:
    return f" {name}".endswith(f" {asked}")


def _keeping(block: Part, policy: Policy) -> Again:
    """All but what enters and the results that the policy keeps."""
    everything = block.saved()
    last = _last_product(block) if policy.spare else None
    repeated = []
    kept: Any = 0
    there: Any = 0
    for layer, p in block.layers:
        forward, results = layer.forward(p), layer.results(p)
        spared = {list(results)[-1]} if layer is last else set()
        named = [name for name in results if name in (policy.keep or ()) and name not in spared]
        kept = kept + added(results[name].bytes for name in named)
        there = there + added(results[name].bytes for name in named if results[name].saved)
        repeated.append(remaining(forward, results, (*named, *spared)))
    return Again(
        Serial("recompute", tuple(repeated)), everything - block.saved_input() - kept, everything - there
    )


def _moved(block: Part, work: Training, again: Again) -> Any:
    """Bytes of the kept activations that the job offloads."""
    names = plain_names(work.offload.activations)
    if EVERYTHING in names:
        return block.saved() - again.spared
    results = [pair for layer, p in block.layers for pair in layer.results(p).items()]
    entering = block.saved_input() if LAYER_INPUT in names else 0
    return entering + added(one.bytes for name, one in results if name in names)


def _kept_names(results: dict[str, Result], policy: Policy) -> set[str]:
    """Results that forward keeps under a policy, and what every policy keeps."""
    if policy.keep is not None:
        return {LAYER_INPUT, *(name for name in results if name in policy.keep)}
    return {LAYER_INPUT, *(name for name, one in results.items() if one.saved and name not in policy.modules)}


def _last_product(block: Part) -> Layer | None:
    """The layer whose result only joins the stream: no gradient needs it, unless a norm follows."""
    for layer, p in block.layers[::-1]:
        if isinstance(layer, Norm):
            return None
        if layer.results(p):
            return layer
    return None


def _modules(block: Part, names: tuple[str, ...]) -> Again:
    again = list(_chosen(block, names))
    spared: Any = 0
    moment: Any = 0
    for _, size in again:
        spared, moment = spared + size, maximum(moment, size)
    return Again(Serial("recompute " + ", ".join(names), tuple(work for work, _ in again)), spared, moment)


def _chosen(block: Part, names: tuple[str, ...]) -> Iterator[tuple[Work, Any]]:
    """Work and bytes of each module that is named; a whole layer stands for its parts."""
    for (layer, p), following in zip(block.layers, (*block.layers[1:], None), strict=True):
        if any(_is(layer, name) for name in names):
            given_up = layer.saved(p) - layer.saved_input(p)
            kept = following is None or any(_is(following[0], name) for name in names)
            if isinstance(layer, Norm) and following is not None and not kept:
                given_up = given_up + following[0].saved_input(following[1])
            yield layer.forward(p), given_up
        else:
            parts = layer.parts(p).items()
            yield from (part for part_name, part in parts if any(_fits(part_name, name) for name in names))
