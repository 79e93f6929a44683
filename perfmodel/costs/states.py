"""Model states: what the optimizer keeps of some layers on one device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perfmodel.layers import Layer, Weight
from perfmodel.model import Model
from perfmodel.workload import OPTIMIZERS, Training

__all__ = ["mean_state_bytes", "optimizer_bytes"]


def optimizer_bytes(layers: Iterable[Layer], work: Training, parameters: Any, tp: Any, ep: Any = 1) -> Any:
    """States and master copy of some layers on one tensor-parallel rank, before sharding.

    Parameters
    ----------
    layers : the layers
    work : names the optimizer and the number formats
    parameters : of these layers on that rank, copies included [-]
    tp, ep : tensor- and expert-parallel degree [-]

    Returns
    -------
    bytes kept [B]

    Notes
    -----
    Row and column factors of a matrix that is split count as their share of the whole one's.

    References
    ----------
    Rajbhandari et al. (2020), ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv:1910.02054,
    section 3.1
    """
    optimizer, formats = OPTIMIZERS[work.optimizer], work.formats
    each = optimizer.bytes_each(formats.weight_bytes)
    usual = parameters * (each + formats.master_bytes)
    if optimizer.uniform:
        return usual
    more: Any = 0
    for weight in (weight for layer in layers for weight in layer.weights()):
        beyond = optimizer.bytes_of(weight, formats.weight_bytes) - each * weight.size
        more = more + beyond / _ranks(weight, tp, ep)
    return usual + more


def mean_state_bytes(model: Model, work: Training, tp: Any, ep: Any = 1) -> Any:
    """Optimizer states of a parameter, mean over the model, without the master copy.

    Parameters
    ----------
    model, work : what is trained
    tp, ep : tensor- and expert-parallel degree [-]

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
        local = layer.local_parameters(tp)
        parameters = parameters + times * local
        kept = kept + times * optimizer_bytes((layer,), work, local, tp, ep)
    return kept / parameters - formats.master_bytes


def _ranks(weight: Weight, tp: Any, ep: Any) -> Any:
    """Ranks that share a tensor [-]."""
    match weight.split:
        case None:
            return 1
        case "ep":
            return tp * ep
        case _:
            return tp
