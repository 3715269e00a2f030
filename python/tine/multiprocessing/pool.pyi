"""For checkers of types these are the standard library's, with what there is besides."""

from collections.abc import Callable, Iterable, Mapping
from multiprocessing import pool as _standard
from multiprocessing.pool import (IMapIterator as IMapIterator,
                                  IMapUnorderedIterator as IMapUnorderedIterator,
                                  ThreadPool as ThreadPool)
from typing import Any, TypeVar

from tine._engine import WorkerDied as WorkerDied

T = TypeVar("T")

class ApplyResult(_standard.ApplyResult[T]):
    def cancel(self) -> bool: ...

AsyncResult = ApplyResult

class MapResult(_standard.MapResult[T]):
    def cancel(self) -> bool: ...

class Pool(_standard.Pool):
    def __init__(self, processes: int | None = None,
                 initializer: Callable[..., object] | None = None,
                 initargs: Iterable[Any] = (), maxtasksperchild: int | None = None,
                 context: Any = None, *, timeout: float | None = None, retries: int = 0,
                 memory: int = 0) -> None: ...
    def apply_async(self, func: Callable[..., T], args: Iterable[Any] = (),
                    kwds: Mapping[str, Any] = ...,
                    callback: Callable[[T], object] | None = None,
                    error_callback: Callable[[BaseException], object] | None = None,
                    ) -> ApplyResult[T]: ...
