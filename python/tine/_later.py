"""While multiprocessing is patched, joblib too is tine's when a program imports it."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.__loader__ = self._loader
        module.__spec__.loader = self._loader  # type: ignore[union-attr]
        _make_default(True)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "joblib":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


_finder = _Finder()


def _make_default(ours: bool) -> None:
    try:
        from tine import joblib
    except ImportError:
        return  # one that is too old, or broken: the program sees for itself
    joblib.make_default(ours)


def begin() -> None:
    if "joblib" in sys.modules:
        _make_default(True)
    elif _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def end() -> None:
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    elif "joblib" in sys.modules:
        _make_default(False)
