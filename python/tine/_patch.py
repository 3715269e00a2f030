"""multiprocessing itself over tine, for programs that are not to be changed."""

from __future__ import annotations

import functools
from multiprocessing import context, managers, pool, process, queues
from multiprocessing import sharedctypes, synchronize
from typing import Any

from tine import _later
from tine.multiprocessing import _family
from tine.multiprocessing import context as _context
from tine.multiprocessing import managers as _managers
from tine.multiprocessing import queues as _queues
from tine.multiprocessing import sharedctypes as _sharedctypes
from tine.multiprocessing import synchronize as _synchronize

_bootstrap = process.BaseProcess._bootstrap  # type: ignore[attr-defined]


@functools.wraps(_bootstrap)
def _tied(self: Any, parent_sentinel: Any = None) -> int:
    _family.tie()
    return _bootstrap(self, parent_sentinel)


def _changes() -> list[tuple[Any, str, Any]]:
    """Where, which name, and what stands there while it is patched.

    What a context makes it looks up in these modules at each call, so that functions that
    a program has imported before make tine's objects too.
    """
    from tine.multiprocessing import pool as _pool
    changes: list[tuple[Any, str, Any]] = [
        (there, name, getattr(here, name)) for there, here, names in (
            (queues, _queues, ("Queue", "JoinableQueue", "SimpleQueue")),
            (synchronize, _synchronize, ("Lock", "RLock", "Semaphore", "BoundedSemaphore",
                                         "Condition", "Event", "Barrier")),
            (sharedctypes, _sharedctypes, ("RawValue", "RawArray", "Value", "Array",
                                           "copy", "synchronized")),
            (managers, _managers, ("SyncManager",)),
            (pool, _pool, ("Pool",)),
        ) for name in names]
    for kind, popen in ((context.ForkProcess, _context.popen_fork),
                        (context.SpawnProcess, _context.popen_spawn),
                        (context.ForkServerProcess, _context.popen_forkserver)):
        changes.append((kind, "_Popen", staticmethod(popen)))
    changes.append((process.BaseProcess, "_bootstrap", _tied))
    return changes


_before: list[tuple[Any, str, Any]] = []


def patch() -> None:
    """From now on what multiprocessing makes is tine's, by whatever name it is called."""
    if _family.patched:
        return
    _family.patched = True
    for where, name, ours in _changes():
        _before.append((where, name, vars(where)[name]))
        setattr(where, name, ours)
    _later.begin()


def unpatch() -> None:
    """As before patch(). Objects that were made stay tine's."""
    _later.end()
    while _before:
        setattr(*_before.pop())
    _family.patched = False
