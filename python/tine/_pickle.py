"""Pickles with what is registered for processes."""

from __future__ import annotations

import io
import pickle
from copyreg import dispatch_table as _public_reducers
from multiprocessing.reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_own_reducers = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
_reducers: dict[type, Any] = {}
_counted = -1


def dump(value: object, keep: Callable[[pickle.PickleBuffer], Any] | None = None) \
        -> memoryview:
    """keep: gets each buffer that is to stay beside the pickle."""
    global _counted
    count = len(_own_reducers) + len(_public_reducers)
    if count != _counted:
        _reducers.update(_public_reducers)
        _reducers.update(_own_reducers)
        _counted = count
    out = io.BytesIO()
    pickler = pickle.Pickler(out, 5, buffer_callback=keep)
    pickler.dispatch_table = _reducers
    pickler.dump(value)
    return out.getbuffer()
