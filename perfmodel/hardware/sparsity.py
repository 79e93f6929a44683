"""Refuses the commonest wrong number of all: a peak quoted with 2:4 sparsity where a dense one belongs."""

from __future__ import annotations

import re
from functools import cache

from perfmodel.errors import Faults, SpecError
from perfmodel.specs import bundled_folder, read_yaml
from perfmodel.units import parse, show

__all__ = ["refuse_sparse_headlines"]

SAME = 0.02
"""Headlines are rounded (733 for twice 362): values so close are the same, relatively [-]."""


def refuse_sparse_headlines(names: str, peaks: dict[str, float]) -> None:
    """Raise where a peak is the known 2:4-sparse headline of the device's family.

    Parameters
    ----------
    names : everything the device is called
    peaks : rates by number format [FLOP/s]

    Raises
    ------
    SpecError
        it is; the dense rate is told

    Examples
    --------
    >>> refuse_sparse_headlines("my H100 SXM", {"bf16": 1979e12})
    Traceback (most recent call last):
    perfmodel.errors.SpecError: peak.bf16: 1.979 PFLOP/s: this is the 2:4 sparse headline; dense is 989.4 TFLOP/s
    """
    faults = Faults("peak")
    for family in _words(names) & _headlines().keys():
        for dtype, dense in _headlines()[family].items():
            for rate in dense:
                if abs(peaks.get(dtype, 0.0) - 2 * rate) <= 2 * rate * SAME:
                    faults.add(
                        f"peak.{dtype}: {show(peaks[dtype], 'FLOP/s')}: this is the 2:4 sparse headline; "
                        f"dense is {show(rate, 'FLOP/s')}"
                    )
    if faults:
        error = SpecError("; ".join(faults.found))
        error.faults = tuple(faults.found)
        raise error


def _words(names: str) -> set[str]:
    return set(re.findall(r"[a-z0-9.]+", names.casefold()))


@cache
def _headlines() -> dict[str, dict[str, list[float]]]:
    """Dense rates whose doubles are quoted, by family and number format [FLOP/s]."""
    families = read_yaml(bundled_folder("hardware_specs") / "sparse_headlines.yaml")["families"]
    return {
        family: {dtype: [parse(rate, "FLOP/s") for rate in rates] for dtype, rates in formats.items()}
        for family, formats in families.items()
    }
