"""Managers whose queues, locks and values need no server process.

Lists, dicts, namespaces and what a program registers do; it begins with the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from multiprocessing import managers as _managers
from multiprocessing.managers import State

from tine import _core
from tine.multiprocessing import queues, sharedctypes, synchronize
from tine.multiprocessing._family import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BaseManager", "SyncManager", "BaseProxy", "Token", "SharedMemoryManager"]


def __getattr__(name: str) -> Any:
    return getattr(_managers, name)


class Value(Handle, _core.Cell):
    """A manager's Value: any object that pickles."""

    _kept = ("_typecode",)

    def __init__(self, typecode: Any, value: Any, lock: bool = True) -> None:
        _core.Cell.__init__(self)
        self.set(value)
        self._typecode = typecode

    @property
    def value(self) -> Any:
        return self.get()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._typecode!r}, {self.get()!r})"

    def __class_getitem__(cls, item: Any) -> Any:
        import types
        return types.GenericAlias(cls, item)


class SyncManager(_managers.SyncManager):
    _process = None

    def start(self, initializer: Callable[..., Any] | None = None,
              initargs: Iterable[Any] = ()) -> None:
        """The server begins with the first object that needs one, or its initializer."""
        if initializer is not None or self._state.value != State.INITIAL:
            super().start(initializer, initargs)

    def _serve(self) -> None:
        if self._state.value == State.INITIAL:
            super().start()

    def __enter__(self) -> Any:
        return self

    def shutdown(self) -> None:
        """Until there is a server, which puts another in place of this."""
        self._state.value = State.SHUTDOWN

    def join(self, timeout: float | None = None) -> None:
        if self._process is not None:
            super().join(timeout)

    @property
    def address(self) -> Any:
        self._serve()
        return self._address

    def _create(self, typeid: str, /, *args: Any, **words: Any) -> Any:
        self._serve()
        return super()._create(typeid, *args, **words)

    def _number_of_objects(self) -> int:
        return super()._number_of_objects() if self._process is not None else 0

    def _debug_info(self) -> str:
        return super()._debug_info() if self._process is not None else ""

    def Queue(self, maxsize: int = 0) -> queues.JoinableQueue:
        # That of a server is queue.Queue, which can be joined.
        return queues.JoinableQueue(maxsize)

    def JoinableQueue(self, maxsize: int = 0) -> queues.JoinableQueue:
        return queues.JoinableQueue(maxsize)

    def Event(self) -> synchronize.Event:
        return synchronize.Event()

    def Lock(self) -> synchronize.Lock:
        return synchronize.Lock()

    def RLock(self) -> synchronize.RLock:
        return synchronize.RLock()

    def Semaphore(self, value: int = 1) -> synchronize.Semaphore:
        return synchronize.Semaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore:
        return synchronize.BoundedSemaphore(value)

    def Condition(self, lock: Any = None) -> synchronize.Condition:
        return synchronize.Condition(lock)

    def Barrier(self, parties: int, action: Any = None,
                timeout: float | None = None) -> synchronize.Barrier:
        return synchronize.Barrier(parties, action, timeout)

    def Value(self, typecode: Any, value: Any, lock: bool = True) -> Value:
        return Value(typecode, value)

    def Array(self, typecode: Any, sequence: Any, lock: bool = True) -> Any:
        return sharedctypes.Array(typecode, sequence)


def _pool(*args: Any, **words: Any) -> Any:
    from tine.multiprocessing.pool import Pool
    return Pool(*args, **words)


SyncManager.register("Pool", _pool, _managers.PoolProxy)
