"""Errors that say the rule, the numbers given, the valid choices and the nearest one that works.

::

    PerfModelError                  everything this library raises on purpose
    ├── InputError                  a value that cannot be used            (also a ValueError)
    │   ├── UnknownNameError        a name nobody knows                    (also a LookupError)
    │   ├── UnitError               a quantity that cannot be read
    │   ├── SpecError               a specification file or its content
    │   └── UnsupportedError        valid, but not built or not applicable
    └── MissingExtraError           an optional package is not installed   (also an ImportError)

>>> raise unknown("device", "h10", ["h100", "mi300x"])
Traceback (most recent call last):
perfmodel.errors.UnknownNameError: unknown device "h10"; did you mean h100? valid: h100, mi300x
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Faults", "InputError", "MissingExtraError", "PerfModelError", "SpecError", "UnitError",
    "UnknownNameError", "UnsupportedError", "near", "unknown",
]  # fmt: skip

LISTED_IN_FULL = 25
"""Up to so many valid names are written out in a message [-]."""


class PerfModelError(Exception):
    """Base of every error that perfmodel raises on purpose."""


class InputError(PerfModelError, ValueError):
    """A value that cannot be used; the message says the rule and a choice that works."""

    faults: tuple[str, ...] = ()
    """The single faults, where several were told at once."""


class UnknownNameError(InputError, LookupError):
    """A name that nobody knows."""


class UnitError(InputError):
    """A quantity that cannot be read: unknown, ambiguous or wrong unit."""


class SpecError(InputError):
    """A specification (a YAML file or its content) that breaks a rule."""


class UnsupportedError(InputError):
    """A valid wish that is not built, or that does not apply here."""


class MissingExtraError(PerfModelError, ImportError):
    """An optional package is missing.

    Parameters
    ----------
    package : what could not be imported
    extra : the pip extra of perfmodel that brings it

    Examples
    --------
    >>> print(MissingExtraError("matplotlib", "plot"))
    this needs matplotlib, which is not installed: pip install "perfmodel[plot]"
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'this needs {package}, which is not installed: pip install "perfmodel[{extra}]"')
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.package, self.extra)


def near(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The choices that look most like a name, best first.

    Parameters
    ----------
    name : as it was given
    choices : the valid names
    n : how many at most [-]

    Examples
    --------
    >>> near("bandwith", ["bandwidth", "capacity"])
    ['bandwidth']
    >>> near("H100", ["nvidia-h100-sxm-80gb", "nvidia-h100-pcie-80gb", "amd-mi300x"])
    ['nvidia-h100-sxm-80gb', 'nvidia-h100-pcie-80gb']
    """
    alike = {choice: _likeness(name.casefold(), choice.casefold()) for choice in choices}
    cutoff = max(0.6, max(alike.values(), default=0.0) - 0.1)
    close = [choice for choice, likeness in alike.items() if likeness >= cutoff]
    return sorted(close, key=lambda choice: -alike[choice])[:n]


def _likeness(name: str, choice: str) -> float:
    """How much a name looks like a choice or, a little less, like a part of it; 1 is the same."""
    match = difflib.SequenceMatcher(b=name)
    likeness = 0.9 * (name != "" and name in choice)
    for text, weight in ((choice, 1.0), *((part, 0.9) for part in re.split(r"[-_ ]", choice))):
        match.set_seq1(text)
        if match.quick_ratio() * weight > likeness:
            likeness = max(likeness, match.ratio() * weight)
    return likeness


def unknown(kind: str, name: str, choices: Iterable[str], hint: str = "") -> UnknownNameError:
    """The error for a name that is not among the valid ones.

    Parameters
    ----------
    kind : what is named: device, field, dtype, …
    name : as it was given
    choices : the valid names
    hint : where to list them, or what to do instead

    Returns
    -------
    the error, to be raised by the caller

    Examples
    --------
    >>> print(unknown("dtype", "bf61", ["bf16", "fp8"]))
    unknown dtype "bf61"; did you mean bf16? valid: bf16, fp8
    """
    valid = sorted(choices)
    alike = near(name, valid)
    meant = f"did you mean {' or '.join(alike)}? " if alike else ""
    if not valid:
        listed = f"there is no {kind} to choose from"
    elif len(valid) <= LISTED_IN_FULL:
        listed = f"valid: {', '.join(valid)}"
    else:
        listed = f"{len(valid)} are known"
    ending = f"; {hint}" if hint else ""
    return UnknownNameError(f'unknown {kind} "{name}"; {meant}{listed}{ending}')


class Faults:
    """Collects faults so that one error tells them all.

    Parameters
    ----------
    subject : what is at fault; opens the message

    Examples
    --------
    >>> faults = Faults("Parallel")
    >>> faults.add("tp = 3 does not divide the 64 attention heads; valid: 1, 2, 4, 8; nearest: 4")
    >>> faults.add("pp = 0 must be at least 1")
    >>> faults.raise_if_any()
    Traceback (most recent call last):
    perfmodel.errors.InputError: Parallel has 2 faults:
      - tp = 3 does not divide the 64 attention heads; valid: 1, 2, 4, 8; nearest: 4
      - pp = 0 must be at least 1
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.found: list[str] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, fault: str) -> None:
        """Note one fault: the rule, the numbers, the valid choices, the nearest one that works."""
        self.found.append(fault)

    def error(self, kind: type[InputError] = InputError) -> InputError:
        """All faults as one error: one line for a single fault, a bullet list for several."""
        if len(self.found) == 1:
            error = kind(f"{self.subject}: {self.found[0]}")
        else:
            bullets = "".join(f"\n  - {fault}" for fault in self.found)
            error = kind(f"{self.subject} has {len(self.found)} faults:{bullets}")
        error.faults = tuple(self.found)
        return error

    def raise_if_any(self, kind: type[InputError] = InputError) -> None:
        """Raise them all as one error; do nothing if there are none."""
        if self.found:
            raise self.error(kind)
