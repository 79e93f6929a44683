"""Many configurations at once: columns in, columns out, by the formulas that answer a single question."""

from perfmodel.exploration.answers import ANSWERS, Answers
from perfmodel.exploration.batches import BatchFront, pareto_batch
from perfmodel.exploration.columns import Block, Named, evaluate
from perfmodel.exploration.enumeration import Candidates, Space
from perfmodel.exploration.function import as_function
from perfmodel.exploration.questions import Question
from perfmodel.exploration.result import Row, Sweep
from perfmodel.exploration.search import search
from perfmodel.exploration.search_result import Found, Search
from perfmodel.exploration.sweep import sweep

__all__ = [
    "ANSWERS", "Answers", "BatchFront", "Block", "Candidates", "Found", "Named", "Question", "Row", "Search",
    "Space", "Sweep", "as_function", "evaluate", "pareto_batch", "search", "sweep",
]  # fmt: skip
