"""concurrent.futures.ProcessPoolExecutor over tine's workers.

The death of a worker fails its own task, where the standard library's executor fails all;
and cancel() ends tasks that run.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from concurrent.futures.process import BrokenProcessPool, _ExceptionWithTraceback
from functools import partial
from typing import Any

from tine import _engine
from tine._engine import Engine, Hooks

__all__ = ["ProcessPoolExecutor", "BrokenProcessPool", "WorkerDied"]


class WorkerDied(_engine.WorkerDied, BrokenProcessPool):
    """tine.WorkerDied, for programs that expect BrokenProcessPool. Nothing is broken."""


class _Hooks(Hooks):
    failures = BaseException
    traced = staticmethod(_ExceptionWithTraceback)

    @staticmethod
    def unsent(error: BaseException, value: Any) -> Any:
        # None is taken, whatever its types say.
        return _ExceptionWithTraceback(
            error, error.__traceback__)  # type: ignore[arg-type]

    def initialize(self) -> None:
        try:
            super().initialize()
        except Exception as error:
            raise BrokenProcessPool("the initializer of a worker failed") from error


class _Future(Future):  # type: ignore[type-arg]
    # Of Future's own, for which there are no types.
    _condition: threading.Condition
    _state: str
    _waiters: list[Any]
    _invoke_callbacks: Callable[[], None]

    _engine: Engine
    _died = WorkerDied

    @property
    def _ended(self) -> bool:
        return self.done()

    def cancel(self) -> bool:
        """Also a task that runs: its worker is killed, and replaced."""
        if super().cancel():
            return True
        with self._condition:
            if self._state != "RUNNING":
                return False
            self._state = "CANCELLED_AND_NOTIFIED"
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()
        self._engine.cancel(self)
        return True

    def _tasks_of(self, index: int) -> tuple[int, int]:
        return index, index

    def _set(self, i: int, outcome: tuple[bool, Any]) -> None:
        success, value = outcome
        try:
            if success:
                self.set_result(value)
            else:
                self.set_exception(value)
        except InvalidStateError:
            pass  # it was cancelled meanwhile

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, CancelledError):
            self.cancel()
        else:
            self._set(0, (False, error))


class ProcessPoolExecutor(Executor):
    """As of the standard library. Workers are forked when the first task is submitted.

    timeout, retries, memory: as of tine.multiprocessing.Pool
    """

    def __init__(self, max_workers: int | None = None, mp_context: Any = None,
                 initializer: Callable[..., Any] | None = None,
                 initargs: Iterable[Any] = (), *, max_tasks_per_child: int | None = None,
                 timeout: float | None = None, retries: int = 0, memory: int = 0) -> None:
        if max_workers is None:
            max_workers = len(os.sched_getaffinity(0))
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        self._max_workers = max_workers
        self._start = partial(Engine, max_workers, _Hooks(initializer, initargs),
                              max_tasks_per_child, timeout, retries, memory)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._waiting: set[_Future] = set()
        self._shut = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = _Future()
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _exiting:
                raise RuntimeError("cannot schedule new futures after "
                                   "interpreter shutdown")
            if self._engine is None:
                self._engine = self._start()
                _open[self._engine] = weakref.finalize(self, self._engine.close)
            future._engine = self._engine
        self._waiting.add(future)
        future._engine.add(_task(self._waiting, future, fn, args, kwargs))
        return future

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any],
            timeout: float | None = None, chunksize: int = 1) -> Iterator[Any]:
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        chunks = super().map(partial(_process_chunk, fn),
                             _chunks(zip(*iterables), chunksize), timeout=timeout)
        return _items(chunks)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._shut = True
        if cancel_futures:
            for future in list(self._waiting):
                future.cancel()
        if self._engine is not None:
            self._engine.close()
            if wait and threading.current_thread() is not self._engine.thread:
                self._engine.thread.join()


def _task(waiting: set[_Future], future: _Future, fn: Callable[..., Any],
          args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[_engine.Task]:
    """Runs when there is room for the task."""
    waiting.discard(future)
    if future.set_running_or_notify_cancel():
        yield future, 0, fn, args, kwargs


def _process_chunk(fn: Callable[..., Any], chunk: tuple[Any, ...]) -> list[Any]:
    return [fn(*args) for args in chunk]


def _chunks(items: Iterator[Any], size: int) -> Iterator[tuple[Any, ...]]:
    while chunk := tuple(itertools.islice(items, size)):
        yield chunk


def _items(chunks: Iterator[list[Any]]) -> Iterator[Any]:
    """Keeps no result that was given away."""
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


_open: weakref.WeakKeyDictionary[Engine, Any] = weakref.WeakKeyDictionary()
_exiting = False


def _finish() -> None:
    """As the interpreter ends: what was submitted is done first."""
    global _exiting
    _exiting = True
    for engine in list(_open):
        engine.close()
        engine.thread.join()


def _forget() -> None:
    """In a child of fork(): the workers are its parent's."""
    _open.clear()


threading._register_atexit(_finish)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget)
