"""Queues in the family's memory. What was put is in the queue, whatever dies."""

from __future__ import annotations

import sys
import traceback
from multiprocessing import queues as _queues

from tine import _core
from tine.multiprocessing._family import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Queue", "SimpleQueue", "JoinableQueue"]


def __getattr__(name: str) -> Any:
    return getattr(_queues, name)


class _Reader:
    """What multiprocessing.connection.wait() and an executor want of a queue."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def fileno(self) -> int:
        return _core.Queue.arm(self._queue)

    def poll(self, timeout: float | None = 0.0) -> bool:
        from multiprocessing.connection import wait
        return not self._queue.empty() or bool(wait([self], timeout))

    def recv(self) -> Any:
        return _core.Queue.get(self._queue)

    def close(self) -> None:
        """Of a pipe it would be this process's end alone."""

    @property
    def closed(self) -> bool:
        return self._queue._closed


class _Writer:
    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def send(self, obj: object) -> None:
        _core.Queue.put(self._queue, obj)

    def close(self) -> None:
        """Of a pipe it would be this process's end alone."""

    @property
    def closed(self) -> bool:
        return self._queue._closed


class _Queue(Handle, _core.Queue):
    @property
    def _reader(self) -> _Reader:
        return _Reader(self)

    @property
    def _writer(self) -> _Writer:
        return _Writer(self)

    def __class_getitem__(cls, item: Any) -> Any:
        import types
        return types.GenericAlias(cls, item)


@_core.own_methods
class Queue(_Queue):
    """multiprocessing.Queue. put() copies at once, and no thread feeds a pipe."""

    _joinable = False
    _kept = ("_maxsize",)

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        _core.Queue.__init__(self, maxsize, self._joinable)
        self._maxsize = maxsize

    def put_nowait(self, obj: object) -> None:
        self.put(obj, False)

    def get_nowait(self) -> Any:
        return self.get(False)

    def join_thread(self) -> None:
        pass

    def cancel_join_thread(self) -> None:
        pass

    @staticmethod
    def _on_queue_feeder_error(e: BaseException, obj: object) -> None:
        """For an object that put() could not pickle, as in multiprocessing."""
        traceback.print_exception(e, file=sys.stderr)


@_core.own_methods
class JoinableQueue(Queue):
    _joinable = True
    # What logging's listener does depends on whether a queue has this.
    task_done = _core.Queue._task_done
    join = _core.Queue._join


@_core.own_methods
class SimpleQueue(_Queue):
    def __init__(self, *, ctx: Any = None) -> None:
        _core.Queue.__init__(self, 0, False, True)


