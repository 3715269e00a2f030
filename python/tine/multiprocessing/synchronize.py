"""Locks in the family's memory. One whose holder died is free for the next."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from multiprocessing import process, synchronize as _synchronize

from tine import _core
from tine.multiprocessing._family import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"]


def __getattr__(name: str) -> Any:
    return getattr(_synchronize, name)


class _Base(Handle, _core.Lock):
    """owner_died: whether an acquire() of this process found that a holder had died."""

    def _owner(self) -> str:
        if self._is_mine():
            name = process.current_process().name
            thread = threading.current_thread().name
            return name if thread == "MainThread" else f"{name}|{thread}"
        return "SomeOtherThread" if self._count() else "SomeOtherProcess"


@_core.own_methods
class Lock(_Base):
    def __init__(self, *, ctx: Any = None) -> None:
        _core.Lock.__init__(self, _core.MUTEX)

    def __repr__(self) -> str:
        owner = None if self.get_value() else self._owner()
        return f"<{type(self).__name__}(owner={owner})>"


@_core.own_methods
class RLock(_Base):
    def __init__(self, *, ctx: Any = None) -> None:
        _core.Lock.__init__(self, _core.RECURSIVE)

    def __repr__(self) -> str:
        owner, count = "None", 0
        if self._is_mine():
            owner, count = self._owner(), self._count()
        elif not self.acquire(False):
            owner, count = self._owner(), "nonzero"
        else:
            self.release()
        return f"<{type(self).__name__}({owner}, {count})>"


@_core.own_methods
class Semaphore(_Base):
    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        _core.Lock.__init__(self, _core.SEMAPHORE, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


@_core.own_methods
class BoundedSemaphore(Semaphore):
    _kept = ("_maxvalue",)

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        _core.Lock.__init__(self, _core.BOUNDED, value)
        self._maxvalue = value

    def __repr__(self) -> str:
        return (f"<{type(self).__name__}(value={self.get_value()}, "
                f"maxvalue={self._maxvalue})>")


@_core.own_methods
class Event(Handle, _core.Event):
    def __init__(self, *, ctx: Any = None) -> None:
        _core.Event.__init__(self)

    # There it is an object as any other, and has all of its attributes.
    def __getstate__(self) -> Any:
        return self.__dict__

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        state = "set" if self.is_set() else "unset"
        return f"<{type(self).__name__} at {id(self):#x} {state}>"


@_core.own_methods
class _Gate(Handle, _core.Gate):
    pass


class Condition:
    """Over any lock of this module. A waiter that dies is nobody's trouble."""

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._setup(lock or RLock(), _Gate())

    def _setup(self, lock: Any, gate: _Gate) -> None:
        self._lock, self._gate = lock, gate
        self.acquire, self.release = lock.acquire, lock.release

    def __reduce__(self) -> tuple[Any, ...]:
        return _condition, (type(self), self._lock, self._gate)

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *args: Any) -> None:
        self._lock.__exit__(*args)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._gate.waiting()})>"

    def wait(self, timeout: float | None = None) -> bool:
        lock = self._lock
        assert lock._is_mine(), "must acquire() condition before using wait()"
        count = lock._count()
        number = self._gate.queue_up()
        for _ in range(count):
            lock.release()
        try:
            return self._gate.wait(number, timeout)
        finally:
            for _ in range(count):
                lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        assert self._lock._is_mine(), "lock is not owned"
        self._gate.notify(n)

    def notify_all(self) -> None:
        self.notify(1 << 31)


def _condition(kind: type[Condition], lock: Any, gate: _Gate) -> Condition:
    made = kind.__new__(kind)
    made._setup(lock, gate)
    return made


class _Block(Handle, _core.Block):
    pass


def _is_alive(pid: int) -> bool:
    """A process that was killed and not waited for has ended too."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Barrier(threading.Barrier):
    """threading's own, with its state, and who is counted, in the family's memory.

    The count is that of the processes that are noted, and each enters or leaves it by one
    store: whatever it dies in, it is counted or not. Who waits looks now and then whether
    all that are noted live. One that has died is noted no more, and breaks the barrier,
    unless its round was complete.
    """

    _LOOK = 1.0  # seconds

    def __init__(self, parties: int, action: Callable[[], Any] | None = None,
                 timeout: float | None = None, *, ctx: Any = None) -> None:
        self.__setstate__((parties, action, timeout, Condition(),
                           _Block(4 + 4 * max(parties, 1))))

    def __getstate__(self) -> tuple[Any, ...]:
        return self._parties, self._action, self._timeout, self._cond, self._block

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._parties, self._action, self._timeout, self._cond, self._block = state
        self._words = self._block.view(4 + 4 * max(self._parties, 1)).cast("i")

    def _set_pid(self, before: int, pid: int) -> None:
        for i in range(1, len(self._words)):
            if self._words[i] == before:
                self._words[i] = pid
                return

    def _bury(self) -> int:
        """How many of those that are counted have died; they are counted no more."""
        dead = [pid for pid in self._words[1:] if pid and not _is_alive(pid)]
        for pid in dead:
            self._set_pid(pid, 0)
        return len(dead)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None:
            timeout = self._timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        # One that is stopped may have it.
        if not self._cond.acquire(timeout=timeout):
            raise threading.BrokenBarrierError
        try:
            self._go_in(deadline)
            index = self._count
            self._set_pid(0, os.getpid())
            try:
                if index + 1 == self._parties:
                    self._release()
                else:
                    self._stay(deadline)
                return index
            finally:
                self._set_pid(os.getpid(), 0)
                self._exit()
        finally:
            self._cond.release()

    def _sleep(self, deadline: float | None) -> bool:
        """False: it is past the deadline, and nobody has slept."""
        left = self._LOOK if deadline is None else deadline - time.monotonic()
        if left > 0:
            self._cond.wait(min(left, self._LOOK))
        return left > 0

    def _go_in(self, deadline: float | None) -> None:
        """When those of the last round are out, also if the last of them died."""
        while self._state in (-1, 1):
            self._bury()
            if self._count == 0:
                self._exit()
            elif not self._sleep(deadline):
                break
        if self._state != 0:
            raise threading.BrokenBarrierError

    def _stay(self, deadline: float | None) -> None:
        while self._state == 0:
            if self._bury() or not self._sleep(deadline):
                self._break()
        if self._state < 0:
            raise threading.BrokenBarrierError

    def reset(self) -> None:
        with self._cond:
            self._bury()
            super().reset()

    @property
    def _state(self) -> int:
        return self._words[0]

    @_state.setter
    def _state(self, value: int) -> None:
        self._words[0] = value

    @property
    def _count(self) -> int:
        return sum(map(bool, self._words[1:]))
