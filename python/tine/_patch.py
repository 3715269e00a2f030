"""multiprocessing itself over tine, for programs that are not to be changed."""

from __future__ import annotations

import functools
import importlib
import sys
from multiprocessing import context, process

from tine import _later
from tine.multiprocessing import _family
from tine.multiprocessing import context as _context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What a context makes it looks up in these modules at each call, so that functions that a
# program has imported before make tine's objects too.
_NAMES = {
    "queues": ("Queue", "JoinableQueue", "SimpleQueue"),
    "synchronize": ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition",
                    "Event", "Barrier"),
    "sharedctypes": ("RawValue", "RawArray", "Value", "Array", "copy", "synchronized"),
    "managers": ("SyncManager",),
    "pool": ("Pool",),
}
_bootstrap = process.BaseProcess._bootstrap  # type: ignore[attr-defined]


@functools.wraps(_bootstrap)
def _tied(self: Any, parent_sentinel: Any = None) -> int:
    _family.tie()
    code: int = _bootstrap(self, parent_sentinel)
    return code


_before: list[tuple[Any, str, Any]] = []


def _change(where: Any, name: str, ours: Any) -> None:
    _before.append((where, name, vars(where)[name]))
    setattr(where, name, ours)


def _change_module(name: str) -> None:
    theirs = sys.modules[f"multiprocessing.{name}"]
    ours = sys.modules[f"tine.multiprocessing.{name}"]
    for each in _NAMES[name]:
        _change(theirs, each, getattr(ours, each))


def _change_when_imported(name: str) -> None:
    """Ours imports theirs: whichever is the first, ours is the last to be whole."""
    ours = f"tine.multiprocessing.{name}"
    _later.when_imported(ours, functools.partial(_change_module, name))
    _later.when_imported(f"multiprocessing.{name}",
                         functools.partial(importlib.import_module, ours))


def _make_default(ours: bool) -> None:
    try:
        from tine import joblib
    except ImportError:
        return  # one that is too old, or broken: the program sees for itself
    joblib.make_default(ours)


def patch() -> None:
    """From now on what multiprocessing makes is tine's, by whatever name it is called."""
    if _family.patched:
        return
    _family.patched = True
    for kind, popen in ((context.ForkProcess, _context.popen_fork),
                        (context.SpawnProcess, _context.popen_spawn),
                        (context.ForkServerProcess, _context.popen_forkserver)):
        _change(kind, "_Popen", staticmethod(popen))
    _change(process.BaseProcess, "_bootstrap", _tied)
    for name in _NAMES:
        _change_when_imported(name)
    _later.when_imported("joblib", functools.partial(_make_default, True))


def unpatch() -> None:
    """As before patch(). Objects that were made stay tine's."""
    _later.forget()
    if "joblib" in sys.modules and _family.patched:
        _make_default(False)
    while _before:
        setattr(*_before.pop())
    _family.patched = False
