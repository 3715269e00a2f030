"""For checkers of types these are the standard library's, with what there is besides."""

from collections.abc import Callable, Iterable
from multiprocessing import context as _standard
from typing import Any

from tine.multiprocessing import pool

class Context(_standard.BaseContext):
    def Pool(self, processes: int | None = None,
             initializer: Callable[..., object] | None = None,
             initargs: Iterable[Any] = (), maxtasksperchild: int | None = None, *,
             timeout: float | None = None, retries: int = 0,
             memory: int = 0) -> pool.Pool: ...
    def get_context(self, method: str | None = None) -> Context: ...  # type: ignore

default_context: Context

def popen_fork(process: Any) -> Any: ...
def popen_spawn(process: Any) -> Any: ...
def popen_forkserver(process: Any) -> Any: ...
