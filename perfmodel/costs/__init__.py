"""(model, workload, layout) -> Costs: counts only, no hardware, no seconds."""

from perfmodel.costs.base import MEMORY_KINDS, Costs, StageMemory
from perfmodel.costs.training import full_attention_flops, training_costs

__all__ = ["MEMORY_KINDS", "Costs", "StageMemory", "full_attention_flops", "training_costs"]
