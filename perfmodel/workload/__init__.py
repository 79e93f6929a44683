"""What is to be run: a training step, its batch, precision, recomputation and optimizer."""

from perfmodel.workload.inference import Inference, Served
from perfmodel.workload.offload import EVERYTHING, Offload
from perfmodel.workload.optimizers import OPTIMIZERS, Optimizer
from perfmodel.workload.precision import PRECISIONS, Precision
from perfmodel.workload.quantisation import WEIGHTS, Formats, weight_format
from perfmodel.workload.recompute import LAYER_INPUT, POLICIES, Policy
from perfmodel.workload.serving import Serving
from perfmodel.workload.training import Training

__all__ = [
    "EVERYTHING", "LAYER_INPUT", "OPTIMIZERS", "POLICIES", "PRECISIONS", "WEIGHTS", "Formats", "Inference",
    "Offload", "Optimizer", "Policy", "Precision", "Served", "Serving", "Training", "weight_format",
]  # fmt: skip
