"""Contexts for fork, spawn and forkserver, whose objects are tine's."""

from __future__ import annotations

from multiprocessing import context as _context

from tine import _core
from tine.multiprocessing import _family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ForkContext", "SpawnContext", "ForkServerContext", "DefaultContext"]


def __getattr__(name: str) -> Any:
    return getattr(_context, name)


# ---- processes: the standard library's, tied to their parent ---------------------------

def popen_fork(process: Any) -> Any:
    from multiprocessing.popen_fork import Popen
    _core.begin()
    return Popen(process)


def popen_spawn(process: Any) -> Any:
    from multiprocessing.popen_spawn_posix import Popen
    return _family.spawn(Popen, process)


def popen_forkserver(process: Any) -> Any:
    from multiprocessing.popen_forkserver import Popen
    return _family.spawn(Popen, process)


class _Tied:
    def _bootstrap(self, parent_sentinel: Any = None) -> int:
        _family.tie()
        return super()._bootstrap(parent_sentinel)  # type: ignore[misc]


class ForkProcess(_Tied, _context.ForkProcess):
    _Popen = staticmethod(popen_fork)  # type: ignore[assignment]


class SpawnProcess(_Tied, _context.SpawnProcess):
    _Popen = staticmethod(popen_spawn)  # type: ignore[assignment]


class ForkServerProcess(_Tied, _context.ForkServerProcess):
    _Popen = staticmethod(popen_forkserver)  # type: ignore[assignment]


class Process(_Tied, _context.Process):
    @staticmethod
    def _Popen(process: Any) -> Any:
        return default_context.get_context().Process._Popen(process)

    @staticmethod
    def _after_fork() -> None:
        default_context.get_context().Process._after_fork()


# ---- contexts --------------------------------------------------------------------------

class _Objects:
    """What a context makes. As a mixin before a class of the standard library's."""

    def Queue(self, maxsize: int = 0) -> Any:
        from tine.multiprocessing.queues import Queue
        return Queue(maxsize)

    def JoinableQueue(self, maxsize: int = 0) -> Any:
        from tine.multiprocessing.queues import JoinableQueue
        return JoinableQueue(maxsize)

    def SimpleQueue(self) -> Any:
        from tine.multiprocessing.queues import SimpleQueue
        return SimpleQueue()

    def Lock(self) -> Any:
        from tine.multiprocessing.synchronize import Lock
        return Lock()

    def RLock(self) -> Any:
        from tine.multiprocessing.synchronize import RLock
        return RLock()

    def Semaphore(self, value: int = 1) -> Any:
        from tine.multiprocessing.synchronize import Semaphore
        return Semaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> Any:
        from tine.multiprocessing.synchronize import BoundedSemaphore
        return BoundedSemaphore(value)

    def Condition(self, lock: Any = None) -> Any:
        from tine.multiprocessing.synchronize import Condition
        return Condition(lock)

    def Event(self) -> Any:
        from tine.multiprocessing.synchronize import Event
        return Event()

    def Barrier(self, parties: int, action: Any = None,
                timeout: float | None = None) -> Any:
        from tine.multiprocessing.synchronize import Barrier
        return Barrier(parties, action, timeout)

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        from tine.multiprocessing.sharedctypes import RawValue
        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        from tine.multiprocessing.sharedctypes import RawArray
        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        from tine.multiprocessing.sharedctypes import Value
        return Value(typecode_or_type, *args, lock=lock)

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *,
              lock: Any = True) -> Any:
        from tine.multiprocessing.sharedctypes import Array
        return Array(typecode_or_type, size_or_initializer, lock=lock)

    def Pool(self, processes: int | None = None, initializer: Any = None,
             initargs: Any = (), maxtasksperchild: int | None = None,
             **extras: Any) -> Any:
        from tine.multiprocessing.pool import Pool
        return Pool(processes, initializer, initargs, maxtasksperchild,
                    context=self.get_context(), **extras)  # type: ignore[attr-defined]

    def Manager(self) -> Any:
        from tine.multiprocessing.managers import SyncManager
        return SyncManager(ctx=self.get_context())  # type: ignore[attr-defined]

    def get_context(self, method: str | None = None) -> Any:
        if method is None:
            return self
        # Of a name that there is not, the standard library says so.
        _context.BaseContext.get_context(self, method)  # type: ignore[arg-type]
        return _contexts[method]


class ForkContext(_Objects, _context.ForkContext):
    Process = ForkProcess


class SpawnContext(_Objects, _context.SpawnContext):
    Process = SpawnProcess


class ForkServerContext(_Objects, _context.ForkServerContext):
    Process = ForkServerProcess


class DefaultContext(_Objects, _context.DefaultContext):
    Process = Process

    def get_context(self, method: str | None = None) -> Any:
        if method is None:
            return _context.DefaultContext.get_context(self)
        return _Objects.get_context(self, method)


_contexts = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}
default_context = DefaultContext(_contexts["fork"])
_default_context = default_context
