"""multiprocessing over tine: the names, and the submodules, of the standard library's."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from multiprocessing import *  # noqa: F403: what follows has the same names
from multiprocessing import __all__ as _names
from types import ModuleType
from typing import Any

from tine.multiprocessing import context
from tine.multiprocessing.context import default_context as _default

__all__ = list(_names)
globals().update((name, getattr(_default, name)) for name in __all__)


class _Rest(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A submodule that is not here is the standard library's own."""

    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(__name__ + "."):
            return None
        other = name.removeprefix("tine.")
        if importlib.util.find_spec(other) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.name.removeprefix("tine."))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


sys.meta_path.append(_Rest())


def __getattr__(name: str) -> Any:
    """A submodule that the standard library has imported by now."""
    if name in ("process", "reduction", "connection", "util", "spawn"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
