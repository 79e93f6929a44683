"""Utilisation of memory in inference, with its convention named."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number

__all__ = ["model_bandwidth_utilisation"]


def model_bandwidth_utilisation(*, held: Number, bandwidth: Number, time: Number) -> Any:
    """Share of the memory's bandwidth that weights and cache alone use, as a step of decode reads them.

    .. math:: \\mathrm{MBU} = \\frac{W + K}{B\\,t}

    Parameters
    ----------
    held : weights W and cached keys and values K that one device reads in a step [B]
    bandwidth : of one device's memory, from the datasheet B [B/s]
    time : of the step t [s]

    Returns
    -------
    utilisation [-]

    References
    ----------
    Agarwal et al. (2023), LLM Inference Performance Engineering: Best Practices, databricks.com/blog

    Examples
    --------
    >>> model_bandwidth_utilisation(held=14e9, bandwidth=2e12, time=0.014)
    0.5
    """
    return held / (bandwidth * time)
