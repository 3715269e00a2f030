"""multiprocessing over tine: the names, and the submodules, of the standard library's."""

from __future__ import annotations

import importlib
import sys
from multiprocessing import *  # noqa: F403: what follows has the same names
from multiprocessing import __all__ as _names

from tine.multiprocessing import context
from tine.multiprocessing.context import default_context as _default

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = list(_names)
globals().update((name, getattr(_default, name)) for name in __all__)


class _Rest:
    """Finds and loads: a submodule that is not here is the standard library's own."""

    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(__name__ + "."):
            return None
        from importlib import machinery, util
        other = name.removeprefix("tine.")
        if util.find_spec(other) is None:
            return None
        return machinery.ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
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
