"""joblib over tine: `import tine.joblib`, and then

    with joblib.parallel_config(backend="tine"): ...
    memory = joblib.Memory(folder, backend="tine")

Functions and arguments travel by cloudpickle, so that lambdas and functions of a notebook
work. A task whose worker dies raises tine.WorkerDied, and nothing hangs. The store keeps
results in tine's cache: its limit of bytes holds, and least recently used ones make room.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any

# Joblib and cloudpickle have no types.
import joblib  # type: ignore
import joblib.memory  # type: ignore
import joblib.parallel  # type: ignore
from joblib._parallel_backends import (  # type: ignore
    FallbackToBackend, MultiprocessingBackend, SequentialBackend)
from joblib._store_backends import (  # type: ignore
    CacheItemInfo, FileSystemStoreBackend, StoreBackendBase, StoreBackendMixin)

try:
    import cloudpickle  # type: ignore
except ImportError:
    try:
        from joblib.externals import cloudpickle  # type: ignore
    except ImportError:
        cloudpickle = pickle

from tine._pack import pack, unpack
from tine.cache import open_cache
from tine.multiprocessing.pool import ApplyResult, Pool

__all__ = ["TineBackend", "TineStoreBackend", "register"]


class _Pool(Pool):
    def apply_async(self, func: Callable[..., Any], args: Any = (), kwds: Any = {},
                    callback: Any = None, error_callback: Any = None) -> ApplyResult[Any]:
        blob = cloudpickle.dumps((func, tuple(args), kwds))
        return super().apply_async(_call, (blob,), {}, callback, error_callback)


def _call(blob: bytes) -> Any:
    func, args, kwds = pickle.loads(blob)
    return func(*args, **kwds)


class TineBackend(MultiprocessingBackend):  # type: ignore[misc]
    """joblib's backend "multiprocessing", with tine's workers.

    timeout, retries, memory: as of tine.multiprocessing.Pool
    """

    def __init__(self, timeout: float | None = None, retries: int = 0, memory: int = 0,
                 **others: Any) -> None:
        super().__init__(**others)
        self._limits: dict[str, Any] = {
            "timeout": timeout, "retries": retries, "memory": memory}
        self._pool: _Pool | None = None

    def configure(self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None,
                  require: Any = None, **options: Any) -> int:
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        environment = self._prepare_worker_env(n_jobs)
        self._pool = _Pool(n_jobs, os.environ.update, (environment,), **self._limits)
        self.parallel = parallel
        return n_jobs

    def terminate(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
        self.reset_batch_stats()


class TineStoreBackend(StoreBackendBase, StoreBackendMixin):  # type: ignore[misc]
    """Entries of the cache in the folder: one for each file that joblib would write."""

    verbose = 0
    mmap_mode: str | None = None
    compress = False

    def configure(self, location: str, verbose: int = 1,
                  backend_options: dict[str, Any] | None = None) -> None:
        """backend_options: max_bytes, of the whole store on disk; mmap_mode: not None:
        arrays are in the store, and cannot be written."""
        options = dict(backend_options or {})
        self.location, self.verbose = location, verbose
        self.mmap_mode = options.get("mmap_mode")
        self.max_bytes = options.get("max_bytes", 0)
        if options.get("compress"):
            warnings.warn("the store of tine does not compress", stacklevel=2)
        os.makedirs(os.path.dirname(os.path.abspath(location)), exist_ok=True)
        self._cache

    @property
    def _cache(self) -> Any:
        return open_cache(self.location, self.max_bytes)

    def _key(self, path: str) -> bytes:
        return b"joblib\0" + os.fsencode(os.path.relpath(path, self.location))

    def _prefix(self, path: str) -> bytes:
        key = self._key(path)
        return b"joblib\0" if key == b"joblib\0." else key + b"/"

    # ---- what joblib keeps besides results: its notes are small files

    def _open_item(self, path: str, mode: str) -> Any:
        if "w" in mode:
            return _Writer(self._cache, self._key(path))
        value = self._cache.get(self._key(path))
        if value is None:
            raise FileNotFoundError(path)
        return io.BytesIO(value)

    def _item_exists(self, path: str) -> bool:
        if os.path.splitext(path)[1] in (".pkl", ".json", ".py"):
            return self._cache.get(self._key(path)) is not None
        prefix = self._prefix(path)
        return any(key.startswith(prefix) for key, *_ in self._cache.list())

    object_exists = _item_exists

    def _move_item(self, source: str, target: str) -> None:
        value = self._cache.get(self._key(source))
        if value is not None:
            self._cache.put(self._key(target), value)
            self._cache.delete(self._key(source))

    def _concurrency_safe_write(self, value: Any, path: str,
                                write: Callable[[Any, str], None]) -> None:
        write(value, path)  # a reader finds all of an entry, or none

    def create_location(self, location: str) -> None:
        """A path needs no folder."""

    def clear_location(self, location: str) -> None:
        self._cache.delete(self._prefix(location), True)

    # ---- results

    def dump_item(self, path: Any, item: Any, verbose: int = 1) -> None:
        try:
            self._cache.put(self._result_key(path), pack(item))
        except (OSError, pickle.PicklingError, TypeError, AttributeError) as error:
            warnings.warn(f"a result is not kept: {error!r}", stacklevel=2)

    def load_item(self, path: Any, verbose: int = 1, msg: str | None = None,
                  **later: Any) -> Any:
        if verbose > 1:
            print(f"{msg}..." if verbose < 10
                  else f"{msg} from {os.path.join(self.location, *path)}")
        value = self._cache.get(self._result_key(path))
        if value is None:
            raise KeyError("Non-existing item (may have been cleared).\n"
                           f"{os.path.join(*path)} does not exist")
        return unpack(value, copy=self.mmap_mode is None)

    def contains_item(self, path: Any) -> bool:
        return self._cache.get(self._result_key(path)) is not None

    def clear_item(self, path: Any) -> None:
        self.clear_location(os.path.join(self.location, *path))

    def _result_key(self, path: Any) -> bytes:
        return self._key(os.path.join(self.location, *path, "output.pkl"))

    def get_items(self) -> list[CacheItemInfo]:
        sizes: dict[str, int] = {}
        used: dict[str, int] = {}
        for key, length, _, last in self._cache.list():
            folder = os.path.dirname(os.fsdecode(key[len(b"joblib\0"):]))
            if key.startswith(b"joblib\0") and re.fullmatch(
                    "[a-f0-9]{32}", os.path.basename(folder)):
                sizes[folder] = sizes.get(folder, 0) + length
                used[folder] = max(used.get(folder, 0), last)
        return [CacheItemInfo(os.path.join(self.location, folder), size,
                              datetime.fromtimestamp(used[folder] / 1e9))
                for folder, size in sizes.items()]


class _Writer(io.BytesIO):
    def __init__(self, cache: Any, key: bytes) -> None:
        super().__init__()
        self._cache, self._key = cache, key

    def close(self) -> None:
        if not self.closed:
            self._cache.put(self._key, self.getbuffer())
        super().close()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None:
            self.close()


class DefaultStore(TineStoreBackend):
    """Where a program asks for none: joblib's own where there is one already."""

    def configure(self, location: str, verbose: int = 1,
                  backend_options: dict[str, Any] | None = None) -> None:
        try:
            if not any((backend_options or {}).values()):
                super().configure(location, verbose, backend_options)
                return
        except OSError:
            pass  # a folder with other files
        self.__class__ = FileSystemStoreBackend
        self.configure(location, verbose, backend_options)


_before: tuple[str, Any] | None = None


def make_default(ours: bool) -> None:
    """For programs that name no backend, by tine.patch(); or as it was before."""
    global _before
    if ours and _before is None:
        _before = joblib.parallel.DEFAULT_BACKEND, joblib.memory._STORE_BACKENDS["local"]
        joblib.parallel.DEFAULT_BACKEND = "tine"
        joblib.memory._STORE_BACKENDS["local"] = DefaultStore
    elif not ours and _before is not None:
        joblib.parallel.DEFAULT_BACKEND = _before[0]
        joblib.memory._STORE_BACKENDS["local"] = _before[1]
        _before = None


def register() -> None:
    joblib.register_parallel_backend("tine", TineBackend)
    joblib.register_store_backend("tine", TineStoreBackend)


register()
