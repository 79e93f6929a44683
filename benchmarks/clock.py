"""The clock of the benchmarks: CPU time, so that a busy machine changes little."""

from __future__ import annotations

import resource
import time


def cpu_time() -> float:
    """CPU time of this process and of those that it has waited for [s]."""
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + others.ru_utime + others.ru_stime
