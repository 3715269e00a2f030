"""multiprocessing.pool over tine: no task hangs a pool, whatever it does to a worker."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import pool as _pool, util
from multiprocessing.pool import (CLOSE, INIT, RUN, TERMINATE, ExceptionWithTraceback,
                                  MaybeEncodingError, RemoteTraceback, ThreadPool,
                                  mapstar, starmapstar)

from tine._engine import Engine, Hooks, WorkerDied, cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_Standard = _pool.Pool

__all__ = ["Pool", "ThreadPool", "ApplyResult", "AsyncResult", "MapResult",
           "IMapIterator", "IMapUnorderedIterator", "MaybeEncodingError",
           "RemoteTraceback", "WorkerDied"]


class _Cancellable:
    _pool: Any

    def cancel(self) -> bool:
        """Ends what is not done, also what runs: its worker is killed, and replaced.

        False if all was done. get(), or the next item, raises CancelledError of
        concurrent.futures.
        """
        pool = self._pool
        if pool is None or not self._fail(cancelled()):
            return False
        pool._engine.cancel(self)
        return True

    def _fail(self, error: BaseException) -> bool:
        raise NotImplementedError


class ApplyResult(_Cancellable, _pool.ApplyResult):
    _died = WorkerDied

    @property
    def _ended(self) -> bool:
        return self._job not in self._cache

    def _tasks_of(self, index: int) -> tuple[int, int]:
        return index, index

    def _set(self, i: int, outcome: tuple[bool, Any]) -> None:
        self._end(*outcome)

    def _fail(self, error: BaseException) -> bool:
        return self._end(False, error)

    def _end(self, success: bool, value: Any) -> bool:
        # Of two threads one takes it from the cache.
        if self._cache.pop(self._job, None) is None:
            return False
        self._success, self._value = success, value
        callback = self._callback if success else self._error_callback
        try:
            if callback:
                callback(value)
        finally:
            self._event.set()
            self._pool = None
        return True


AsyncResult = ApplyResult


class MapResult(ApplyResult):
    def __init__(self, pool: Pool, chunksize: int, length: int,
                 callback: Callable[[Any], Any] | None,
                 error_callback: Callable[[BaseException], Any] | None) -> None:
        super().__init__(pool, callback, error_callback)
        self._chunksize, self._length = chunksize, length
        self._single = False  # an outcome is an item, and not a list
        self._results = [None] * length
        self._error: BaseException | None = None
        # One step is atomic, and outcomes come in more than one thread.
        self._left = iter(range(-(-length // chunksize) - 1 if length else 0, -1, -1))
        if length == 0:
            del self._cache[self._job]
            self._success, self._value, self._pool = True, self._results, None
            self._event.set()

    def _tasks_of(self, index: int) -> tuple[int, int]:
        first = index * self._chunksize
        return first, min(first + self._chunksize, self._length) - 1

    def _set(self, i: int, outcome: tuple[bool, Any]) -> None:
        success, value = outcome
        if success:
            if self._single:
                self._results[i] = value
            else:
                self._results[i * self._chunksize:(i + 1) * self._chunksize] = value
        elif self._error is None:
            self._error = value
        if next(self._left) == 0:
            if self._error is None:
                self._end(True, self._results)
            else:
                self._end(False, self._error)


class IMapIterator(_Cancellable, _pool.IMapIterator):
    _died = WorkerDied
    _chunksize = 1
    _ended = False

    def _tasks_of(self, index: int) -> tuple[int, int]:
        return index * self._chunksize, (index + 1) * self._chunksize - 1

    def _set(self, i: int, outcome: tuple[bool, Any]) -> None:
        if not self._ended:
            super()._set(i, outcome)

    def _set_length(self, length: int) -> None:
        if not self._ended and self._job in self._cache:
            super()._set_length(length)

    def _fail(self, error: BaseException) -> bool:
        with self._cond:
            if self._cache.pop(self._job, None) is None:
                return False
            self._ended, self._pool = True, None
            self._items.append((False, error))
            self._length = self._index = self._index + 1
            self._cond.notify_all()
            return True


class IMapUnorderedIterator(IMapIterator):
    def _set(self, i: int, outcome: tuple[bool, Any]) -> None:
        if not self._ended:
            _pool.IMapUnorderedIterator._set(self, i, outcome)  # type: ignore[arg-type]


class _Worker:
    """Of Pool._pool. The process is another after each death."""

    def __init__(self, engine: Engine, index: int, name: str) -> None:
        self._engine, self._index, self.name = engine, index, name
        self.daemon = True

    @property
    def pid(self) -> int | None:
        pids = self._engine.core.pids()
        return pids[self._index] if pids else None

    ident = pid

    def is_alive(self) -> bool:
        pid = self.pid
        try:
            return pid is not None and os.kill(pid, 0) is None
        except ProcessLookupError:
            return False


class _Hooks(Hooks):
    traced = staticmethod(ExceptionWithTraceback)
    unsent = staticmethod(MaybeEncodingError)


class Pool(_Standard):
    """multiprocessing.Pool. A task that ends its worker fails alone, with WorkerDied.

    timeout: seconds that a task may take; then its worker is killed
    retries: how often a task is tried again if its worker died
    memory: bytes of its own above which a worker is replaced
    """

    def __init__(self, processes: int | None = None,
                 initializer: Callable[..., Any] | None = None,
                 initargs: Iterable[Any] = (), maxtasksperchild: int | None = None,
                 context: Any = None, *, timeout: float | None = None, retries: int = 0,
                 memory: int = 0) -> None:
        if not isinstance(self, Pool):
            # A ThreadPool, and this class is in the place of its base.
            _Standard.__init__(self, processes, initializer, initargs, maxtasksperchild,
                               context)
            return
        self._pool: list[_Worker] = []
        self._state = INIT
        if processes is None:
            processes = os.cpu_count() or 1
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None:
            if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
                raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._ctx, self._processes = context, processes
        self._cache: dict[int, Any] = {}
        hooks = _Hooks(initializer, initargs)
        if context is not None:
            hooks.make = functools.partial(type(self).Process, context)
        self._engine = Engine(processes, hooks, maxtasksperchild, timeout, retries, memory)
        self._pool = [_Worker(self._engine, i, process.name)
                      for i, process in enumerate(hooks.processes)]
        self._terminate = util.Finalize(self, self._engine.terminate, exitpriority=15)
        self._state = RUN

    def _repopulate_pool(self) -> None:
        """Dead workers are replaced without being asked for."""

    def __del__(self, _warn: Any = warnings.warn, RUN: str = RUN) -> None:
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning,
                  source=self)

    def apply_async(self, func: Callable[..., Any], args: Iterable[Any] = (),
                    kwds: dict[str, Any] = {}, callback: Any = None,
                    error_callback: Any = None) -> ApplyResult:
        self._check_running()
        result = ApplyResult(self, callback, error_callback)
        self._engine.add([(result, 0, func, args, kwds)])
        return result

    def _map_async(self, func: Callable[..., Any], iterable: Iterable[Any], mapper: Any,
                   chunksize: int | None = None, callback: Any = None,
                   error_callback: Any = None) -> MapResult:
        self._check_running()
        error = None
        try:
            items = list(iterable)
        except Exception as raised:
            if not hasattr(iterable, "__len__"):
                raise
            items, error = [None], raised
        if chunksize is None:
            chunksize = -(-len(items) // (len(self._pool) * 4))
        result = MapResult(self, max(chunksize, 1), len(items), callback, error_callback)
        if error is not None:
            result._fail(error)
        elif chunksize <= 1 and mapper is mapstar:
            result._single = True
            self._engine.add((result, i, func, (item,), {})
                             for i, item in enumerate(items))
        elif items:
            batches = _Standard._get_tasks(func, items, max(chunksize, 1))
            self._engine.add((result, i, mapper, (batch,), {})
                             for i, batch in enumerate(batches))
        return result

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any],
             chunksize: int = 1) -> Iterator[Any]:
        return self._imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(self, func: Callable[..., Any], iterable: Iterable[Any],
                       chunksize: int = 1) -> Iterator[Any]:
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize)

    def _imap(self, kind: type[IMapIterator], func: Callable[..., Any],
              iterable: Iterable[Any], chunksize: int) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
        result = kind(self)
        result._chunksize = chunksize
        if chunksize == 1:
            self._engine.feed(result, _singles(func, iterable))
            return result
        batches = _Standard._get_tasks(func, iterable, chunksize)
        self._engine.feed(result, ((mapstar, (batch,), {}) for batch in batches))
        return (item for chunk in result for item in chunk)

    def close(self) -> None:
        if self._state == RUN:
            self._state = CLOSE
            self._engine.close()

    def terminate(self) -> None:
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._engine.thread.join()


def _singles(func: Callable[..., Any], iterable: Iterable[Any]) -> Iterator[Any]:
    return ((func, (item,), {}) for item in iterable)
