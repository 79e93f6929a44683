"""Requests that wait for each other: sequences that decode together, queues, bursts, tokens that are guessed ahead."""

from __future__ import annotations

from typing import Any

from perfmodel.ops import Number, at_least, maximum, power, sqrt, where

__all__ = [
    "closed_loop_batch", "gated_wait", "mean_burst_wait", "open_loop_batch", "pollaczek_khinchine_wait",
    "sakasegawa_wait", "speculated_tokens",
]  # fmt: skip

TINY = 1e-300


def closed_loop_batch(*, users: Number, away: Number, steps: Number, fixed: Number, slope: Number) -> Any:
    """Sequences that decode together where each of so many users sends its next request when one is answered.

    A step takes :math:`t = \\alpha + \\beta b`; a request decodes for D steps and is elsewhere (prefill, host) for r.
    By Little's law the users are those that decode and those that are elsewhere.

    .. math:: n = b + \\frac{b\\,r}{D (\\alpha + \\beta b)}
        \\;\\Rightarrow\\; b = \\frac{2 n D \\alpha}{h + \\sqrt{h^2 + 4 n \\beta \\alpha D^2}},
        \\quad h = D \\alpha + r - n D \\beta

    Parameters
    ----------
    users : requests in the system n [-]
    away : time of a request outside decode r [s]
    steps : of decode, for each request D [-]
    fixed : time of a step without sequences alpha [s]
    slope : time that each sequence adds to a step beta [s]

    Returns
    -------
    sequences b [-]

    References
    ----------
    Little (1961), A Proof for the Queuing Formula L = λW, doi:10.1287/opre.9.3.383

    Examples
    --------
    >>> closed_loop_batch(users=32, away=0.0, steps=100, fixed=0.01, slope=1e-4)
    32.0
    >>> closed_loop_batch(users=32, away=1.0, steps=100, fixed=0.01, slope=0.0)
    16.0
    """
    linear = steps * fixed + away - users * steps * slope
    root = sqrt(linear * linear + 4 * users * slope * fixed * steps * steps)
    return 2 * users * steps * fixed / maximum(linear + root, TINY)


def open_loop_batch(*, rate: Number, steps: Number, fixed: Number, slope: Number) -> Any:
    """Sequences that decode together where requests arrive at a rate of their own.

    .. math:: b = \\lambda D (\\alpha + \\beta b)
        \\;\\Rightarrow\\; b = \\frac{\\lambda D \\alpha}{1 - \\lambda D \\beta}

    Parameters
    ----------
    rate : requests that arrive each second lambda; must stay below 1 / (D beta) [1/s]
    steps : of decode, for each request D [-]
    fixed : time of a step without sequences alpha [s]
    slope : time that each sequence adds to a step beta [s]

    Returns
    -------
    sequences b [-]

    References
    ----------
    Little (1961), A Proof for the Queuing Formula L = λW, doi:10.1287/opre.9.3.383

    Examples
    --------
    >>> open_loop_batch(rate=5.0, steps=100, fixed=0.01, slope=1e-3)
    10.0
    """
    return rate * steps * fixed / maximum(1 - rate * steps * slope, TINY)


def gated_wait(*, rate: Number, service: Number, passing: Number, together: Number) -> Any:
    """Mean wait of a request for the pass that runs, and for those whose prompts go before its own or beside it.

    A server works in passes. Prompts that came during one are taken into the next, which they make longer by S each:
    a pass is :math:`t' = \\alpha + S\\,n(t)`, n Poisson with mean :math:`\\lambda t`. A request finds a long pass more
    often than a short one, and with it others that wait.

    .. math:: t^* = \\frac{E\\,t^2}{E\\,t} = \\bar t + \\frac{\\lambda S^2}{1 - \\rho^2}, \\quad
        \\rho = \\lambda S; \\qquad W = t^* \\left[\\frac{1}{2} + \\rho \\left(1 - \\frac{1}{2k}\\right)\\right]

    Parameters
    ----------
    rate : arrivals each second lambda; must stay below 1 / S [1/s]
    service : time that each prompt adds to a pass S [s]
    passing : mean time of a pass, prompts included [s]
    together : prompts that one pass has room for k; of several that wait, those behind a request delay it only where
        they share its pass [-]

    Returns
    -------
    time [s]

    References
    ----------
    Takagi (1988), Queuing analysis of polling models, doi:10.1145/62058.62059, section 2 (gated service); Cox (1962),
    Renewal Theory, section 5.1 (the interval that a random moment falls into)

    Examples
    --------
    >>> gated_wait(rate=0.0, service=0.1, passing=0.02, together=4)
    0.01
    >>> round(gated_wait(rate=5.0, service=0.1, passing=0.04, together=1), 6)
    0.08
    """
    busy = rate * service
    found = passing + busy * service / maximum(1 - busy * busy, TINY)
    return found * (0.5 + busy * (1 - 0.5 / together))


