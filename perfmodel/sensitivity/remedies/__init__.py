"""What could be changed to be faster, or to fit: small functions in one table, by what they touch."""

from perfmodel.sensitivity.remedies import experts, layout, machine, messages, states, step  # noqa: F401  fill the table
from perfmodel.sensitivity.remedies.table import REMEDIES, SCOPES, Changes, Remedy, Scope, remedy

__all__ = ["REMEDIES", "SCOPES", "Changes", "Remedy", "Scope", "remedy"]
