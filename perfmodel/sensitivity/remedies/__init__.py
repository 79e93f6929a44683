"""What could be changed to be faster, or to fit: small functions in one table, by what they touch."""

from perfmodel.sensitivity.remedies import (  # noqa: F401  they fill the table
    data,
    experts,
    layout,
    machine,
    messages,
    serving,
    states,
    step,
)
from perfmodel.sensitivity.remedies.table import REMEDIES, SCOPES, Changes, Remedy, Scope, remedy

__all__ = ["REMEDIES", "SCOPES", "Changes", "Remedy", "Scope", "remedy"]
