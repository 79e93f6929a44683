"""Model states: what the optimizer keeps of some layers on one device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perfmodel.costs.parameters import Held, held, summed
from perfmodel.layers import Layer, Pass, Weight
from perfmodel.model import Model
from perfmodel.ops import added
from perfmodel.workload import OPTIMIZERS, Training

__all__ = ["mean_state_bytes", "optimizer_bytes"]


def optimizer_bytes(layers: Iterable[Layer], work: Training, p: Pass) -> Held:
    """States, master copy and the update's own gradient of some layers on one rank, before sharding.

    Parameters
    ----------
    layers : the layers
    work : names the optimizer and the number formats
    p : one micro-batch as one device sees it; says how weights are split

    Returns
    -------
    bytes kept, by the ranks that hold the same [B]

    Notes
    -----
    Row and column factors of a matrix that is split count as their share of the whole one's.

    References
    ----------
    Rajbhandari et al. (2020), ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv:1910.02054,
    section 3.1
    """
    optimizer, formats, layers = OPTIMIZERS[work.optimizer], work.formats, tuple(layers)
    each = optimizer.bytes_each(formats.weight_bytes)
    usual = summed([(each + formats.master_bytes + formats.update_bytes, held(layers, p))])
    if optimizer.uniform:
        return usual
    weights = [weight for layer in layers for weight in layer.weights()]
    beyond = [optimizer.bytes_of(weight, formats.weight_bytes) - each * weight.size for weight in weights]
    more = [
        (1, {"expert data" if weight.split == "ep" else "data": size / _ranks(weight, p)})
        for weight, size in zip(weights, beyond, strict=True)
    ]
    return summed([(1, usual), *more])


def mean_state_bytes(model: Model, work: Training, p: Pass) -> Any:
    """Optimizer states of a parameter, mean over the model, without the master copy.

    Parameters
    ----------
    model, work : what is trained
    p : one micro-batch as one device sees it; says how weights are split

    Returns
    -------
    bytes a parameter [B]
    """
    optimizer, formats = OPTIMIZERS[work.optimizer], work.formats
    if optimizer.uniform:
        return optimizer.bytes_each(formats.weight_bytes)
    kept: Any = 0
    parameters: Any = 0
    for layer, times in model.layers():
        parameters = parameters + times * added(held((layer,), p).values())
        kept = kept + times * added(optimizer_bytes((layer,), work, p).values())
    return kept / parameters - formats.master_bytes - formats.update_bytes


def _ranks(weight: Weight, p: Pass) -> Any:
    """Ranks that share a tensor [-]."""
    match weight.split:
        case None:
            return 1
        case "ep":
            return p.tp_in_experts * p.ep
        case _:
            return p.tp
