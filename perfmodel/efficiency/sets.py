"""Named sets of fits, one for the devices of an architecture."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from perfmodel.efficiency.fits import (
    AttentionFit,
    CollectiveFit,
    HostFit,
    MatmulFit,
    OverheadFit,
    OverlapFit,
    StreamFit,
)
from perfmodel.errors import unknown
from perfmodel.specs import Catalogue, SourcedSpec

__all__ = ["Efficiency", "efficiencies"]

T = TypeVar("T")


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
