"""Remedies of the input pipeline: samples made ready faster, or smaller where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.sensitivity.remedies.table import Changes, remedy

__all__ = ["faster_loading", "smaller_samples"]


@remedy(
    "a faster input pipeline: more workers, samples prepared ahead, decoding on the device",
    relieves=("input_pipeline",),
    costs="cores of the host, or samples prepared once and stored",
)
def faster_loading(est: Any) -> Iterator[Changes]:
    """Twice and four times the samples a second."""
    if est.work.data_rate is not None:
        yield from ({"data_rate": rate} for rate in ("2x", "4x"))


@remedy(
    "smaller samples on storage: compressed, sharded, or kept in the host's memory",
    relieves=("storage",),
    costs="cores of the host that unpack them, or its memory",
)
def smaller_samples(est: Any) -> Iterator[Changes]:
    """Half and a quarter of the bytes."""
    if est.work.sample_bytes is not None:
        yield from ({"sample_bytes": size} for size in ("0.5x", "0.25x"))
