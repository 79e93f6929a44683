"""Low-rank adapters beside the matrices of a served model, several of them in one batch."""

from __future__ import annotations

from typing import Any

from perfmodel.costs.parts import Part
from perfmodel.layers import Pass
from perfmodel.ops import minimum
from perfmodel.work import Serial, Stream, Work
from perfmodel.workload import Served

__all__ = ["adapter_parameters", "beside_adapters"]


def adapter_parameters(part: Part, rank: Any, tp: Any) -> tuple[Any, int]:
    """Parameters of one adapter on all dense matrices of a part, and how many matrices these are.

    Each matrix of n × m has a pair of r × n and r × m; one of the two is split over the tensor ranks, and the other one
    is held whole.

    Parameters
    ----------
    part : the layers
    rank : r [-]
    tp : tensor-parallel degree [-]

    Returns
    -------
    parameters on one rank, matrices [-]

    References
    ----------
    Hu et al. (2021), LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685, section 4.1

    Examples
    --------
    >>> from perfmodel.layers import Mlp
    >>> adapter_parameters(Part(((Mlp(hidden=64, inner=256), Pass(1, 1, 1)),)), rank=8, tp=1)
    (7168.0, 2)
    """
    shapes = [
        (weight.shape, weight.split)
        for layer in part.plain
        for weight in layer.weights()
        if weight.kind == "matrix" and weight.split != "ep"
    ]
    parameters: Any = 0.0
    for shape, split in shapes:
        inputs, outputs = shape[-2:]
        parameters = parameters + rank * (min(inputs, outputs) + max(inputs, outputs) / (tp if split else 1))
    return parameters, len(shapes)


def beside_adapters(work: Work, part: Part, p: Pass, served: Served) -> Work:
    """A layer's forward work with the adapters of its batch: each asked for is read once, in two kernels a matrix.

    Parameters
    ----------
    work : forward
    part : its layers
    p : the pass
    served : how many adapters there are, and their rank

    References
    ----------
    Chen et al. (2023), Punica: Multi-Tenant LoRA Serving, arXiv:2310.18547, section 4
    """
    if not served.adapters:
        return work
    parameters, matrices = adapter_parameters(part, served.adapter_rank, p.tp)
    asked = minimum(p.sequences * 1.0, served.adapters)
    widths = parameters / served.adapter_rank  # inputs read and outputs added of every token
    moved = (asked * parameters + 2 * p.tokens * widths) * p.element_bytes
    return Serial("layer", (work, Stream("adapters", moved, "copy", 2 * matrices)))
