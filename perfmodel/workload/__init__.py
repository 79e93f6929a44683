"""What is to be run: a training step, its batch, precision, recomputation and optimizer."""

from perfmodel.workload.offload import EVERYTHING, Offload
from perfmodel.workload.optimizers import OPTIMIZERS, Optimizer
from perfmodel.workload.precision import PRECISIONS, Precision
from perfmodel.workload.recompute import LAYER_INPUT, POLICIES, Policy
from perfmodel.workload.training import Training

__all__ = [
    "EVERYTHING", "LAYER_INPUT", "OPTIMIZERS", "POLICIES", "PRECISIONS", "Offload", "Optimizer", "Policy", "Precision",
    "Training",
]  # fmt: skip
