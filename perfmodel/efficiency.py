"""What fraction of the machine software gets: fits, apart from facts, each named and sourced with its residual."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from pydantic import Field, field_validator

from perfmodel.errors import unknown
from perfmodel.specs import Catalogue, SourcedSpec, Spec
from perfmodel.units import Bytes, Seconds

T = TypeVar("T")

MOST_BANDWIDTH = 1.2
"""A stream may beat the memory bandwidth a little, where part of it stays in the cache [-]."""

__all__ = [
    "AttentionFit", "CollectiveFit", "Efficiency", "HostFit", "MatmulFit", "OverheadFit", "OverlapFit",
    "StreamFit", "efficiencies",
]  # fmt: skip


class MatmulFit(Spec):
    """Four constants of a matrix product: t0 + [(F / ec P)^p + (B / em W)^p]^(1/p)."""

    compute: float = Field(gt=0, le=1)
    """Fraction of the dense peak that large products sustain, ec [-]."""
    memory: float = Field(gt=0, le=1.2)
    """Fraction of the memory bandwidth that long streams reach, em [-]."""
    latency: Seconds
    """Time of an empty kernel on the device, t0 [s]."""
    exponent: float = Field(gt=0)
    """Sharpness of the roofline's ridge, p [-]."""
    sustained: float = Field(gt=0, le=1, default=1)
    """Rate once power and clocks have settled, over the rate of short bursts [-]."""
    accumulate: float = Field(gt=0, le=1, default=1)
    """Rate of products that add into their result (weight gradients), over the others [-]."""


class AttentionFit(Spec):
    """Constants of a fused attention kernel; the softmax costs like so many extra head dimensions."""

    compute: float = Field(gt=0, le=2)
    """Fraction of the dense peak, softmax counted as work; above 1 where it runs beside the products [-]."""
    backward: float = Field(gt=0, le=2, default=0.85)
    """Rate of the backward kernel over the forward one [-]."""
    memory: float = Field(gt=0, le=2)
    """Fraction of the memory bandwidth [-]."""
    latency: Seconds
    """Time of an empty kernel [s]."""
    exponent: float = Field(gt=0)
    """Sharpness of the ridge [-]."""
    softmax_dims: float = Field(ge=0)
    """Head dimensions that cost as much as one exponential [-]."""
    tile: float = Field(gt=0, default=128)
    """Positions in one tile [-]."""


class StreamFit(Spec):
    """Memory-bound kernels: t0 + B / (em W), em by kind of kernel."""

    latency: Seconds
    """Time of an empty kernel [s]."""
    memory: dict[str, float]
    """Fraction of the memory bandwidth by kind; "copy" also serves kinds not listed [-]."""

    @field_validator("memory")
    @classmethod
    def _fractions(cls, memory: dict[str, float]) -> dict[str, float]:
        wrong = {kind: value for kind, value in memory.items() if not 0 < value <= MOST_BANDWIDTH}
        if wrong or "copy" not in memory:
            told = ", ".join(f"{kind} = {value}" for kind, value in wrong.items()) or "copy is missing"
            raise ValueError(
                f"{told}; valid: above 0, up to {MOST_BANDWIDTH}, and a copy that serves other kinds"
            )
        return memory


class CollectiveFit(Spec):
    """Messages on one network tier: [(t0 + n alpha)^p + (V / e B)^p]^(1/p), e by kind of collective."""

    start: Seconds
    """Time of an empty collective, t0 [s]."""
    step: Seconds
    """Latency of one ring step, alpha [s]."""
    exponent: float = Field(gt=0)
    """Below 1 softer than a sum, p [-]."""
    all_reduce: float = Field(gt=0, le=1.2)
    """Fraction of the link that a ring all-reduce reaches [-]."""
    in_network: float = Field(gt=0, le=1.3)
    """The same for an all-reduce inside the switch, where the tier can [-]."""
    all_gather: float = Field(gt=0, le=1.2)
    """The same for all-gather and reduce-scatter [-]."""
    all_to_all: float = Field(gt=0, le=1.2)
    """The same for an all-to-all [-]."""
    send: float = Field(gt=0, le=1.2)
    """The same for a point-to-point message [-]."""


class OverlapFit(Spec):
    """Communication beside compute."""

    slowdown: float = Field(ge=0, le=1)
    """Time that compute loses for each second of hidden communication: the share of its cores the messages hold [-]."""


class HostFit(Spec):
    """The host that launches kernels."""

    launch: Seconds
    """Time the host needs for each kernel it launches [s]."""


class OverheadFit(Spec):
    """Memory that no tensor of the model accounts for."""

    context: Bytes
    """Driver context and libraries' workspaces [B]."""
    communication: Bytes
    """Buffers of the collective library [B]."""
    fragmentation: float = Field(ge=0, le=1)
    """Allocator loss over the tensors' bytes [-]."""


class Efficiency(SourcedSpec):
    """A named set of fitted constants for the devices of some architectures."""

    architectures: tuple[str, ...] = ()
    """Device architectures this is the default of; empty is the universal set."""
    matmul: dict[str, MatmulFit]
    """By number format; "default" serves formats not listed."""
    attention: AttentionFit
    """Fused attention kernels."""
    stream: StreamFit
    """Memory-bound kernels."""
    collective: dict[str, CollectiveFit]
    """By network tier: scale_up, node, fabric; "default" serves tiers not listed."""
    overlap: OverlapFit
    """What hidden messages cost."""
    host: HostFit
    """Kernel launches."""
    overhead: OverheadFit
    """Memory beside the tensors."""
    residual: str
    """How well the fits hold on data they did not see."""

    @classmethod
    def load(cls, name: str) -> Efficiency:
        """A bundled set, one from `PERFMODEL_PATH`, or a file.

        Parameters
        ----------
        name : id or path

        Returns
        -------
        the set

        Raises
        ------
        UnknownNameError
            no such set; near names are suggested

        Examples
        --------
        >>> Efficiency.load("hopper").matmul_for("bf16").compute
        0.76
        """
        return CATALOGUE.load(name)

    @classmethod
    def of(cls, architecture: str) -> Efficiency:
        """The default set of a device architecture; the universal one where none is fitted.

        Parameters
        ----------
        architecture : of the device

        Returns
        -------
        the set

        Examples
        --------
        >>> Efficiency.of("Hopper").id, Efficiency.of("some new chip").id
        ('hopper', 'universal')
        """
        return _by_architecture().get(architecture.lower()) or cls.load("universal")

    def matmul_for(self, dtype: str) -> MatmulFit:
        """Constants of matrix products in a number format."""
        return _listed(self.matmul, dtype, "matmul format")

    def collective_for(self, tier: str) -> CollectiveFit:
        """Constants of messages on a network tier."""
        return _listed(self.collective, tier, "network tier")


def _listed(table: dict[str, T], key: str, kind: str) -> T:
    found = table.get(key) or table.get("default")
    if found is None:
        raise unknown(kind, key, table)
    return found


CATALOGUE = Catalogue("efficiency", Efficiency, "efficiency")


@lru_cache(maxsize=1)
def _by_architecture() -> dict[str, Efficiency]:
    found = (CATALOGUE.load(name) for name in CATALOGUE.names())
    return {architecture.lower(): one for one in found for architecture in one.architectures}


def efficiencies() -> dict[str, str]:
    """Names of all sets, with where each comes from."""
    return CATALOGUE.names()
