"""@tine.cached: results of functions, kept on disk, computed once at a time.

    @tine.cached
    def slow(x, y): ...

    @tine.cached(dir="results", version=2, max_age=3600)
    def other(x): ...

The key is the function's module and name, the version and the pickled arguments. Of
several callers that ask for a missing result, in any processes of the machine, one
computes it and the others wait; if it dies or raises an exception, the next one computes.
Arrays of a result that was kept lie in the cache, without a copy, and cannot be written:
copy=True gives arrays of the caller's own.
"""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from tine import _core
from tine._pack import pack, unpack

__all__ = ["Cache", "cached"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
Cache = _core.Cache
_caches: dict[tuple[Any, ...], Any] = {}


def home() -> str:
    """Where C has its cache: $TINE_CACHE, $XDG_CACHE_HOME/tine or ~/.cache/tine."""
    own = os.environ.get("TINE_CACHE")
    if own:
        return own
    return os.path.join(os.environ.get("XDG_CACHE_HOME")
                        or os.path.expanduser("~/.cache"), "tine")


def open_cache(dir: str | os.PathLike[str] | None, max_bytes: int = 0,
               shared: bool = False) -> Any:
    """One handle a process for each folder."""
    which = os.path.abspath(dir if dir is not None else home()), max_bytes, shared
    if which not in _caches:
        _caches[which] = Cache(which[0], max_bytes, 0, False, shared)
    return _caches[which]


class Cached(Protocol[P, R]):
    """A function whose results are kept."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def forget(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def clear(self) -> None: ...


class _Decorator(Protocol):
    def __call__(self, func: Callable[P, R], /) -> Cached[P, R]: ...


@overload
def cached(func: Callable[P, R]) -> Cached[P, R]: ...
@overload
def cached(func: None = None, *, dir: str | os.PathLike[str] | None = None,
           version: object = 0, max_age: float | None = None, max_bytes: int = 0,
           shared: bool = False, copy: bool = False) -> _Decorator: ...


def cached(func: Any = None, *, dir: Any = None, version: object = 0,
           max_age: float | None = None, max_bytes: int = 0, shared: bool = False,
           copy: bool = False) -> Any:
    """dir: of the cache; None: as tine has it in C. max_age: seconds; None: no limit.

    max_bytes: of the whole cache on disk; 0: as it was. shared: for other users too.
    """
    if func is None:
        return functools.partial(cached, dir=dir, version=version, max_age=max_age,
                                 max_bytes=max_bytes, shared=shared, copy=copy)
    age_ms = 0 if max_age is None else max(1, round(max_age * 1000))
    name = pickle.dumps((func.__module__, func.__qualname__, version), 5)
    plain = _takes_no_names(func)
    cache: Any = None

    def key_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        if kwargs or not plain:
            bound = inspect.signature(func).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, dict(sorted(bound.kwargs.items()))
        return b"python" + name + pickle.dumps((args, kwargs), 5)

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal cache
        if cache is None:
            cache = open_cache(dir, max_bytes, shared)
        key = key_of(args, kwargs)
        found = cache.get(key) or cache.begin(key)
        if not isinstance(found, _core.CacheFlight):
            return unpack(found, copy)
        try:
            value = func(*args, **kwargs)
        except BaseException:
            found.cancel()
            raise
        try:
            found.finish(pack(value), age_ms)
        except Exception as error:
            found.cancel()
            warnings.warn(f"a result of {func.__qualname__} is not kept: {error!r}",
                          stacklevel=2)
        return value

    def forget(*args: Any, **kwargs: Any) -> bool:
        return bool(open_cache(dir, max_bytes, shared).delete(key_of(args, kwargs)))

    def clear() -> None:
        open_cache(dir, max_bytes, shared).delete(b"python" + name, True)

    call.forget, call.clear = forget, clear  # type: ignore[attr-defined]
    return call


def _takes_no_names(func: Callable[..., Any]) -> bool:
    """Whether the same call is always written in the same way: no defaults to add."""
    return all(parameter.default is parameter.empty and parameter.kind in
               (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
               for parameter in inspect.signature(func).parameters.values())