def pollaczek_khinchine_wait(*, rate: Number, service: Number, variation: Number) -> Any:
    """Mean wait in a queue with one server and random arrivals.

    .. math:: W = \\frac{\\rho\\,S\\,(1 + c^2)}{2 (1 - \\rho)}, \\quad \\rho = \\lambda S

    Parameters
    ----------
    rate : arrivals each second lambda; must stay below 1 / S [1/s]
    service : mean time of service S [s]
    variation : of the service's time, its deviation over its mean c; 0 where all are alike [-]

    Returns
    -------
    time [s]

    References
    ----------
    Kleinrock (1975), Queueing Systems, volume 1, section 5.6 (M/G/1)

    Examples
    --------
    >>> pollaczek_khinchine_wait(rate=5.0, service=0.1, variation=0.0)
    0.05
    """
    busy = rate * service
    return busy * service * (1 + variation * variation) / (2 * maximum(1 - busy, TINY))


def sakasegawa_wait(*, rate: Number, service: Number, servers: Number, variation: Number) -> Any:
    """Mean wait in a queue with several servers and random arrivals, approximately.

    .. math:: W = \\frac{1 + c^2}{2}\\,\\frac{S}{m}\\,\\frac{\\rho^{\\sqrt{2 (m + 1)} - 1}}{1 - \\rho},
        \\quad \\rho = \\frac{\\lambda S}{m}

    Parameters
    ----------
    rate : arrivals each second lambda; must stay below m / S [1/s]
    service : mean time of service S [s]
    servers : m [-]
    variation : of the service's time, its deviation over its mean c; 0 where all are alike [-]

    Returns
    -------
    time [s]

    References
    ----------
    Sakasegawa (1977), An approximation formula L_q = α ρ^β / (1 - ρ), doi:10.1007/BF02532239

    Examples
    --------
    >>> sakasegawa_wait(rate=5.0, service=0.1, servers=1, variation=0.0)
    0.05
    """
    busy = rate * service / servers
    queue = power(busy, sqrt(2 * (servers + 1)) - 1) / maximum(1 - busy, TINY)
    return (1 + variation * variation) / 2 * service / servers * queue


def mean_burst_wait(*, requests: Number, service: Number) -> Any:
    """Mean wait where so many requests begin at once and are served one after the other.

    .. math:: W = \\frac{n - 1}{2}\\,S

    Parameters
    ----------
    requests : n [-]
    service : time of each S [s]

    Returns
    -------
    time [s]

    References
    ----------
    Kleinrock (1975), Queueing Systems, volume 1, section 1.2 (first come, first served)

    Examples
    --------
    >>> mean_burst_wait(requests=5, service=0.1)
    0.2
    """
    return maximum(requests - 1, 0) / 2 * service


def speculated_tokens(*, drafted: Number, acceptance: Number) -> Any:
    """Tokens that one step brings where a draft of some is checked at once, each accepted as likely as the others.

    .. math:: E = \\frac{1 - a^{\\gamma + 1}}{1 - a}

    Parameters
    ----------
    drafted : tokens of a draft gamma [-]
    acceptance : share of drafted tokens that stand a [-]

    Returns
    -------
    tokens [-]

    References
    ----------
    Leviathan, Kalman, Matias (2023), Fast Inference from Transformers via Speculative Decoding, arXiv:2211.17192,
    equation 1

    Examples
    --------
    >>> round(speculated_tokens(drafted=3, acceptance=0.8), 3), speculated_tokens(drafted=3, acceptance=1.0)
    (2.952, 4.0)
    """
    sure = at_least(acceptance, 1 - 1e-9)
    doubt = where(sure, 0.5, acceptance)
    return where(sure, drafted + 1.0, (1 - power(doubt, drafted + 1)) / (1 - doubt))
