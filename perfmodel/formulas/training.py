"""Utilisation and model FLOPs of training, with the conventions named."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number

__all__ = ["model_flops_utilisation", "optimizer_steps_time", "palm_flops_per_token"]


def model_flops_utilisation(*, flops: Number, devices: Number, peak: Number, step_time: Number) -> Any:
    """Share of the devices' dense peak that the model's own operations use.

    .. math:: \\mathrm{MFU} = \\frac{F}{n\\,P\\,t}

    Parameters
    ----------
    flops : model FLOPs of one step over all devices, without recomputation [FLOP]
    devices : devices n [-]
    peak : dense peak of one device P [FLOP/s]
    step_time : of one optimizer step t [s]

    Returns
    -------
    utilisation [-]

    References
    ----------
    Chowdhery et al. (2022), PaLM: Scaling Language Modeling with Pathways, arXiv:2204.02311, appendix B

    Examples
    --------
    >>> model_flops_utilisation(flops=4e15, devices=8, peak=1e15, step_time=1.0)
    0.5
    """
    return flops / (devices * peak * step_time)


def palm_flops_per_token(
    *, parameters: Number, layers: Number, heads: Number, head_dim: Number, sequence_length: Number
) -> Any:
    """Training FLOPs of one token in the PaLM convention: full attention, no causal credit.

    .. math:: F = 6 N + 12\\,L\\,H\\,Q\\,T

    Parameters
    ----------
    parameters : N, input embedding left out [-]
    layers : L [-]
    heads : attention heads H [-]
    head_dim : size of one head Q [-]
    sequence_length : T [-]

    Returns
    -------
    operations of forward and backward for one token [FLOP]

    References
    ----------
    Chowdhery et al. (2022), PaLM: Scaling Language Modeling with Pathways, arXiv:2204.02311, appendix B

    Examples
    --------
    >>> palm_flops_per_token(parameters=1e9, layers=10, heads=8, head_dim=128, sequence_length=1000)
    6122880000.0
    """
    return 6 * parameters + 12 * layers * heads * head_dim * sequence_length


def optimizer_steps_time(*, tokens: Number, tokens_per_step: Number, step_time: Number) -> Any:
    """Time to train on so many tokens, without interruptions.

    .. math:: t = \\frac{D}{D_{step}}\\,t_{step}

    Parameters
    ----------
    tokens : to train on D [-]
    tokens_per_step : of one optimizer step [-]
    step_time : of one optimizer step [s]

    Returns
    -------
    time [s]

    References
    ----------
    Kaplan et al. (2020), Scaling Laws for Neural Language Models, arXiv:2001.08361, section 2.1

    Examples
    --------
    >>> optimizer_steps_time(tokens=15e12, tokens_per_step=16e6, step_time=10.0)
    9375000.0
    """
    return tokens / tokens_per_step * step_time
