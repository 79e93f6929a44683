"""Chunks answered here or by any executor: results stream back, a failed chunk is tried again, none is lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import BrokenExecutor
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from perfmodel.errors import MissingExtraError, PerfModelError

__all__ = ["Executor", "Progress", "Run", "Task", "answered"]

WAITING = 64
"""Chunks that are sent and not yet answered, at most; what is sent and what comes back stays small [-]."""
PATIENCE = 1.0
"""Before a progress bar shows [s]."""
GLANCE = 0.2
"""Between two looks at whether a sweep is cancelled, while chunks are away [s]."""


class Executor(Protocol):
    """What runs functions elsewhere: a pool of `concurrent.futures`, Dask's, Ray's or mpi4py's."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """A future of the function's result."""
        ...


class Task(Protocol):
    """A part of a sweep or of a search, small enough to be sent anywhere."""

    @property
    def rows(self) -> int:
        """Configurations that it stands for [-]."""
        ...

    def answer(self, columns: Collection[str] | None) -> Any:
        """Its results, of these names; None is all."""
        ...


Chunk = TypeVar("Chunk", bound=Task)

Progress = bool | Callable[[int, int], None] | None
"""Whether a bar is shown: True is at once, None is after a second, False is never; or who is told rows done and all."""


class Run(NamedTuple):
    """How a sweep is run.

    Parameters
    ----------
    columns : names of results that are wanted; None is all
    executor : who answers chunks; None is this process
    retries : how often a failed chunk is tried again [-]
    progress : see `Progress`
    cancel : asked between chunks; what is answered then stays
    """

    columns: Collection[str] | None = None
    executor: Executor | None = None
    retries: int = 2
    progress: Progress = None
    cancel: Callable[[], bool] | None = None


def answered(chunks: Iterator[Chunk], run: Run, total: int) -> Iterator[tuple[Chunk, Any]]:
    """Answers of all chunks, in the order in which they come; `cancel` ends them early.

    Parameters
    ----------
    chunks : to be answered
    run : how
    total : rows of all of them [-]

    Raises
    ------
    Exception
        what a chunk raised on its last try
    """
    tell, close = _teller(run.progress, total)
    source = _here(chunks, run) if run.executor is None else _there(chunks, run, run.executor)
    done = 0
    try:
        for chunk, block in source:
            done += chunk.rows
            yield chunk, block
            tell(done, total)
    finally:
        close()


def answer(chunk: Task, columns: Collection[str] | None) -> Any:
    """One chunk's results; all that a worker runs.

    Parameters
    ----------
    chunk : to be answered
    columns : names of results that are wanted
    """
    return chunk.answer(columns)


def _cancelled(run: Run) -> bool:
    return run.cancel is not None and run.cancel()


def _here(chunks: Iterator[Chunk], run: Run) -> Iterator[tuple[Chunk, Any]]:
    for chunk in chunks:
        if _cancelled(run):
            return
        yield chunk, answer(chunk, run.columns)


class _Away(NamedTuple, Generic[Chunk]):
    """A chunk that was sent."""

    chunk: Chunk
    tries: int


def _there(chunks: Iterator[Chunk], run: Run, executor: Executor) -> Iterator[tuple[Chunk, Any]]:
    """Chunks answered by an executor, a limited number of them away at once."""
    back: SimpleQueue[Any] = SimpleQueue()
    away: dict[Any, _Away[Chunk]] = {}

    def send(chunk: Chunk, tries: int) -> None:
        future = executor.submit(answer, chunk, run.columns)
        away[future] = _Away(chunk, tries)
        future.add_done_callback(back.put)

    try:
        for chunk in chunks:
            if _cancelled(run):
                break
            try:
                send(chunk, 0)
            except BrokenExecutor:
                yield chunk, _alone(chunk, run)
            while (len(away) >= WAITING and not _cancelled(run)) or not back.empty():
                yield from _one_back(back, away, send, run)
        while away and not _cancelled(run):
            yield from _one_back(back, away, send, run)
        while not back.empty():  # what is there when a sweep is cancelled
            future = back.get()
            if not future.cancelled() and future.exception() is None:
                yield away.pop(future).chunk, future.result()
    finally:
        for future in away:
            future.cancel()


def _one_back(
    back: SimpleQueue[Any], away: dict[Any, _Away[Chunk]], send: Callable[[Chunk, int], None], run: Run
) -> Iterator[tuple[Chunk, Any]]:
    """The next answer, if one comes before the next glance; what failed is sent again."""
    try:
        future = back.get(timeout=GLANCE)
    except Empty:
        return
    sent = away.pop(future)
    try:
        yield sent.chunk, future.result()
    except PerfModelError:  # it would say the same again
        raise
    except Exception as error:
        try:
            if sent.tries >= run.retries:
                raise
            send(sent.chunk, sent.tries + 1)
        except BrokenExecutor:
            if not isinstance(error, BrokenExecutor):
                raise
            yield sent.chunk, _alone(sent.chunk, run)


def _alone(chunk: Task, run: Run) -> Any:
    """An answer from this process, where an executor is beyond repair."""
    warnings.warn("the executor is broken: this process answers what is left", RuntimeWarning, stacklevel=2)
    return answer(chunk, run.columns)


def _teller(progress: Progress, total: int) -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """Who is told how far a sweep is, and how that ends."""
    if callable(progress):
        return progress, lambda: None
    if progress is False:
        return lambda done, total: None, lambda: None
    try:
        from tqdm import tqdm
    except ImportError:
        if progress:
            raise MissingExtraError("tqdm", "progress") from None
        return lambda done, total: None, lambda: None
    bar = tqdm(
        total=total, unit=" rows", unit_scale=True, delay=0 if progress else PATIENCE, leave=bool(progress)
    )

    def tell(done: int, total: int) -> None:
        bar.update(done - bar.n)

    return tell, bar.close
