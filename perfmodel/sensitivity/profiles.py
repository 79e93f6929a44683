"""A profiler's trace of a real step: seconds of a device by kind of kernel, exposed messages and idle time apart."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.errors import InputError

__all__ = ["IDLE", "Profile", "kind_of", "read_trace"]

IDLE = "idle"
"""Time in which nothing runs on the device: the host, a bubble, samples that are not there."""
MICRO = 1e-6
"""Times in a Chrome trace are microseconds [s]."""
DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of what a device does, as PyTorch's profiler (Kineto) names them."""
STEP = re.compile(r"ProfilerStep#\d+")

MESSAGES = {
    "all_reduce": r"all_?reduce",
    "all_gather": r"all_?gather",
    "reduce_scatter": r"reduce_?scatter",
    "all_to_all": r"all_?to_?all|deep_?ep|nvshmem|internode|intranode",
    "send": r"send_?recv|nccl.*(?:send|recv)",
}
"""Collectives by the names of their kernels (NCCL, RCCL, DeepEP), and by those that PyTorch gives them."""
KINDS = {
    "attention": r"flash|fmha|attention|attn|sdpa",
    "matmul": r"gemm|cutlass|cublas|nvjet|matmul|xmma|wgmma|cijk_|conv|dgrad|wgrad|winograd|bmm|_mm_",
}
"""Other kernels by name; what none of these finds is bound by memory: norms, activations, copies, optimizers."""

Span = tuple[float, float]


class Profile(NamedTuple):
    """What a device did in one step, mean over the steps of the trace.

    Parameters
    ----------
    seconds : length of a step [s]
    by_kind : matmul, attention, memory-bound, offload, each collective as far as no other kernel runs beside it, and
        idle; they add up to the step [s]
    hidden : messages and copies that run beside other kernels [s]
    steps : in the trace [-]
    """

    seconds: float
    by_kind: dict[str, float]
    hidden: float
    steps: int


def kind_of(name: str, category: str = "kernel", collective: str = "") -> str:
    """What a kernel is for, by its name.

    Parameters
    ----------
    name : of the kernel
    category : of the event in the trace
    collective : what PyTorch says that a communication kernel is

    Returns
    -------
    matmul, attention, memory-bound, offload, or a kind of collective

    Examples
    --------
    >>> kind_of("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL"), kind_of("nvjet_hsh_128x256_64x4")
    ('reduce_scatter', 'matmul')
    >>> kind_of("void at::native::vectorized_elementwise_kernel<4>"), kind_of("Memcpy HtoD", "gpu_memcpy")
    ('memory-bound', 'offload')
    """
    text = name.casefold()
    if category == "gpu_memcpy":
        return "offload" if re.search(r"htod|dtoh", text) else "memory-bound"
    talks = collective or re.search(r"nccl|rccl|deep_?ep|nvshmem", text)
    if talks:
        for words in filter(None, (collective.casefold(), text)):
            found = next((kind for kind, names in MESSAGES.items() if re.search(names, words)), None)
            if found:
                return found
        return "all_reduce"
    return next((kind for kind, names in KINDS.items() if re.search(names, text)), "memory-bound")


def read_trace(path: str | PathLike[str]) -> Profile:
    """A trace that torch.profiler exported (Chrome JSON, gzipped or not).

    Parameters
    ----------
    path : of the file

    Returns
    -------
    seconds of a step by kind, on the device that is busiest

    Raises
    ------
    InputError
        the file can't be read, is no trace, or tells nothing of a device
    """
    events = [event for event in _events(Path(path)) if _timed(event)]
    device = _busiest(event for event in events if event.get("cat") in DEVICE_WORK)
    if not device:
        raise InputError(
            f"{path}: no kernel of a device is in this trace; profile with ProfilerActivity.CUDA, and export with "
            "export_chrome_trace"
        )
    steps = [
        _span(event) for event in events if STEP.fullmatch(str(event.get("name"))) and not _on_device(event)
    ]
    start = min((span[0] for span in steps), default=min(_span(event)[0] for event in device))
    end = max((span[1] for span in steps), default=max(_span(event)[1] for event in device))
    return _profile(device, (start, end), max(len(steps), 1))


def _events(path: Path) -> Iterable[dict[str, Any]]:
    """The events in a file, in either of the two forms of a Chrome trace."""
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        content = json.loads(text)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: this is no JSON: {error}") from None
    events = content.get("traceEvents") if isinstance(content, dict) else content
    if not isinstance(events, list):
        raise InputError(f"{path}: this is no Chrome trace: it has no list of traceEvents")
    return [event for event in events if isinstance(event, dict)]


def _timed(event: dict[str, Any]) -> bool:
    """A complete event with a beginning and a length."""
    start, length = event.get("ts"), event.get("dur")
    numbers = isinstance(start, int | float) and isinstance(length, int | float) and length >= 0
    return event.get("ph") == "X" and numbers


def _span(event: dict[str, Any]) -> Span:
    start = float(event["ts"]) * MICRO
    return start, start + float(event["dur"]) * MICRO


def _on_device(event: dict[str, Any]) -> bool:
    return str(event.get("cat", "")).startswith("gpu")


def _busiest(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the device with most to do did."""
    devices: dict[Any, list[dict[str, Any]]] = {}
    for event in events:
        arguments = event.get("args") or {}
        devices.setdefault(arguments.get("device", event.get("pid")), []).append(event)
    return max(devices.values(), key=lambda own: sum(float(event["dur"]) for event in own), default=[])


def _profile(events: list[dict[str, Any]], whole: Span, steps: int) -> Profile:
    """Seconds by kind: of compute all of it, of messages and copies what sticks out, of the rest idle time."""
    kinds: dict[str, list[Span]] = {}
    for event in events:
        arguments = event.get("args") or {}
        collective = str(arguments.get("Collective name", ""))
        kind = kind_of(str(event.get("name", "")), str(event.get("cat")), collective)
        kinds.setdefault(kind, []).append(_clipped(_span(event), whole))
    compute = [kind for kind in kinds if kind in {"attention", "matmul", "memory-bound"}]
    found: dict[str, float] = {}
    busy: list[Span] = []
    for kind in (
        *compute,
        *(kind for kind in kinds if kind not in compute),
    ):  # each adds what none before it covers
        joined = list(_joined([*busy, *kinds[kind]]))
        found[kind] = (_length(joined) - _length(busy)) / steps
        busy = joined
    talking = [span for kind in kinds if kind not in compute for span in kinds[kind]]
    sticking = sum(seconds for kind, seconds in found.items() if kind not in compute)
    length = (whole[1] - whole[0]) / steps
    return Profile(
        seconds=length,
        by_kind=found | {IDLE: max(length - _length(busy) / steps, 0.0)},
        hidden=max(_length(list(_joined(talking))) / steps - sticking, 0.0),
        steps=steps,
    )


def _clipped(span: Span, whole: Span) -> Span:
    start, end = max(span[0], whole[0]), min(span[1], whole[1])
    return start, max(start, end)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """The union of spans, in order."""
    begin = end = None
    for start, stop in sorted(spans):
        if end is None or begin is None:
            begin, end = start, stop
        elif start <= end:
            end = max(end, stop)
        else:
            yield begin, end
            begin, end = start, stop
    if begin is not None and end is not None:
        yield begin, end


def _length(spans: Iterable[Span]) -> float:
    return sum(stop - start for start, stop in spans)
