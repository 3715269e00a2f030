"""Values and arrays of ctypes in the family's memory."""

from __future__ import annotations

import ctypes
from multiprocessing import sharedctypes as _sharedctypes
from multiprocessing.reduction import ForkingPickler

from tine import _core
from tine.multiprocessing._family import Handle
from tine.multiprocessing.synchronize import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["RawValue", "RawArray", "Value", "Array", "copy", "synchronized"]

_synchronized: dict[type, type] = {}


def __getattr__(name: str) -> Any:
    return getattr(_sharedctypes, name)


class _Memory(Handle, _core.Block):
    _kept = ("size",)

    def __init__(self, size: int) -> None:
        _core.Block.__init__(self, size)
        self.size = size

    def create_memoryview(self) -> memoryview:
        return self.view(self.size)


def _new(kind: type, *args: Any) -> Any:
    made = _rebuild(kind, _Memory(ctypes.sizeof(kind)), None)
    if args:
        made.__init__(*args)
    return made


def _rebuild(kind: Any, memory: Any, length: int | None) -> Any:
    if length is not None:
        kind = kind * length
    ForkingPickler.register(kind, _reduce)
    made = kind.from_buffer(memory.create_memoryview())
    made._wrapper = memory
    return made


def _reduce(obj: Any) -> Any:
    memory = getattr(obj, "_wrapper", None)
    if memory is None:
        return obj.__reduce_ex__(2)
    if isinstance(obj, ctypes.Array):
        return _rebuild, (obj._type_, memory, obj._length_)
    return _rebuild, (type(obj), memory, None)


def _kind(typecode_or_type: Any) -> Any:
    return _sharedctypes.typecode_to_type.get(typecode_or_type, typecode_or_type)


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    return _new(_kind(typecode_or_type), *args)


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    kind = _kind(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new(kind * size_or_initializer)
    return _new(kind * len(size_or_initializer), *size_or_initializer)


def _with_lock(obj: Any, lock: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        lock = RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(obj, lock)


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    return _with_lock(RawValue(typecode_or_type, *args), lock)


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True,
          ctx: Any = None) -> Any:
    return _with_lock(RawArray(typecode_or_type, size_or_initializer), lock)


def copy(obj: Any) -> Any:
    made = _new(type(obj))
    ctypes.pointer(made)[0] = obj
    return made


class _AtAnyTime:
    def __reduce__(self) -> tuple[Any, ...]:
        # A plain pickle would copy what is shared.
        rebuild, parts = _reduce(self._obj)  # type: ignore[attr-defined]
        return _again, (rebuild, parts, self._lock)  # type: ignore[attr-defined]


def _again(rebuild: Any, parts: tuple[Any, ...], lock: Any) -> Any:
    return synchronized(rebuild(*parts), lock)


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """The standard library's wrapper of this object, which pickles at any time."""
    made = _wrap(obj, lock or RLock(), ctx)
    kind = type(made)
    if kind not in _synchronized:
        _synchronized[kind] = type(kind.__name__, (_AtAnyTime, kind), {})
    made.__class__ = _synchronized[kind]
    return made


_wrap = _sharedctypes.synchronized
