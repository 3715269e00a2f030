"""multiprocessing and joblib over tine: faster, and whole when processes are killed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes as long as all else
    from typing import Any

    from tine._engine import WorkerDied as WorkerDied
    from tine._patch import patch as patch, unpatch as unpatch
    from tine.cache import cached as cached
    from tine.futures import ProcessPoolExecutor as ProcessPoolExecutor

_homes = {
    "patch": "tine._patch",
    "unpatch": "tine._patch",
    "WorkerDied": "tine._engine",
    "ProcessPoolExecutor": "tine.futures",
    "cached": "tine.cache",
}


def __getattr__(name: str) -> Any:
    """What is seldom used is imported when it is used first."""
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib
    return getattr(importlib.import_module(_homes[name]), name)
