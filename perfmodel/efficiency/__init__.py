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
from perfmodel.efficiency.software import Residuals, Software, SoftwareFit, software

__all__ = [
    "AttentionFit", "CollectiveFit", "Efficiency", "HostFit", "MatmulFit", "OverheadFit", "OverlapFit", "Residuals",
    "Software", "SoftwareFit", "StreamFit", "efficiencies", "software",
]  # fmt: skip
