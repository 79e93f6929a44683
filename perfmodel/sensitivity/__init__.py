"""Why an estimate is what it is: what limits it, what each number would buy, the formula itself, and what to change."""

from perfmodel.sensitivity.advice import Advice, advise
from perfmodel.sensitivity.attribution import Attribution, attribution
from perfmodel.sensitivity.changes import Changed
from perfmodel.sensitivity.compare import compare
from perfmodel.sensitivity.comparison import Comparison
from perfmodel.sensitivity.crossings import balance, crossover, turning_point
from perfmodel.sensitivity.diagnosis import Diagnosis, diagnose
from perfmodel.sensitivity.elasticity import Elasticities, elasticities
from perfmodel.sensitivity.fields import Field, fields
from perfmodel.sensitivity.gaps import Gap
from perfmodel.sensitivity.inputs import Inputs
from perfmodel.sensitivity.quantities import Quantity, each_alone, numbers, quantities, with_values
from perfmodel.sensitivity.suggestion import Suggestion
from perfmodel.sensitivity.what_if import Difference, Moved, what_if

__all__ = [
    "Advice", "Attribution", "Changed", "Comparison", "Diagnosis", "Difference", "Elasticities", "Field", "Gap",
    "Inputs", "Moved", "Quantity", "Suggestion", "advise", "attribution", "balance", "compare", "crossover",
    "diagnose", "each_alone", "elasticities", "fields", "numbers", "quantities", "turning_point", "what_if",
    "with_values",
]  # fmt: skip
