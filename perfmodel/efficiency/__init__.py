"""What fraction of the machine software gets: fits, apart from facts, each named and sourced with its residual."""

from perfmodel.efficiency.engines import Engine, EngineFit, EngineRecipe, engines
from perfmodel.efficiency.fits import (
    AttentionFit,
    CollectiveFit,
    HostFit,
    MatmulFit,
    OverheadFit,
    OverlapFit,
    PackedFit,
    StreamFit,
)
from perfmodel.efficiency.sets import Efficiency, efficiencies, load_fits
from perfmodel.efficiency.software import Residuals, Software, SoftwareFit, software

__all__ = [
    "AttentionFit", "CollectiveFit", "Efficiency", "Engine", "EngineFit", "EngineRecipe", "HostFit", "MatmulFit",
    "OverheadFit", "OverlapFit", "PackedFit", "Residuals", "Software", "SoftwareFit", "StreamFit", "efficiencies",
    "engines", "load_fits", "software",
]  # fmt: skip
