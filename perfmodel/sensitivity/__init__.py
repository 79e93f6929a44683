"""Why an estimate is what it is: what limits it, what each number of the machine would buy, and the formula itself."""

from perfmodel.sensitivity.attribution import Attribution, attribution
from perfmodel.sensitivity.quantities import Quantity, quantities, with_values

__all__ = ["Attribution", "Quantity", "attribution", "quantities", "with_values"]
