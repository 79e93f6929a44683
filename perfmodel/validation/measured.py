"""What an inference row has measured, each quantity once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["measured_metrics"]

Row = Mapping[str, Any]

PREFILL = (("prefill_s", "prefill_time"), ("ttft_s", "ttft"))
DECODE = (("decode_s_per_token", "decode_time"), ("tpot_s", "tpot"))
WHOLE = (
    ("latency_s", "latency"), ("throughput_output_tok_s", "output_tokens_per_second"),
    ("throughput_total_tok_s", "total_tokens_per_second"), ("samples_per_s", "samples_per_second"),
)  # fmt: skip
"""Fields of `measured` that tell one quantity, each with the metric's name; the first that a row has is scored."""
SAME = 0.02
"""Rates that lie so near are the same one [-]."""


def measured_metrics(row: Row) -> dict[str, float]:
    """What is to be predicted, each quantity once: times before rates that are derived from them.

    Parameters
    ----------
    row : in the format of `docs/measurements.md`

    Returns
    -------
    metrics with their values, SI units

    Examples
    --------
    >>> measured_metrics({"phase": "prefill", "measured": {"prefill_s": 0.5, "latency_s": 0.5, "samples_per_s": 2.0}})
    {'prefill_time': 0.5}
    >>> measured_metrics({"phase": "end_to_end", "measured": {"latency_s": 0.5, "throughput_output_tok_s": 256}})
    {'latency': 0.5}
    """
    stated = row.get("measured")
    found = {
        key: value
        for key, value in (stated if isinstance(stated, Mapping) else {}).items()
        if _is_number(value)
    }
    metrics = {}
    for span in _spans(row, found):
        for key, name in span:
            if key in found:
                metrics[name] = float(found[key])
                break
    if "memory_gib" in found:
        metrics["peak_memory"] = float(found["memory_gib"]) * 2**30
    return metrics


def _spans(row: Row, found: Mapping[str, float]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Forms of one quantity each."""
    phase = row.get("phase")
    if phase == "prefill":
        yield (*PREFILL, *WHOLE)
    elif phase == "decode":
        yield (*DECODE, *WHOLE)
    else:
        yield PREFILL
        yield DECODE
        step = found.get("decode_s_per_token", found.get("tpot_s"))
        rate = found.get("throughput_output_tok_s")
        apart = step and rate and row.get("batch") and abs(rate * step / float(row["batch"]) - 1) < SAME
        if not (apart and "latency_s" not in found and phase == "end_to_end" and "prefill_s" in found):
            yield WHOLE  # else the rate is that of decode alone


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
