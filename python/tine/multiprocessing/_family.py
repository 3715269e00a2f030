"""Who shares memory with this process, and how a handle becomes bytes."""

from __future__ import annotations

import collections
import errno
import os
import sys
from multiprocessing import context as _context
from multiprocessing.reduction import DupFd

from tine import _core
from tine._pickle import dump as pickled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle
    from typing import Any

# Whether multiprocessing itself is over tine: see tine._patch.
patched = False


def dump(value: object) -> tuple[memoryview, list[pickle.PickleBuffer] | None]:
    """Pickles with what is registered for processes; buffers of arrays stay beside."""
    buffers: list[pickle.PickleBuffer] = []
    return pickled(value, buffers.append), buffers or None


def token() -> Any:
    """The first time, a descriptor of the family for what is being spawned."""
    popen = _context.get_spawning_popen()
    if popen is None or getattr(popen, "_tine_passed", False):
        return None
    popen._tine_passed = True
    return DupFd(_core.family_fd())


def join(passed: Any) -> None:
    """Before this process uses the family's memory; else what it attaches will raise."""
    if passed is None:
        return
    fd = passed.detach()
    try:
        _core.join(fd)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    finally:
        os.close(fd)


def attach(kind: Any, name: str, passed: Any, state: Any) -> Any:
    join(passed)
    made = super(Handle, kind).attach(name)
    made.__setstate__(state)
    return made


# Handles that are on their way: the sender may drop its own before the other has one.
_sent: collections.deque[Any] = collections.deque(maxlen=64)


class Handle:
    """Pickles at any time, for processes of the same family. Beside a class of _core.

    A class of a program's own may have a name, or an attach(), of another kind. Of its
    attributes only what its __getstate__() adds to this one's arrives, as there.
    """

    _kept: tuple[str, ...] = ()  # attributes that go with the name

    def __getstate__(self) -> Any:
        return tuple(getattr(self, name) for name in self._kept)

    def __setstate__(self, state: Any) -> None:
        for name, value in zip(self._kept, state):
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        name = super().name()  # type: ignore[misc]
        if _context.get_spawning_popen() is None:
            _sent.append(self)
        return attach, (type(self), name, token(), self.__getstate__())


class _FamilyName(str):
    """The name of a process, which is the first that a spawned process unpickles."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _join_by_name, (str(self), token(), patched)


def _join_by_name(name: str, passed: Any, patch: bool) -> str:
    join(passed)
    if patch:
        from tine._patch import patch as patch_all
        patch_all()
    return name


def spawn(popen: Any, process: Any) -> Any:
    """The process is of the family, also if it gets no handle."""
    _core.begin()
    name = process._name
    process._name = _FamilyName(name)
    try:
        return popen(process)
    finally:
        process._name = name


def tie() -> None:
    """This process, a child, ends with its parent."""
    try:
        _core.tie()
    except OSError:
        pass


_core.set_dump(dump)
# Children of one parent are to be of one family. But those of a fork server are of the
# family of the process that wants them.
if not any("multiprocessing.forkserver import main" in text for text in sys.orig_argv):
    os.register_at_fork(before=_core.begin)
