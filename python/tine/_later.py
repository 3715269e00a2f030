"""What is done when a program imports a module, so that until then it costs nothing."""

from __future__ import annotations

import importlib.util
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_awaited: dict[str, Callable[[], object]] = {}


class _Loader:
    """That of the module, and then what was waited for it."""

    def __init__(self, loader: Any, name: str, action: Callable[[], object]) -> None:
        self._loader, self._name, self._action = loader, name, action

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._loader.exec_module(module)
        except BaseException:
            _awaited[self._name] = self._action
            raise
        module.__loader__ = self._loader
        module.__spec__.loader = self._loader  # type: ignore[union-attr]
        self._action()


class _Finder:
    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        action = _awaited.pop(name, None)
        if action is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, name, action)  # type: ignore[assignment]
        return spec


_finder = _Finder()


def when_imported(name: str, action: Callable[[], object]) -> None:
    """Calls action when the module has been loaded; at once if it is there."""
    if name in sys.modules:
        action()
        return
    _awaited[name] = action
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget() -> None:
    """All that is waited for."""
    _awaited.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
