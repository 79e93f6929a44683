"""What fraction of the machine software gets: fits, apart from facts, each named and sourced with its residual."""

from perfmodel.efficiency.fits import (
    AttentionFit,
    CollectiveFit,
    HostFit,
    MatmulFit,
    OverheadFit,
    OverlapFit,
    StreamFit,
)
from perfmodel.efficiency.sets import Efficiency, efficiencies

__all__ = [
    "AttentionFit", "CollectiveFit", "Efficiency", "HostFit", "MatmulFit", "OverheadFit", "OverlapFit",
    "StreamFit", "efficiencies",
]  # fmt: skip
