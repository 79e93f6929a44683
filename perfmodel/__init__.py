"""How long a step of a large model takes on a machine, what memory it needs, and what limits it.

>>> import perfmodel as pm
>>> cluster = pm.Cluster.load("dgx-h100", devices=512)
>>> model = pm.Model.load("llama-3.1-70b")
>>> work = pm.Training(global_batch=512, sequence_length=8192)
>>> layout = pm.Parallel(tp=8, pp=4, vpp=5, sequence_parallel=True)
>>> est = pm.estimate(model, work, layout, cluster)
>>> est.fits
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import perfmodel.huggingface as _huggingface  # noqa: F401  registers the config.json format
from perfmodel import errors, formulas
from perfmodel.calibration import calibrate
from perfmodel.decoder import Decoder, decoder
from perfmodel.efficiency import Efficiency, Engine, Software, efficiencies, engines, software
from perfmodel.encoder import Encoder, encoder
from perfmodel.estimation import InferenceEstimate, ServingEstimate, TrainingEstimate, as_run, estimate
from perfmodel.estimation.answer import view
from perfmodel.exploration import Search, Sweep, as_function, pareto_batch, search, sweep
from perfmodel.hardware import Cluster, Device, Link, Node, Tier, devices, systems
from perfmodel.model import Block, Model, models
from perfmodel.native import cnn, dlrm, lstm_classifier, mlp, resnet50
from perfmodel.parallel import Parallel
from perfmodel.sensitivity import (
    advise,
    attribution,
    balance,
    compare,
    crossover,
    diagnose,
    elasticities,
    turning_point,
    what_if,
)
from perfmodel.validation import validate
from perfmodel.workload import Inference, Serving, Training

if TYPE_CHECKING:
    from perfmodel import plot
    from perfmodel.sensitivity.deriving import formula

__version__ = "0.1.0"

__all__ = [
    "Block", "Cluster", "Decoder", "Device", "Efficiency", "Encoder", "Engine", "Inference", "InferenceEstimate",
    "Link", "Model", "Node", "Parallel", "Search", "Serving", "ServingEstimate", "Software", "Sweep", "Tier",
    "Training", "TrainingEstimate", "advise", "as_function", "as_run", "attribution", "balance", "calibrate",
    "clusters", "cnn", "compare", "crossover", "decoder", "devices", "diagnose", "dlrm", "efficiencies",
    "elasticities", "encoder", "engines", "errors", "estimate", "formula", "formulas", "lstm_classifier", "mlp",
    "models", "pareto_batch", "plot", "resnet50", "search", "software", "sweep", "turning_point", "validate",
    "what_if",
]  # fmt: skip

clusters = systems


@view("plot", "comparison")
def _plotted(comparison: Any, **options: Any) -> Any:
    """The figure of a comparison, drawn by a room that is loaded late."""
    return __getattr__("plot").comparison(comparison, **options)


def __getattr__(name: str) -> Any:
    """Modules that bring a heavy library are loaded when they are first asked for."""
    if name == "plot":
        import importlib

        return importlib.import_module("perfmodel.plot")
    if name == "formula":
        try:
            from perfmodel.sensitivity.deriving import formula
        except ImportError:
            raise errors.MissingExtraError("sympy", "symbols") from None
        return formula
    raise AttributeError(f"module 'perfmodel' has no attribute {name!r}")
